//! The timers of plugins. Each is one for the process: the worker that holds its turn runs it, and the others wait for the turn
//! until that worker no longer uses the plugin.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use crate::identity::Sha256;

/// Calls that were asked for by `fire` and not begun.
const FIRED: usize = 16;

/// Timers by the identity of their configuration and their names.
type Known = HashMap<(Sha256, Arc<str>), Weak<Timer>>;

/// One for the process.
#[derive(Default)]
pub struct Timers {
    all: Mutex<Known>,
    /// No call is due by time, so that a test decides when a timer runs.
    by_hand: AtomicBool,
}

/// A timer of a configuration, for as long as some worker uses the plugin with it.
pub(crate) struct Timer {
    plugin: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) interval: Duration,
    /// Held by the worker that runs the timer, also while no call is in progress.
    pub(crate) turn: tokio::sync::Mutex<Turn>,
    fire: mpsc::Sender<Fired>,
}

/// When the next call is made.
pub(crate) struct Turn {
    /// None if only `Timers::fire` decides.
    pub(crate) due: Option<Instant>,
    pub(crate) fired: mpsc::Receiver<Fired>,
}

/// Gets the result of a call that was asked for.
pub(crate) type Fired = oneshot::Sender<Result<(), String>>;

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the timers of plugins")
    }
}

impl Timers {
    /// From now on timers run only when they are fired. For tests of plugins.
    pub fn run_by_hand(&self) {
        self.by_hand.store(true, Relaxed);
    }

    /// Calls a timer of the plugin that has this name in the configuration, as soon as its present call has ended.
    ///
    /// # Errors
    ///
    /// There is no such timer, or the call fails; in words.
    pub async fn fire(&self, plugin: &str, timer: &str) -> Result<(), String> {
        let found = self.lock().values().filter_map(Weak::upgrade).find(|t| *t.plugin == *plugin && *t.name == *timer);
        let found = found.ok_or_else(|| format!("the plugin has no timer `{timer}`"))?;
        let (fired, result) = oneshot::channel();
        let ended = |_| "the gateway ended".to_owned();
        found.fire.send(fired).await.map_err(|_| "the gateway ended".to_owned())?;
        result.await.map_err(ended)?
    }

    pub(crate) fn is_by_hand(&self) -> bool {
        self.by_hand.load(Relaxed)
    }

    /// The timer of a plugin with a configuration, which has this identity; the same for all workers.
    pub(crate) fn timer(&self, identity: Sha256, plugin: &Arc<str>, name: &Arc<str>, interval: Duration) -> Arc<Timer> {
        let mut all = self.lock();
        let place = (identity, Arc::clone(name));
        if let Some(timer) = all.get(&place).and_then(Weak::upgrade) {
            return timer;
        }
        all.retain(|_, timer| timer.strong_count() > 0);
        let (fire, fired) = mpsc::channel(FIRED);
        let due = (!self.is_by_hand()).then(Instant::now);
        let timer = Arc::new(Timer {
            plugin: Arc::clone(plugin),
            name: Arc::clone(name),
            interval,
            turn: tokio::sync::Mutex::new(Turn { due, fired }),
            fire,
        });
        all.insert(place, Arc::downgrade(&timer));
        timer
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // The map is consistent between statements, even after a panic.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
