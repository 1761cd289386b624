//! Bounds what one instance may hold in memory.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use wasmtime::ResourceLimiter;

use crate::admission::Memory;

/// Elements of all tables of an instance; interpreters come to some thousands.
const TABLE_ELEMENTS: usize = 200_000;

/// Counts the linear memories of one store together: a component may be made of many modules.
pub(crate) struct Limiter {
    limit: usize,
    used: usize,
    /// Of all instances of the plugin together.
    gauge: Arc<AtomicU64>,
    table_elements: usize,
    /// What was granted last, to be given back if the growth then fails.
    granted: usize,
    /// What all plugins may have together pays for it.
    memory: Memory,
    /// Growth was refused since this was last cleared. A trap that follows is likely for want of memory.
    pub(crate) refused: Option<Refused>,
}

/// Why a growth was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The limit of the instance, or the system.
    Own,
    /// The memory of all plugins together.
    Shared,
}

impl Limiter {
    pub(crate) fn new(limit: usize, gauge: Arc<AtomicU64>, memory: Memory) -> Self {
        Self { limit, used: 0, gauge, table_elements: 0, granted: 0, memory, refused: None }
    }

    /// Bytes of linear memory.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Gives back memory that is paid for and not used.
    pub(crate) fn settle(&mut self) {
        self.memory.settle(self.used);
    }

    /// What all plugins have together, for people.
    pub(crate) fn describe_shared(&self) -> String {
        self.memory.describe()
    }

    /// Whether more than three quarters are in use: guests' collectors seldom give memory back, so such an
    /// instance is better replaced than met at its limit.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.used > self.limit / 4 * 3
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if more > self.limit.saturating_sub(self.used) {
            self.refused = Some(Refused::Own);
            return Ok(false);
        }
        if !self.memory.cover(self.used + more) {
            self.refused = Some(Refused::Shared);
            return Ok(false);
        }
        self.used += more;
        self.gauge.fetch_add(more as u64, Relaxed);
        self.granted = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let granted = std::mem::take(&mut self.granted);
        self.used = self.used.saturating_sub(granted);
        // The growth was paid for before it failed.
        self.settle();
        self.gauge.fetch_sub(granted as u64, Relaxed);
        self.refused = Some(Refused::Own);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if more > TABLE_ELEMENTS.saturating_sub(self.table_elements) {
            self.refused = Some(Refused::Own);
            return Ok(false);
        }
        self.table_elements += more;
        Ok(true)
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.gauge.fetch_sub(self.used as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_an_instance_count_together() {
        let mut limiter = Limiter::new(100, Arc::default(), Memory::unaccounted());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        assert_eq!(limiter.refused, Some(Refused::Own));
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(limiter.is_nearly_full());
    }

    #[test]
    fn growth_that_fails_is_given_back() {
        let mut limiter = Limiter::new(100, Arc::default(), Memory::unaccounted());
        limiter.memory_growing(0, 60, None).unwrap();
        limiter.memory_grow_failed(wasmtime::format_err!("no")).unwrap();
        assert!(limiter.memory_growing(0, 60, None).unwrap());
    }
}
