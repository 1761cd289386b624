//! The last times that plugins broke down, with where they did: for operators, who come when it is over.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Of all plugins together.
const KEPT: usize = 32;
/// Of a backtrace; the innermost frames come first.
const BYTES: usize = 8 * 1024;

/// A breakdown of a plugin.
#[derive(Debug, Clone)]
pub struct Trap {
    pub at: SystemTime,
    pub plugin: String,
    /// Empty where it was called for no exchange.
    pub route: String,
    /// `trap`, `timeout`, `memory`.
    pub kind: &'static str,
    pub detail: String,
    /// As wasmtime tells it: with names and lines where the component has them.
    pub backtrace: String,
}

/// One for the process.
#[derive(Debug, Default)]
pub struct Traps(Mutex<VecDeque<Trap>>);

impl Traps {
    pub fn note(&self, mut trap: Trap) {
        let mut end = BYTES.min(trap.backtrace.len());
        while !trap.backtrace.is_char_boundary(end) {
            end -= 1;
        }
        trap.backtrace.truncate(end);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(trap);
    }

    /// The newest first.
    pub fn all(&self) -> Vec<Trap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}
