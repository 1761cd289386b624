//! A panic on one of the gateway's workers costs a connection and would otherwise go unnoticed.

use std::{
    panic,
    sync::{Mutex, Once, PoisonError},
    thread,
};

static HOOK: Once = Once::new();
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on panics of workers are kept. To be called before a gateway starts.
pub fn watch() {
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name().is_some_and(|name| name.starts_with("worker-")) {
                SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            }
            usual(info);
        }));
    });
}

/// Fails if a worker of any gateway in this process has panicked.
pub fn none_seen() {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(seen.is_empty(), "a worker panicked: {seen:?}");
}
