//! How the servers are, as the rest of the process sees it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

#[derive(Default)]
pub(super) struct Health {
    usable: AtomicBool,
    available: AtomicU64,
    unavailable: AtomicU64,
    /// Why some or all of the state is unavailable; empty while all of it is available.
    trouble: Mutex<Option<String>>,
}

impl Health {
    /// Whether requests make sense: some of the state is available.
    pub(super) fn is_usable(&self) -> bool {
        self.usable.load(Ordering::Relaxed)
    }

    pub(super) fn nodes(&self) -> (u64, u64) {
        (self.available.load(Ordering::Relaxed), self.unavailable.load(Ordering::Relaxed))
    }

    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.or_else(|| (!self.is_usable()).then(|| "not connected".to_owned()))
    }

    /// Takes over how it is now; returns whether it was usable before.
    pub(super) fn set(&self, usable: bool, nodes: (u64, u64), trouble: Option<String>) -> bool {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        self.available.store(nodes.0, Ordering::Relaxed);
        self.unavailable.store(nodes.1, Ordering::Relaxed);
        self.usable.swap(usable, Ordering::Relaxed)
    }
}
