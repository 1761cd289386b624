//! Exchanges that wait until a key has room for another holder. They hold no instance of a plugin and no lease meanwhile.
//!
//! What wakes them is the number of holders, and not the event of a release: an event can be lost, and leases also end by their time
//! to live, in a server that was restarted, or by eviction. So `room` gets the number of holders of a key whenever it may have become less,
//! and decides who continues. In memory, each release calls it, and each waiting exchange looks itself when a lease may have ended.
//! For keys in Redis, one task watches all keys for which exchanges of this gateway wait (`redis/watch.rs`).
//!
//! Of exchanges that need a lease, only as many continue as there is room for. Until such an exchange has decided (`lease_waits.rs`, `LeaseTurn`), its
//! place counts as taken, so that one release does not wake two.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use ahash::RandomState;
use gateway_rules::lease::Wake;
use tokio::sync::oneshot;

/// Locks, so that those who wait for different keys seldom meet.
const SHARDS: usize = 16;

/// Those that wait, by key.
pub(crate) struct Waiters {
    shards: [Mutex<Queues>; SHARDS],
    /// How many wait: a release costs nothing more while there are none.
    waiting: AtomicUsize,
    /// The number of the last one; they count up in the order in which exchanges begin to wait.
    last: AtomicU64,
    hasher: RandomState,
}

type Queues = HashMap<Box<[u8]>, Queue, RandomState>;

#[derive(Default)]
struct Queue {
    /// By number.
    in_turn: VecDeque<Waiter>,
    all: VecDeque<Waiter>,
    /// Those that continue in turn and have not decided yet.
    called: u32,
}

struct Waiter {
    number: u64,
    limit: u32,
    call: oneshot::Sender<()>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            waiting: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Waiters {
    /// Whether nothing waits for any key. What a thread does under a lock that a waiting exchange takes after `join` is seen by it.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Begins to wait. With the number of an earlier wait, at the place of that one.
    pub(crate) fn join(self: &Arc<Self>, key: &[u8], limit: u32, wake: Wake, number: Option<u64>) -> Waiting {
        let number = number.unwrap_or_else(|| self.last.fetch_add(1, Ordering::Relaxed));
        let (call, called) = oneshot::channel();
        let mut queues = self.queues(key);
        let queue = queues.entry(key.into()).or_default();
        let line = queue.line(wake);
        let place = line.partition_point(|waiter| waiter.number < number);
        line.insert(place, Waiter { number, limit, call });
        self.waiting.fetch_add(1, Ordering::Release);
        Waiting { waiters: Arc::clone(self), key: key.into(), number, wake, called }
    }

    /// Wakes those for which a key with this number of holders has room.
    pub(crate) fn room(&self, key: &[u8], holders: u32) {
        let mut queues = self.queues(key);
        let Some(queue) = queues.get_mut(key) else { return };
        let mut woken = 0;
        if queue.all.iter().any(|waiter| holders < waiter.limit) {
            // Usually all of them: the limit of a key is configured once.
            let (continuing, staying) =
                std::mem::take(&mut queue.all).into_iter().partition(|waiter| holders < waiter.limit);
            queue.all = staying;
            woken += call(continuing);
        }
        while queue.in_turn.front().is_some_and(|first| holders.saturating_add(queue.called) < first.limit) {
            queue.called += 1;
            woken += call(queue.in_turn.drain(..1));
        }
        self.waiting.fetch_sub(woken, Ordering::Release);
        queues.retain_in_use(key);
    }

    /// Wakes all that wait for a key.
    pub(crate) fn call_all(&self, key: &[u8]) {
        let mut queues = self.queues(key);
        let Some(queue) = queues.get_mut(key) else { return };
        queue.called = queue.called.saturating_add(u32::try_from(queue.in_turn.len()).unwrap_or(u32::MAX));
        let woken = call(queue.all.drain(..)) + call(queue.in_turn.drain(..));
        self.waiting.fetch_sub(woken, Ordering::Release);
        queues.retain_in_use(key);
    }

    /// Whether any exchange waits for a key.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        !self.is_empty() && self.queues(key).get(key).is_some_and(|queue| !queue.is_waited_in())
    }

    fn queues(&self, key: &[u8]) -> MutexGuard<'_, Queues> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        // The queues are consistent between statements, even after a panic.
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how many.
fn call(waiters: impl IntoIterator<Item = Waiter>) -> usize {
    // One that has left meanwhile removes itself under the lock that is held here.
    let mut called = 0;
    for waiter in waiters {
        let _ = waiter.call.send(());
        called += 1;
    }
    called
}

impl Queue {
    fn line(&mut self, wake: Wake) -> &mut VecDeque<Waiter> {
        match wake {
            Wake::InTurn => &mut self.in_turn,
            Wake::All => &mut self.all,
        }
    }

    fn is_waited_in(&self) -> bool {
        self.in_turn.is_empty() && self.all.is_empty()
    }
}

/// Queues are removed when nothing waits in them and no turn has to be counted.
trait Retain {
    fn retain_in_use(&mut self, key: &[u8]);
}

impl Retain for Queues {
    fn retain_in_use(&mut self, key: &[u8]) {
        if self.get(key).is_some_and(|queue| queue.is_waited_in() && queue.called == 0) {
            self.remove(key);
        }
    }
}

/// A place in the queue of a key, until `leave`.
pub(crate) struct Waiting {
    waiters: Arc<Waiters>,
    pub(crate) key: Box<[u8]>,
    pub(crate) number: u64,
    pub(crate) wake: Wake,
    /// Fires when it is called.
    pub(crate) called: oneshot::Receiver<()>,
}

impl Waiting {
    /// Leaves the queue, or ends the turn. Returns whether a turn has ended, so that the next one may have room.
    pub(crate) fn leave(&self) -> bool {
        let mut queues = self.waiters.queues(&self.key);
        let Some(queue) = queues.get_mut(&self.key) else { return false };
        let line = queue.line(self.wake);
        let place = line.binary_search_by_key(&self.number, |waiter| waiter.number);
        let ends_turn = match place {
            Ok(place) => {
                line.remove(place);
                self.waiters.waiting.fetch_sub(1, Ordering::Release);
                false
            }
            Err(_) => {
                let in_turn = self.wake == Wake::InTurn;
                queue.called = queue.called.saturating_sub(u32::from(in_turn));
                in_turn
            }
        };
        queues.retain_in_use(&self.key);
        ends_turn
    }
}
