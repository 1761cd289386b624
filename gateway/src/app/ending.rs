//! How a process ends: what is in progress finishes first, and another process may take its place.

use std::{io, net::TcpListener as StdListener, time::Duration};

use super::{
    handover::{NotUpgraded, Outgoing, Upgrade},
    reload::Core,
    signals::Signals,
    worker::WorkerHandle,
};

/// How long traces, and lines for sinks, may take to get out at the end.
const FLUSH: Duration = Duration::from_secs(5);

/// The result of an upgrade, if there is one under way.
pub(super) async fn done(upgrade: &mut Option<Upgrade>) -> Result<u32, NotUpgraded> {
    match upgrade {
        Some(upgrade) => upgrade.done().await,
        None => std::future::pending().await,
    }
}

/// Runs a future unless a signal asks for the end first: then, whether the drain is delayed. What the control thread waits for is run by
/// this, so that no file system, compiler or worker delays the end.
pub(super) async fn unless_ended<T>(signals: &mut Signals, future: impl Future<Output = T>) -> Result<T, bool> {
    tokio::select! {
        biased;
        delayed = signals.asked_to_end() => Err(delayed),
        output = future => Ok(output),
    }
}

/// Starts the program that shall take this process's place.
pub(super) async fn begin_upgrade(
    core: &Core,
    admin: Option<&io::Result<StdListener>>,
    begun: bool,
) -> io::Result<Upgrade> {
    if begun {
        return Err(io::Error::other("one that was started before does not serve yet"));
    }
    if std::process::id() == 1 {
        return Err(io::Error::other("a container ends with its process 1, which therefore cannot be replaced"));
    }
    let mut sockets = Outgoing::default();
    if let Some(Ok(admin)) = admin {
        sockets.admin(admin)?;
    }
    for worker in &core.installer.workers {
        for (key, socket) in worker.listeners().await? {
            sockets.listener(key, socket)?;
        }
    }
    tracing::info!("starting a new process that takes over the listening sockets");
    Upgrade::start(&sockets)
}

/// Lets requests in progress finish, and what is recorded of them get out. With a delay, load balancers have the time to learn from
/// `/readyz` that they should stop, and until then are served; connections are asked to leave meanwhile, so that few are left at its end.
pub(super) async fn end_well(core: Core, delay: Option<Duration>, signals: &mut Signals) {
    let (sinks, traces) = (core.snapshot.sinks.clone(), core.snapshot.traces.clone());
    if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
        tracing::info!("no longer ready; connections are accepted for another {delay:?} (`timeouts.drain-delay`)");
        core.installer.workers.iter().for_each(WorkerHandle::go_away);
        if unless_ended(signals, tokio::time::sleep(delay)).await.is_err() {
            tracing::warn!("{STOPPED}");
            stop(core).await;
        } else {
            drain(core, signals).await;
        }
    } else {
        drain(core, signals).await;
    }
    let flushed = async {
        if let Some(traces) = traces
            && tokio::time::timeout(FLUSH, traces.tracer.flush()).await.is_err()
        {
            tracing::warn!("some spans could not be exported");
        }
        // On another thread: a disk may be slow, and this one waits for signals.
        if !tokio::task::spawn_blocking(move || sinks.flush(FLUSH)).await.unwrap_or_default() {
            tracing::warn!("some sink lines could not be written");
        }
    };
    if unless_ended(signals, flushed).await.is_err() {
        tracing::warn!("stopped immediately by another signal; traces or sink lines may be lost");
    }
}

/// Of a second signal that asks for the end.
const STOPPED: &str = "stopped immediately by a second signal; active requests are cut off";

async fn drain(core: Core, signals: &mut Signals) {
    let deadline = core.snapshot.config.timeouts.drain;
    tracing::info!("draining for at most {deadline:?}");
    match unless_ended(signals, all_drained(core, deadline)).await {
        Ok(()) => tracing::info!("drained"),
        Err(_) => tracing::warn!("{STOPPED}"),
    }
}

pub(super) async fn stop(core: Core) {
    all_drained(core, Duration::ZERO).await;
}

/// All workers at the same time.
async fn all_drained(core: Core, deadline: Duration) {
    let workers: Vec<_> = core.installer.workers.into_iter().map(|worker| worker.drain(deadline)).collect();
    for worker in workers {
        worker.await;
    }
}
