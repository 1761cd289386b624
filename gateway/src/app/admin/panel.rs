//! What the operator's listener works with.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use gateway_config::Redaction;
use http::StatusCode;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    api_result::{ApiResult, Refusal},
    applying::{Applied, ApplyOptions, NotApplied},
    audit_log::Audit,
    history::{History, Origin},
    operators::Rules,
};
use crate::app::{Source, order::Order, shared::Shared, snapshot::Snapshot};

/// One for the process.
pub(in crate::app) struct Panel {
    ready: AtomicBool,
    pub(super) shared: Arc<Shared>,
    snapshot: RwLock<Arc<Snapshot>>,
    history: Mutex<History>,
    pub(super) audit: Audit,
    /// The control thread takes them one by one.
    orders: mpsc::WeakSender<Order>,
    /// Checking compiles, so it is done for one at a time.
    pub(super) checking: Semaphore,
    /// Pages of metrics may be large, so one is made at a time.
    pub(super) scraping: Semaphore,
    pub(super) started: SystemTime,
}

impl Panel {
    pub(in crate::app) fn new(
        shared: Arc<Shared>,
        snapshot: Arc<Snapshot>,
        orders: mpsc::WeakSender<Order>,
    ) -> Arc<Self> {
        let mut history = History::default();
        history.note(&snapshot.text, &snapshot.sensitive, Origin::Start);
        Arc::new(Self {
            ready: AtomicBool::new(false),
            shared,
            snapshot: RwLock::new(snapshot),
            history: Mutex::new(history),
            audit: Audit::default(),
            orders,
            checking: Semaphore::new(1),
            scraping: Semaphore::new(1),
            started: SystemTime::now(),
        })
    }

    /// Whether new traffic is welcome: false before the first configuration is in force, and in a drain.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Why some or all of the plugins' state in Redis is unavailable.
    pub(super) fn state_trouble(&self) -> Option<String> {
        self.shared.remote.get().and_then(|remote| remote.trouble())
    }

    pub(in crate::app) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// A reload ended well, with this in force now.
    pub(in crate::app) fn in_force(&self, snapshot: &Arc<Snapshot>, origin: Origin) {
        self.history().note(&snapshot.text, &snapshot.sensitive, origin);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
    }

    pub(in crate::app) fn reloaded(&self, ok: bool) {
        self.shared.metrics.reloaded(ok);
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        self.snapshot().rules.clone().unwrap_or_default()
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the secrets of the configuration in force out of what plugins have said.
    pub(super) fn redaction(&self) -> Redaction {
        let snapshot = self.snapshot();
        let named = snapshot.secrets.values().filter_map(|value| str::from_utf8(value).ok().map(str::to_owned));
        let history = self.history();
        let typed = history.present().into_iter().flat_map(|revision| revision.masked().secrets());
        Redaction::of(named.chain(typed))
    }

    /// Has the control thread put another text in force.
    pub(super) async fn apply(
        &self,
        text: String,
        origin: Origin,
        options: ApplyOptions,
    ) -> ApiResult<Result<Applied, NotApplied>> {
        let gone = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending");
        let orders = self.orders.upgrade().ok_or_else(gone)?;
        let (reply, answer) = oneshot::channel();
        orders.send(Order::Apply { text, origin, options, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

impl Panel {
    /// The revision in force, where it is none of those that were expected.
    pub(in crate::app) fn is_as_expected(&self, options: &ApplyOptions) -> Result<(), u64> {
        let present = self.history().present().map_or(0, |revision| revision.id);
        let expected = options.expected.as_ref().is_none_or(|expected| expected.contains(&present));
        if expected { Ok(()) } else { Err(present) }
    }

    /// Where a text's relative paths count from, as the present one's do.
    pub(super) fn source_of(&self, text: String) -> Source {
        Source::Text { text, base: self.snapshot().base.clone() }
    }
}
