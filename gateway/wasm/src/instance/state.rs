//! What a guest's store holds beside the guest: the exchange that is lent to it for a call, and all that its
//! host functions work with.

use std::{rc::Rc, sync::Arc, time::Duration};

use gateway_pipeline::Exchange;
use gateway_rules::crypto::KeyCache;
use gateway_telemetry::metrics::PluginMetrics;
use wasmtime::{StoreContextMut, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::{
    edits::AllEdits,
    handles::{Connection, Handles, PendingCall},
    output::{Output, Speaker},
    plugin_identity::Identity,
    selection::Selections,
    thread_bound::ThreadBound,
};
use crate::{
    admission::Memory,
    bindings::{RefusedEdit, Values},
    engine::{
        clock::{RunClock, thread_cpu_time},
        epoch::{self, TICK},
        limiter::Limiter,
    },
    services::{Services, documents::Source},
};

/// Resources that a guest may hold at a time, of those that WASI makes.
const RESOURCES: usize = 256;
/// Requests and responses that a guest may keep of those that were given to it, before its instance is replaced.
const HANDLES: u32 = 256;
/// Documents that one configuration may declare.
const DECLARED_DOCUMENTS: usize = 16;
/// What `wasi:random` gives at once.
const RANDOM_BYTES: u64 = 64 * 1024;

/// How the present call runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// On the worker's own stack, until it ends. `watched` is the thread's CPU time when the call was first
    /// found to take long.
    Direct { limit: Duration, watched: Option<Duration> },
    /// On a fiber, with a pause at each tick, for at most so long.
    Fiber { limit: Duration },
}

/// The data of a guest's store.
pub(crate) struct State {
    pub(crate) identity: Arc<Identity>,
    pub(crate) metrics: PluginMetrics,
    pub(crate) limiter: Limiter,
    pub(crate) output: Output,
    pub(crate) keys: KeyCache,
    pub(crate) selections: Selections,
    pub(crate) edits: AllEdits,
    pub(crate) mode: Mode,
    /// The guest has accepted its configuration. Before that it gets nothing that has to be waited for.
    pub(crate) is_configured: bool,
    /// What it asked for while it was configured.
    declared_documents: Vec<Source>,
    pub(crate) clock: Arc<RunClock>,
    /// Present during a call. A store never leaves its worker, which wasmtime cannot know.
    call: ThreadBound<CallState>,
    pub(crate) table: ResourceTable,
    /// Requests and responses that the guest was given as its own, and has not dropped.
    pub(crate) handles: u32,
    /// Made when first asked for: many guests never do.
    wasi: Option<Box<WasiCtx>>,
}

#[derive(Default)]
struct CallState {
    exchange: Option<Box<Exchange>>,
    services: Option<Rc<Services>>,
    /// Connections to TCP upstreams. Those that are not released by the end of the call are closed.
    connections: Handles<Connection>,
    /// Requests to upstreams in progress. Those that were not waited for by the end of the call are cancelled.
    pending_calls: Handles<PendingCall>,
}

impl State {
    /// `memory` is the limit of one instance, and `paid` what all instances may have.
    pub(crate) fn new(identity: Arc<Identity>, metrics: PluginMetrics, memory: usize, paid: Memory) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Self {
            identity,
            limiter: Limiter::new(memory, metrics.memory(), paid),
            metrics,
            output: Output::default(),
            keys: KeyCache::default(),
            selections: Selections::default(),
            edits: AllEdits::default(),
            mode: Mode::Direct { limit: Duration::ZERO, watched: None },
            is_configured: false,
            declared_documents: Vec::new(),
            clock: Arc::new(RunClock::new()),
            call: ThreadBound::new(CallState::default()),
            table,
            handles: 0,
            wasi: None,
        }
    }

    /// A document that the gateway is to fetch before it is needed.
    pub(crate) fn declare_document(&mut self, source: Source) {
        if self.declared_documents.len() < DECLARED_DOCUMENTS && !self.declared_documents.contains(&source) {
            self.declared_documents.push(source);
        }
    }

    pub(crate) fn declared_documents(&self) -> &[Source] {
        &self.declared_documents
    }

    /// Begins a call. An exchange is lent in the phases that have one.
    pub(crate) fn enter_call(&mut self, mut exchange: Option<Box<Exchange>>, services: Rc<Services>) {
        if let Some(exchange) = &mut exchange {
            exchange.foreign_stage = !self.identity.standard;
        }
        self.limiter.refused = None;
        let call = &mut *self.call;
        call.exchange = exchange;
        call.services = Some(services);
    }

    /// Ends a call and gives back what was lent.
    pub(crate) fn give_back(&mut self) -> Option<Box<Exchange>> {
        let call = &mut *self.call;
        call.services = None;
        call.connections.close();
        call.pending_calls.close();
        let exchange = call.exchange.take();
        if !self.output.is_silent() {
            let request = exchange.as_ref().and_then(|exchange| exchange.id.to_str().ok()).unwrap_or_default();
            let Identity { name, log_rate, .. } = &*self.identity;
            self.output.finish(Speaker { plugin: name, request, rate: log_rate, metrics: &self.metrics });
        }
        exchange
    }

    /// A guest that does not drop what it is given would fill its table of handles.
    pub(crate) fn keeps_handles(&self) -> bool {
        self.handles > HANDLES
    }

    /// The exchange at hand. Handles to its messages exist only in calls that have one.
    pub(crate) fn exchange(&mut self) -> wasmtime::Result<&mut Exchange> {
        self.call.exchange.as_deref_mut().ok_or_else(|| wasmtime::format_err!("no request is being handled"))
    }

    /// The exchange at hand, in the calls that have one.
    pub(crate) fn lent(&mut self) -> Option<&mut Exchange> {
        self.call.exchange.as_deref_mut()
    }

    /// The exchange at hand, and what the plugin may read and write of it.
    pub(crate) fn exchange_for(&mut self) -> wasmtime::Result<(&mut Exchange, &Identity)> {
        let exchange = self.call.exchange.as_deref_mut();
        let exchange = exchange.ok_or_else(|| wasmtime::format_err!("no request is being handled"))?;
        Ok((exchange, &self.identity))
    }

    /// The route of the exchange at hand.
    pub(crate) fn route(&self) -> Option<&str> {
        self.call.exchange.as_ref().map(|exchange| &*exchange.route)
    }

    /// What a selection reads of the exchange at hand.
    pub(crate) fn selected(&mut self, selection: u32, with_response: bool) -> wasmtime::Result<Values> {
        let exchange = self.call.exchange.as_deref_mut();
        let exchange = exchange.ok_or_else(|| wasmtime::format_err!("no request is being handled"))?;
        let selection = self.selections.get(selection)?;
        selection.note_denied(&self.identity, &self.metrics);
        Ok(selection.read(exchange, with_response))
    }

    /// Applies edits to the exchange at hand.
    pub(crate) fn edit(
        &mut self,
        edits: u32,
        with_response: bool,
        values: &Values,
    ) -> wasmtime::Result<Result<(), RefusedEdit>> {
        let exchange = self.call.exchange.as_deref_mut();
        let exchange = exchange.ok_or_else(|| wasmtime::format_err!("no request is being handled"))?;
        let edits = self.edits.get(edits)?;
        edits.note_denied(&self.identity, &self.metrics);
        Ok(edits.apply(exchange, with_response, values))
    }

    /// The services of the worker. Between the calls nothing runs, so these are only absent if the guest is not called by us.
    pub(crate) fn services(&self) -> wasmtime::Result<&Rc<Services>> {
        self.call.services.as_ref().ok_or_else(|| wasmtime::format_err!("called outside of a call"))
    }

    /// The connections to TCP upstreams of the present call.
    pub(crate) fn connections(&mut self) -> &mut Handles<Connection> {
        &mut self.call.connections
    }

    /// The requests to upstreams that the present call has in progress.
    pub(crate) fn pending_calls(&mut self) -> &mut Handles<PendingCall> {
        &mut self.call.pending_calls
    }

    /// Who speaks, and the output to speak into.
    pub(crate) fn speak(&mut self) -> (&mut Output, Speaker<'_>) {
        let request = self.call.exchange.as_ref().and_then(|exchange| exchange.id.to_str().ok()).unwrap_or_default();
        let Identity { name, log_rate, .. } = &*self.identity;
        (&mut self.output, Speaker { plugin: name, request, rate: log_rate, metrics: &self.metrics })
    }
}

/// Decides what becomes of a call at its deadline.
///
/// Without a fiber nothing else runs on the worker, and only the wall clock is watched at first, since it costs
/// nothing. A call that takes half of its time is watched by the thread's CPU time from then on: on a machine
/// that is short of CPUs, a call that did not get to run is not at fault.
pub(crate) fn at_deadline(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let state = store.data_mut();
    Ok(match state.mode {
        Mode::Direct { limit, watched } => {
            let used = thread_cpu_time();
            match watched {
                Some(since) if used.saturating_sub(since) >= limit / 4 => UpdateDeadline::Interrupt,
                _ => {
                    state.mode = Mode::Direct { limit, watched: watched.or(Some(used)) };
                    UpdateDeadline::Continue(ticks(limit / 2))
                }
            }
        }
        Mode::Fiber { limit } if state.clock.is_over(limit) => UpdateDeadline::Interrupt,
        Mode::Fiber { .. } => {
            epoch::runs_long();
            // Wasmtime's own way of yielding wakes the task at once, and the worker would poll it dozens of times before it
            // looks at its sockets again. This one is woken after that.
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
        }
    })
}

/// Epochs in which so much time has surely passed.
pub(crate) fn ticks(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
    // Far enough from the end that the epoch can be added to it.
    u64::try_from(ticks).unwrap_or(u64::MAX).clamp(1, u64::MAX / 4)
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // No files, no variables, no sockets; what is printed goes to our own streams (`host::wasi`).
        let ctx = self.wasi.get_or_insert_with(|| {
            let mut builder = WasiCtxBuilder::new();
            builder.allow_tcp(false).allow_udp(false).max_random_size(RANDOM_BYTES);
            Box::new(builder.build())
        });
        WasiCtxView { ctx, table: &mut self.table }
    }
}
