//! Calls that can wait, from where no worker runs.

use std::thread;

/// Runs a future on a thread and a runtime of its own, and waits for it. A worker must not: it would wait as
/// long.
pub(super) fn on_own_runtime<T: Send>(make: impl AsyncFnOnce() -> T + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the system has a thread's resources to spare").block_on(make())
    };
    thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
