//! A reload: what it works on, and its two halves, loading and installing.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::sync::Notify;

use super::{
    Source, StartError,
    handover::Inherited,
    install::{Bound, Installer, Installing},
    snapshot::{Loaded, Snapshot},
};
use crate::alloc;

/// What a reload works on; it moves to a blocking thread and back.
pub(super) struct Core {
    pub(super) source: Source,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) installer: Installer,
}

/// Everything that can go wrong, and nothing that has an effect. Health and metrics answer meanwhile. If it is given up, its thread goes on
/// until the process ends, and what it makes is dropped.
pub(super) async fn load(core: &Core, new_source: Option<Source>) -> Result<(Loaded, Vec<Bound>), StartError> {
    let source = new_source.unwrap_or_else(|| core.source.clone());
    let (shared, old) = (core.installer.shared.clone(), core.snapshot.clone());
    let task = tokio::task::spawn_blocking(move || {
        let _frugal = alloc::Frugal::begin();
        // A defect in what reads or compiles does no harm.
        let load = AssertUnwindSafe(|| Loaded::load(&source, &shared, Some(&old)));
        catch_unwind(load).unwrap_or_else(|_| Err(panicked()))
    });
    let loaded = task.await.unwrap_or_else(|error| Err(StartError::Io(std::io::Error::other(error))))?;
    let bound = core.installer.bind(&loaded, &mut Inherited::default())?;
    Ok((loaded, bound))
}

/// Puts a configuration in force. A new source is where the configuration comes from after that. Looking up names and fetching
/// documents takes its time; `stop` ends the latter.
pub(super) async fn install(
    mut core: Core,
    loaded: Loaded,
    bound: Vec<Bound>,
    new_source: Option<Source>,
    stop: Arc<Notify>,
) -> (Option<Core>, Result<Installing, StartError>) {
    let task = tokio::task::spawn_blocking(move || {
        let frugal = alloc::Frugal::begin();
        let install = AssertUnwindSafe(|| core.install(loaded, bound, new_source, &stop));
        let result = catch_unwind(install).map_err(|_| panicked());
        drop(frugal);
        (core, result)
    });
    match task.await {
        Ok((core, result)) => (Some(core), result),
        Err(error) => (None, Err(StartError::Io(std::io::Error::other(error)))),
    }
}

fn panicked() -> StartError {
    StartError::Io(std::io::Error::other("a defect of the gateway; see above"))
}

impl Core {
    /// Everything that has an effect, and nothing that can go wrong.
    fn install(&mut self, loaded: Loaded, bound: Vec<Bound>, new_source: Option<Source>, stop: &Notify) -> Installing {
        loaded.warn();
        let old = self.snapshot.clone();
        let (new, count) = (loaded.config(), self.installer.workers.len());
        if new.workers != count {
            tracing::warn!("`workers` takes effect at the next start; {count} are running");
        }
        if new.admin.as_ref().map(|admin| admin.address) != old.config.admin.as_ref().map(|admin| admin.address) {
            tracing::warn!("`admin.address` takes effect at the next start");
        }
        if new.state != old.config.state {
            tracing::warn!("`state` takes effect at the next start");
        }
        self.installer.shared.change_log(&old.config.log, &new.log);
        let (snapshot, installing) = self.installer.install(loaded, bound, stop);
        self.snapshot = snapshot;
        if let Some(source) = new_source {
            self.source = source;
        }
        installing
    }
}
