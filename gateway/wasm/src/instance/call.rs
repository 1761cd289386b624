//! One instance of a component in a store of its own, and calls into it. A call that fails leaves the
//! instance unusable, as a trap leaves its whole store; its owner drops it then.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use gateway_pipeline::{ExchangeSlot, FailureKind, OwnedHeaders, StageFailure};
use gateway_telemetry::{
    metrics::{GaugeGuard, PluginMetrics},
    traps,
};
use wasmtime::{
    Store, Trap, WasmBacktrace,
    component::{ComponentNamedList, Lift, Lower, TypedFunc},
};

use super::{
    blueprint::{Blueprint, Functions},
    plugin_identity::Identity,
    state::{Mode, State, at_deadline, ticks},
};
use crate::{
    admission::{Account, Reservation, Slots},
    bindings::{ConfigProblem, Manifest, PhaseSet, Timer},
    engine::{
        epoch::{COARSE, Running},
        limiter::Refused,
    },
    services::{Services, documents::Source},
};

/// Of the name of a source file.
const PLACE: usize = 512;
/// What a guest may hand over in one host call or as a result, unless its exchange may have larger bodies.
const HANDED_OVER_BYTES: usize = 8 * 1024 * 1024;
/// A call, with all that it waits for. A bound of last resort: exchanges have time-outs of their own.
const WHOLE_CALL: Duration = Duration::from_secs(300);

/// The identity and limits of an instance.
pub(crate) struct InstanceParameters {
    pub(crate) identity: Arc<Identity>,
    pub(crate) metrics: PluginMetrics,
    pub(crate) memory: usize,
    pub(crate) room: Reservation,
}

pub(crate) struct Instance {
    store: Store<State>,
    functions: Functions,
    /// For exchanges: what wears it. Getting ready does not.
    calls: u64,
    _counted: GaugeGuard,
    /// Fields are dropped in the order of their declaration, so this must stay behind `store`: the reservation ends when the
    /// allocator's slots are free again. In front of it, another call could get the reservation and find no slot.
    room: Slots,
}

/// The scope of a call: its exchange, services and time limit.
pub(crate) struct CallScope<'a> {
    /// The exchange, in the phases that have one.
    pub(crate) slot: Option<&'a mut ExchangeSlot>,
    pub(crate) services: &'a Rc<Services>,
    pub(crate) time: Duration,
}

impl Instance {
    /// Makes an instance of a component that cannot wait.
    pub(crate) fn create(
        blueprint: &Blueprint,
        parameters: InstanceParameters,
        scope: CallScope<'_>,
    ) -> Result<Self, StageFailure> {
        let InstanceParameters { identity, metrics, memory, room } = parameters;
        // The slots are dropped after the store, if this fails.
        let Reservation { slots, memory: paid } = room;
        let mut store = new_store(blueprint, State::new(identity, metrics, memory, paid));
        let functions = {
            let borrowed = EnteredCall::begin(&mut store, scope, Way::Direct);
            let made = blueprint.direct.instantiate(&mut *borrowed.store);
            let made = made.and_then(|made| Functions::of(&made, &mut *borrowed.store, &blueprint.exports));
            made.map_err(|error| failure(borrowed.store.data(), &error))?
        };
        Ok(Self::made(store, functions, slots))
    }

    /// Makes an instance on a fiber. Its calls can wait if `can_wait`.
    pub(crate) async fn create_on_fiber(
        blueprint: &Blueprint,
        can_wait: bool,
        parameters: InstanceParameters,
        scope: CallScope<'_>,
    ) -> Result<Self, StageFailure> {
        let InstanceParameters { identity, metrics, memory, room } = parameters;
        let Reservation { slots, memory: paid } = room;
        let mut store = new_store(blueprint, State::new(identity, metrics, memory, paid));
        let functions = {
            let borrowed = EnteredCall::begin(&mut store, scope, Way::Fiber);
            let clock = Arc::clone(&borrowed.store.data().clock);
            let pre = if can_wait { &blueprint.waiting } else { &blueprint.direct };
            let made = clock.run(pre.instantiate_async(&mut *borrowed.store)).await;
            let made = made.and_then(|made| Functions::of(&made, &mut *borrowed.store, &blueprint.exports));
            made.map_err(|error| failure(borrowed.store.data(), &error))?
        };
        Ok(Self::made(store, functions, slots))
    }

    fn made(store: Store<State>, functions: Functions, room: Slots) -> Self {
        let _counted = store.data().metrics.instance();
        Self { store, functions, calls: 0, _counted, room }
    }

    /// The configuration that pays for it; none for a trial.
    pub(crate) fn account(&self) -> Option<&Arc<Account>> {
        self.room.account()
    }

    /// Bytes of its linear memory.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().limiter.used()
    }

    /// Gives back memory that is paid for and not used, at the end of a call.
    pub(crate) fn settle(&mut self) {
        self.store.data_mut().limiter.settle();
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Calls on the worker's own stack: nothing else runs on this worker until the call has ended.
    pub(crate) fn call<P, R>(
        &mut self,
        function: TypedFunc<P, R>,
        params: P,
        scope: CallScope<'_>,
    ) -> Result<R, StageFailure>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.calls += 1;
        let entered = EnteredCall::begin(&mut self.store, scope, Way::Direct);
        let result = function.call(&mut *entered.store, params);
        result.map_err(|error| failure(entered.store.data(), &error))
    }

    /// Calls on a fiber, which may wait, and which makes room for others at each tick.
    pub(crate) async fn call_on_fiber<P, R>(
        &mut self,
        function: TypedFunc<P, R>,
        params: P,
        scope: CallScope<'_>,
    ) -> Result<R, StageFailure>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        self.calls += 1;
        let entered = EnteredCall::begin(&mut self.store, scope, Way::Fiber);
        let clock = Arc::clone(&entered.store.data().clock);
        let call = clock.run(function.call_async(&mut *entered.store, params));
        match tokio::time::timeout(WHOLE_CALL, call).await {
            Ok(result) => result.map_err(|error| failure(entered.store.data(), &error)),
            Err(_) => Err(StageFailure { kind: FailureKind::Timeout, detail: "it waited too long".to_owned() }),
        }
    }

    pub(crate) fn describe(&mut self, scope: CallScope<'_>) -> Result<Manifest, StageFailure> {
        self.call(self.functions.describe, (), scope).map(|(manifest,)| manifest)
    }

    pub(crate) async fn describe_on_fiber(&mut self, scope: CallScope<'_>) -> Result<Manifest, StageFailure> {
        self.call_on_fiber(self.functions.describe, (), scope).await.map(|(manifest,)| manifest)
    }

    /// Configures the instance; the list holds what the plugin has against the configuration.
    pub(crate) fn configure(&mut self, json: &str, scope: CallScope<'_>) -> Result<Vec<ConfigProblem>, StageFailure> {
        let (result,) = self.call(self.functions.configure, (json.to_owned(),), scope)?;
        self.calls = 0;
        self.store.data_mut().is_configured = result.is_ok();
        Ok(result.err().unwrap_or_default())
    }

    pub(crate) async fn configure_on_fiber(
        &mut self,
        json: &str,
        scope: CallScope<'_>,
    ) -> Result<Vec<ConfigProblem>, StageFailure> {
        let (result,) = self.call_on_fiber(self.functions.configure, (json.to_owned(),), scope).await?;
        self.calls = 0;
        self.store.data_mut().is_configured = result.is_ok();
        Ok(result.err().unwrap_or_default())
    }

    /// The phases that the plugin wants with its configuration; `None` if it does not say.
    pub(crate) fn attends(&mut self, scope: CallScope<'_>) -> Result<Option<PhaseSet>, StageFailure> {
        let Some(function) = self.functions.phases else { return Ok(None) };
        let (phases,) = self.call(function, (), scope)?;
        self.calls = 0;
        Ok(Some(phases))
    }

    pub(crate) async fn attends_on_fiber(&mut self, scope: CallScope<'_>) -> Result<Option<PhaseSet>, StageFailure> {
        let Some(function) = self.functions.phases else { return Ok(None) };
        let (phases,) = self.call_on_fiber(function, (), scope).await?;
        self.calls = 0;
        Ok(Some(phases))
    }

    /// The timers that the plugin has with its configuration.
    pub(crate) fn timers(&mut self, scope: CallScope<'_>) -> Result<Vec<Timer>, StageFailure> {
        let Some(function) = self.functions.timers else { return Ok(Vec::new()) };
        let (timers,) = self.call(function, (), scope)?;
        self.calls = 0;
        Ok(timers)
    }

    pub(crate) async fn timers_on_fiber(&mut self, scope: CallScope<'_>) -> Result<Vec<Timer>, StageFailure> {
        let Some(function) = self.functions.timers else { return Ok(Vec::new()) };
        let (timers,) = self.call_on_fiber(function, (), scope).await?;
        self.calls = 0;
        Ok(timers)
    }

    /// The documents that it asked for while it was configured.
    pub(crate) fn declared_documents(&self) -> Arc<[Source]> {
        self.store.data().declared_documents().into()
    }

    /// The headers that its lists of edits set or remove.
    pub(crate) fn owned(&self) -> OwnedHeaders {
        let mut owned = OwnedHeaders::default();
        self.store.data().edits.iter().for_each(|edits| edits.note_owned(&mut owned));
        owned
    }

    /// How long the last call on a fiber ran.
    pub(crate) fn ran(&self) -> Duration {
        self.store.data().clock.ran()
    }

    /// It is dropped to make room for others.
    pub(crate) fn evicted(&self) {
        self.store.data().metrics.evicted();
    }

    /// Whether it has served no exchange yet.
    pub(crate) fn is_unused(&self) -> bool {
        self.calls == 0
    }

    /// So many handles will be its own with the next call.
    pub(crate) fn gives(&mut self, handles: u32) {
        let data = self.store.data_mut();
        data.handles = data.handles.saturating_add(handles);
    }

    /// Whether it is better replaced. `max_calls` of 0 is no limit.
    pub(crate) fn is_worn(&self, max_calls: u64) -> bool {
        (max_calls != 0 && self.calls >= max_calls)
            || self.store.data().limiter.is_nearly_full()
            || self.store.data().keeps_handles()
    }
}

fn new_store(blueprint: &Blueprint, state: State) -> Store<State> {
    let mut store = Store::new(blueprint.direct.engine(), state);
    store.limiter(|state| &mut state.limiter);
    store.epoch_deadline_callback(at_deadline);
    store
}

#[derive(Clone, Copy)]
enum Way {
    Direct,
    Fiber,
}

/// The scope of one call: the store has the exchange until this is dropped.
///
/// Host functions get nothing but the store's data (`&mut State`), so the exchange has to be in there while guest code runs.
/// wasmtime requires that data to be `'static`, which rules out a reference to the exchange. It is therefore moved: out of its
/// slot into the store, and back in `drop`. The way back must stay in `drop`. A call does not only end by returning: a guest
/// traps, and the future of a call on a fiber is dropped when its client leaves, when a time limit ends the exchange, or in a
/// `select!`. If the exchange were put back after the call instead, each of these would lose it: observers would not run, the
/// request would not be counted, and later stages would find an empty slot.
///
/// The guard borrows both the store and the slot, so nothing else can look into the slot while it is empty, and a second call
/// into the same store cannot begin. In the other direction, `give_back` takes everything that was lent, services included:
/// a guest that runs outside of a call finds nothing to act on, and an idle instance keeps no configuration alive.
struct EnteredCall<'a> {
    store: &'a mut Store<State>,
    slot: Option<&'a mut ExchangeSlot>,
    /// On the worker's own stack; a fiber says so by itself, while it runs.
    _running: Option<Running>,
}

impl<'a> EnteredCall<'a> {
    fn begin(store: &'a mut Store<State>, mut scope: CallScope<'a>, way: Way) -> Self {
        let exchange = scope.slot.as_mut().and_then(|slot| slot.0.take());
        let bodies = exchange.as_ref().map_or(0, |exchange| exchange.bounds.buffer_bytes);
        // A body comes with a head around it.
        store.set_hostcall_fuel(HANDED_OVER_BYTES.max(bodies.saturating_add(HANDED_OVER_BYTES / 8)));
        let state = store.data_mut();
        state.enter_call(exchange, Rc::clone(scope.services));
        let running = match way {
            Way::Direct => {
                state.mode = Mode::Direct { limit: scope.time, watched: None };
                // The present step is already under way.
                store.set_epoch_deadline(ticks(scope.time / 2) + COARSE);
                Some(Running::begin())
            }
            Way::Fiber => {
                state.mode = Mode::Fiber { limit: scope.time };
                store.set_epoch_deadline(1);
                None
            }
        };
        Self { store, slot: scope.slot, _running: running }
    }
}

impl Drop for EnteredCall<'_> {
    fn drop(&mut self) {
        let exchange = self.store.data_mut().give_back();
        if let Some(slot) = self.slot.take() {
            slot.0 = exchange;
        }
    }
}

/// Where in the guest's sources it happened, for a component that tells: the innermost of its own functions.
fn place(error: &wasmtime::Error) -> Option<String> {
    const OTHERS: [&str; 4] = ["/rustc/", "/.cargo/registry/", "library/std/", "/lib/libc/"];
    let backtrace = error.downcast_ref::<WasmBacktrace>()?;
    let mut places = backtrace.frames().iter().flat_map(|frame| frame.symbols()).filter_map(|symbol| {
        let (file, line) = (symbol.file()?, symbol.line()?);
        let is_own = !OTHERS.iter().any(|other| file.contains(other));
        is_own.then(|| format!(" at {}:{line}", file.strip_prefix("./").unwrap_or(file)))
    });
    places.next().map(|place| place.chars().filter(|c| !c.is_control()).take(PLACE).collect())
}

/// What went wrong, in the guest's own words where it had any.
fn failure(state: &State, error: &wasmtime::Error) -> StageFailure {
    let (kind, mut detail) = if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
        (FailureKind::Timeout, "it ran longer than it may".to_owned())
    } else {
        match state.limiter.refused {
            // It is the gateway that is short of memory, not the plugin that asks for too much.
            Some(Refused::Shared) => {
                let detail = format!("there is no memory left for it: {}", state.limiter.describe_shared());
                (FailureKind::Busy, detail)
            }
            Some(Refused::Own) => {
                (FailureKind::Memory, format!("it wanted more memory than it may have: {}", error.root_cause()))
            }
            None => (FailureKind::Trap, error.root_cause().to_string()),
        }
    };
    if let Some(place) = place(error) {
        detail.push_str(&place);
    }
    if let Some(words) = state.output.last_words() {
        detail.push_str("; it printed: ");
        detail.push_str(&words);
    }
    state.metrics.trapped(traps::Trap {
        at: SystemTime::now(),
        plugin: state.identity.name.to_string(),
        route: state.route().unwrap_or_default().to_owned(),
        kind: kind.counted().name(),
        detail: detail.clone(),
        backtrace: format!("{error:?}"),
    });
    StageFailure { kind, detail }
}
