//! Watches keys for which exchanges of this gateway wait (`waiters.rs`): one task for all keys, and one request for a key however
//! many exchanges wait for it.
//!
//! Redis is asked how many hold the key. A message on a release would be faster, but messages are lost when a connection breaks or a
//! replica takes over, leases that end by their time to live send none, and in a cluster a subscription belongs to a node. So there
//! would have to be a look at intervals anyway. Releases by this gateway cause a look at once; those by others are noticed after
//! `LONGEST` at most, or later if many keys are watched: a round asks for `AT_ONCE` keys.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
};

use super::{
    ask::Ask,
    node::PULSE,
    ops::{Op, Reply},
};
use crate::waiters::Waiters;

/// Between two looks at a key at first; then it grows.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(250);
/// Between two rounds, and how many keys are looked at in each: together at most 3200 requests per second.
const ROUND: Duration = Duration::from_millis(10);
const AT_ONCE: usize = 32;

type Key = Box<[u8]>;

/// What workers and the task share.
#[derive(Default)]
pub(crate) struct Watches {
    pub(crate) waiters: Arc<Waiters>,
    /// Keys that are to be looked at now; each of them has, or had, exchanges that wait for it.
    wanted: Mutex<HashSet<Key>>,
    is_wanted: Notify,
}

struct Watched {
    due: Instant,
    pause: Duration,
    /// Since when it cannot be looked at.
    failing: Option<Instant>,
}

impl Watches {
    /// A key may have room, or has exchanges that wait for it now.
    pub(crate) fn look(&self, key: &[u8]) {
        if self.waiters.has(key) {
            self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(key.into());
            self.is_wanted.notify_one();
        }
    }

    fn take_wanted(&self) -> HashSet<Key> {
        std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What requests are sent by.
pub(super) trait Answers {
    /// Answers a request, whatever becomes of it.
    async fn answer(&self, ask: Ask);
}

/// Runs on the thread that has the connections.
pub(super) async fn watch<A: Answers + 'static>(shared: Rc<A>, watches: Arc<Watches>) {
    let mut watched: HashMap<Key, Watched> = HashMap::new();
    loop {
        let now = Instant::now();
        for key in watches.take_wanted() {
            let failing = watched.get(&key).and_then(|watched| watched.failing);
            watched.insert(key, Watched { due: now, pause: SHORTEST, failing });
        }
        watched.retain(|key, _| watches.waiters.has(key));
        let mut due: Vec<_> =
            watched.iter().filter(|(_, watched)| watched.due <= now).map(|(key, watched)| (watched.due, key)).collect();
        due.sort_unstable();
        due.truncate(AT_ONCE);
        let due: Vec<Key> = due.into_iter().map(|(_, key)| key.clone()).collect();
        look(&shared, &watches, &mut watched, due).await;
        // Bounds how often Redis is asked.
        tokio::time::sleep(ROUND).await;
        let next = watched.values().map(|watched| watched.due).min();
        tokio::select! {
            () = watches.is_wanted.notified() => {}
            () = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }
}

/// Asks for these keys, all at once, and wakes exchanges.
async fn look<A: Answers + 'static>(
    shared: &Rc<A>,
    watches: &Watches,
    watched: &mut HashMap<Key, Watched>,
    due: Vec<Key>,
) {
    let mut asked = JoinSet::new();
    for key in due {
        // It was made of text.
        let op = Op::Holders { key: String::from_utf8_lossy(&key).into_owned() };
        let (answer, answered) = oneshot::channel();
        let shared = Rc::clone(shared);
        asked.spawn_local(async move {
            shared.answer(Ask { op, answer }).await;
            (key, answered.await)
        });
    }
    while let Some(Ok((key, answer))) = asked.join_next().await {
        let Some(of) = watched.get_mut(&key) else { continue };
        let now = Instant::now();
        of.due = now + of.pause;
        of.pause = (of.pause * 3 / 2).min(LONGEST);
        match answer {
            Ok(Ok(Reply::Number(holders))) => {
                of.failing = None;
                watches.waiters.room(&key, u32::try_from(holders).unwrap_or(u32::MAX));
            }
            _ => {
                let since = *of.failing.get_or_insert(now);
                if now.duration_since(since) > PULSE {
                    // What they asked for cannot be had: each plugin decides what that means for its request.
                    watches.waiters.call_all(&key);
                }
            }
        }
    }
}
