//! What an operator does to a running gateway: signals, and edits of the configuration file and of the files that
//! it names.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{self, Component, Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};

use super::control::Order;

/// Editors and orchestrators write a file in several steps: a reload waits until it has rested for so long.
const SETTLE: Duration = Duration::from_millis(200);

/// It is not put off for longer, however often the file changes.
const PATIENCE: Duration = Duration::from_secs(2);
/// The link that Kubernetes turns to a new version of a mounted folder.
const MOUNTED: &str = "..data";
/// How far a file's time of change may lag behind the clock.
const COARSE: Duration = Duration::from_millis(10);

/// The changes of the configuration file and of the files that it names, if they are watched.
pub(super) struct Changes {
    file: Option<PathBuf>,
    nudge: mpsc::Sender<()>,
    nudges: mpsc::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl Changes {
    pub(super) fn of(file: Option<&Path>) -> Self {
        let (nudge, nudges) = mpsc::channel(1);
        let watcher = file.and_then(|file| watch(&[file], nudge.clone()));
        Self { file: file.map(Path::to_owned), nudge, nudges, _watcher: watcher }
    }

    /// Watches these files too, instead of those before. They were read after `since`: one that has changed in the
    /// meantime is a change.
    pub(super) fn follow<'a>(&mut self, files: impl IntoIterator<Item = &'a Path>, since: SystemTime) {
        let Some(file) = &self.file else { return };
        let named: BTreeSet<&Path> = files.into_iter().collect();
        let all: Vec<&Path> = std::iter::once(&**file).chain(named.iter().copied()).collect();
        // The old one goes when the new one is there, so that nothing is missed in between. Even where the list is
        // the same: a folder may be another one under the same name.
        if let Some(watcher) = watch(&all, self.nudge.clone()) {
            self._watcher = Some(watcher);
        }
        if named.iter().any(|file| has_changed(file, since)) {
            let _ = self.nudge.try_send(());
        }
    }

    /// Waits for a change; for ever, if nothing is watched.
    pub(super) async fn noticed(&mut self) {
        // The sender is never gone: it is ours.
        self.nudges.recv().await;
    }

    /// Waits until the changes have come to rest, then asks for a reload.
    pub(super) async fn settled(&mut self) -> Order {
        let nudges = &mut self.nudges;
        let rest =
            async { while tokio::time::timeout(SETTLE, nudges.recv()).await.is_ok_and(|nudge| nudge.is_some()) {} };
        let _ = tokio::time::timeout(PATIENCE, rest).await;
        let (reply, _) = oneshot::channel();
        Order::Reload { new_source: None, reply }
    }
}

/// Nudges at every change of the files, as long as the watcher lives. Their folders are watched, because editors,
/// certificate agents and Kubernetes replace files instead of writing to them; other files in there do not count.
fn watch(files: &[&Path], nudge: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let entries: BTreeSet<PathBuf> = files.iter().flat_map(|file| entries(file)).collect();
    let folders: BTreeSet<PathBuf> = entries.iter().map(|entry| folder(entry).to_owned()).collect();
    let on_event = move |event: notify::Result<notify::Event>| {
        let concerns_us = |event: notify::Event| {
            let mut paths = event.paths.iter();
            // Reading the file is no change.
            !matches!(event.kind, EventKind::Access(_))
                && paths.any(|path| entries.contains(path) || path.file_name() == Some(OsStr::new(MOUNTED)))
        };
        if event.is_ok_and(concerns_us) {
            // A full channel means that a nudge is waiting already.
            let _ = nudge.try_send(());
        }
    };
    let mut watcher = match notify::recommended_watcher(on_event) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "cannot watch files: only SIGHUP reloads");
            return None;
        }
    };
    for folder in folders {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::warn!(%error, "cannot watch {}: only SIGHUP notices changes there", folder.display());
        }
    }
    Some(watcher)
}

/// What in which folder decides what a file is: its own name, and every symbolic link on the way to it. All of them from
/// the root, as events name them.
fn entries(file: &Path) -> Vec<PathBuf> {
    let file = &*path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut entries = vec![folder(file).join(file.file_name().unwrap_or_default())];
    let mut way = PathBuf::new();
    for component in file.components() {
        way.push(component);
        if matches!(component, Component::Normal(_)) && way.is_symlink() && way != file {
            entries.push(folder(&way).join(way.file_name().unwrap_or_default()));
        }
    }
    entries
}

/// The folder that holds it.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether the file, or the link to it, was changed after that; not if it cannot be told.
fn has_changed(file: &Path, since: SystemTime) -> bool {
    let changed = |metadata: std::io::Result<fs::Metadata>| -> Option<SystemTime> {
        let metadata = metadata.ok()?;
        let seconds = Duration::from_secs(metadata.ctime().try_into().ok()?);
        Some(UNIX_EPOCH + seconds + Duration::from_nanos(metadata.ctime_nsec().try_into().ok()?))
    };
    let times = [changed(fs::metadata(file)), changed(fs::symlink_metadata(file))];
    times.into_iter().flatten().any(|time| time + COARSE >= since)
}

/// The process's signals, if it listens to them.
pub(super) struct Signals(Option<[Signal; 3]>);

impl Signals {
    pub(super) fn new(enabled: bool) -> Self {
        let open = || -> std::io::Result<_> {
            Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?])
        };
        let signals = enabled
            .then(open)
            .and_then(|signals| signals.inspect_err(|error| tracing::warn!(%error, "cannot listen to signals")).ok());
        Self(signals)
    }

    /// The next order that a signal gives.
    pub(super) async fn next(&mut self) -> Order {
        let Some([terminate, interrupt, hangup]) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => Order::Drain,
            _ = interrupt.recv() => Order::Drain,
            _ = hangup.recv() => {
                let (reply, _) = oneshot::channel();
                Order::Reload { new_source: None, reply }
            }
        }
    }

    /// As `next`, for the signals that end the gateway only: others wait for `next`.
    pub(super) async fn asked_to_end(&mut self) {
        match &mut self.0 {
            Some([terminate, interrupt, _]) => tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            },
            None => std::future::pending().await,
        }
    }

    /// A second request to end.
    pub(super) async fn impatient(&mut self) {
        while !matches!(self.next().await, Order::Drain) {}
    }
}
