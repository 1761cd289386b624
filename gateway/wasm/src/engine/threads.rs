//! Calls that can wait, from where no worker runs.

use std::{io, thread};

use gateway_pipeline::{FailureKind, StageFailure};

/// Runs a future on a thread and a runtime of its own, as on a worker, and waits for it. A worker must not: it would wait as
/// long. An error means that the system has no thread or no descriptors to spare.
pub(crate) fn on_own_runtime<T: Send>(make: impl AsyncFnOnce() -> T + Send) -> io::Result<T> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // What guests call may start tasks.
        Ok(tokio::task::LocalSet::new().block_on(&runtime, make()))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("plugin-trial".to_owned()).spawn_scoped(scope, run)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What it means for a plugin that [`on_own_runtime`] failed.
pub(crate) fn no_thread(error: &io::Error) -> StageFailure {
    StageFailure { kind: FailureKind::Busy, detail: format!("no thread to run it on: {error}") }
}
