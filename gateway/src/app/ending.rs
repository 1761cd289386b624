//! How a process ends: what is under way finishes first, and another process may take its place.

use std::{io, net::TcpListener as StdListener, time::Duration};

use super::{
    control::Core,
    handover::{Outgoing, Upgrade},
    signals::Signals,
};

/// How long traces, and lines for sinks, may take to get out at the end.
const FLUSH: Duration = Duration::from_secs(5);

/// The result of an upgrade, if there is one under way.
pub(super) async fn done(upgrade: &mut Option<Upgrade>) -> Result<u32, String> {
    match upgrade {
        Some(upgrade) => upgrade.done().await,
        None => std::future::pending().await,
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
    for worker in &core.workers {
        for (key, socket) in worker.listeners().await? {
            sockets.listener(key, socket)?;
        }
    }
    tracing::info!("a new process is started, which takes over the listening sockets");
    Upgrade::start(&sockets)
}

/// Lets requests under way finish, and what is told of them get out. With a delay, what sends requests here has the time to
/// learn from `/readyz` that it should stop, and until then is served as usual.
pub(super) async fn end_well(core: Core, delay: Option<Duration>, signals: &mut Signals) {
    let (sinks, traces) = (core.snapshot.sinks.clone(), core.snapshot.traces.clone());
    if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
        tracing::info!("not ready any more; connections are accepted for another {delay:?} (`timeouts.drain-delay`)");
        tokio::select! {
            () = tokio::time::sleep(delay) => drain(core, signals).await,
            _ = signals.asked_to_end() => {
                tracing::warn!("{IMPATIENT}");
                stop(core).await;
            }
        }
    } else {
        drain(core, signals).await;
    }
    if let Some(traces) = traces
        && tokio::time::timeout(FLUSH, traces.tracer.flush()).await.is_err()
    {
        tracing::warn!("not every trace could be sent");
    }
    if !sinks.flush(FLUSH) {
        tracing::warn!("not every line for the sinks could be written");
    }
}

/// Of a second signal that asks for the end.
const IMPATIENT: &str = "stopped at once by a second signal; requests under way are cut off";

async fn drain(core: Core, signals: &mut Signals) {
    let deadline = core.snapshot.config.timeouts.drain;
    tracing::info!("draining, for {deadline:?} at most");
    let drained = core.workers.into_iter().map(|worker| worker.drain(deadline)).collect::<Vec<_>>();
    let all = async {
        for worker in drained {
            worker.await;
        }
    };
    tokio::select! {
        () = all => tracing::info!("drained"),
        // Whoever asks a second time means it.
        _ = signals.asked_to_end() => tracing::warn!("{IMPATIENT}"),
    }
}

pub(super) async fn stop(core: Core) {
    for worker in core.workers {
        worker.drain(Duration::ZERO).await;
    }
}
