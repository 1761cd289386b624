//! What an operator does to a running gateway: signals, and edits of the configuration file.

use std::{path::Path, time::Duration};

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

/// The changes of the configuration file, if it is watched.
pub(super) struct Changes {
    nudges: mpsc::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl Changes {
    pub(super) fn of(file: Option<&Path>) -> Self {
        let (nudge, nudges) = mpsc::channel(1);
        Self { nudges, _watcher: watch(file, nudge) }
    }

    /// Waits for a change; for ever, if nothing is watched.
    pub(super) async fn noticed(&mut self) {
        if self.nudges.recv().await.is_none() {
            std::future::pending().await
        }
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

/// Nudges at every change of the file, as long as the watcher lives. Its folder is watched, because editors
/// and Kubernetes replace the file instead of writing to it; other files in there do not count.
fn watch(path: Option<&Path>, nudge: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let path = path?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name()?.to_owned();
    let on_event = move |event: notify::Result<notify::Event>| {
        let concerns_us = |event: notify::Event| {
            let names = event.paths.iter().filter_map(|path| path.file_name());
            // Reading the file is no change.
            !matches!(event.kind, EventKind::Access(_)) && names.into_iter().any(|n| n == name || n == MOUNTED)
        };
        if event.is_ok_and(concerns_us) {
            // A full channel means that a nudge is waiting already.
            let _ = nudge.try_send(());
        }
    };
    let watcher = notify::recommended_watcher(on_event)
        .and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher));
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "cannot watch {}: only SIGHUP reloads", folder.display());
            None
        }
    }
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
