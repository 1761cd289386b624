//! Waits of exchanges for room among the holders of a key, in memory or in Redis (`waiters.rs`).

use std::{sync::Arc, time::Duration};

use gateway_rules::lease::Wake;
use tokio::time::{Instant, timeout_at};

use super::{
    memory::MemoryStore,
    redis::Redis,
    waiters::{Waiters, Waiting},
};

/// A waiting exchange looks at a key in memory at least this often: its holders may have been evicted.
const LOOK: Duration = Duration::from_secs(1);

/// Where the holders of a key are counted.
enum Place {
    Memory(Arc<MemoryStore>),
    Redis(Arc<Redis>),
}

/// Waits until a key has room for another holder.
pub struct LeaseWait {
    waiting: Option<Waiting>,
    place: Place,
}

/// It is the turn of an exchange to acquire a lease, until this is dropped.
pub struct LeaseTurn(LeaseWait);

impl LeaseWait {
    /// Begins to wait for a key in memory (`MemoryStore::lease_key`). `earlier`: the exchange has waited for it before.
    pub fn in_memory(store: &Arc<MemoryStore>, key: &[u8], limit: u32, wake: Wake, earlier: Option<LeaseTurn>) -> Self {
        Self::begin(Place::Memory(Arc::clone(store)), &store.waiters, key, limit, wake, earlier)
    }

    /// Begins to wait for a key in Redis (`Redis::lease_key`).
    pub fn in_redis(redis: &Arc<Redis>, key: &str, limit: u32, wake: Wake, earlier: Option<LeaseTurn>) -> Self {
        let wait =
            Self::begin(Place::Redis(Arc::clone(redis)), &redis.watches.waiters, key.as_bytes(), limit, wake, earlier);
        redis.watches.look(key.as_bytes());
        wait
    }

    fn begin(
        place: Place,
        waiters: &Arc<Waiters>,
        key: &[u8],
        limit: u32,
        wake: Wake,
        earlier: Option<LeaseTurn>,
    ) -> Self {
        let before = earlier.as_ref().and_then(|turn| turn.0.waiting.as_ref());
        let number = before.filter(|before| *before.key == *key && before.wake == wake).map(|before| before.number);
        // Its turn ends before it joins again: one number stands in one place.
        drop(earlier);
        Self { waiting: Some(waiters.join(key, limit, wake, number)), place }
    }

    /// Waits, for so long at most. Returns nothing if that time was over.
    pub async fn room(mut self, limit: Duration) -> Option<LeaseTurn> {
        let end = Instant::now() + limit;
        let waiting = self.waiting.as_mut()?;
        let called = match &self.place {
            Place::Redis(_) => timeout_at(end, &mut waiting.called).await.is_ok(),
            Place::Memory(store) => loop {
                let next = Instant::now() + store.look_for_room(&waiting.key).min(LOOK);
                if timeout_at(next.min(end), &mut waiting.called).await.is_ok() {
                    break true;
                }
                if Instant::now() >= end {
                    break false;
                }
            },
        };
        // One that is called at the very end has a turn all the same, which ends when `self` is dropped here.
        called.then_some(LeaseTurn(self))
    }
}

impl Drop for LeaseWait {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take().filter(Waiting::leave) {
            match &self.place {
                Place::Memory(store) => drop(store.look_for_room(&waiting.key)),
                Place::Redis(redis) => redis.watches.look(&waiting.key),
            }
        }
    }
}

#[cfg(test)]
#[path = "lease_waits_tests.rs"]
mod tests;
