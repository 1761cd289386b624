//! What an operator tells a running process by signals.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::order::Order;

/// The process's signals, if it listens to them.
pub(super) struct Signals {
    orders: Option<Orders>,
    ends: Option<Ends>,
}

struct Orders {
    hangup: Signal,
    reopen: Signal,
    upgrade: Signal,
}

struct Ends {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on a signal that asks for something other than the end does not end the process, as it would by default: a
    /// log rotation, for example, may come while a large configuration is being loaded. It is obeyed after that.
    pub(super) fn new(enabled: bool) -> Self {
        let open = || -> io::Result<_> {
            Ok(Orders {
                hangup: signal(SignalKind::hangup())?,
                reopen: signal(SignalKind::user_defined1())?,
                upgrade: signal(SignalKind::user_defined2())?,
            })
        };
        Self { orders: opened(enabled.then(open)), ends: None }
    }

    /// From here on the signals that end the process drain it. Before that there is nothing to drain, and they end it
    /// at once.
    pub(super) fn drain_from_now_on(&mut self) {
        let open = || -> io::Result<_> {
            Ok(Ends {
                terminate: signal(SignalKind::terminate())?,
                quit: signal(SignalKind::quit())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        };
        self.ends = opened(self.orders.is_some().then(open));
    }

    /// The next order that a signal gives.
    pub(super) async fn next(&mut self) -> Order {
        let Some(Orders { hangup, reopen, upgrade }) = &mut self.orders else {
            return std::future::pending().await;
        };
        tokio::select! {
            delayed = Ends::next(&mut self.ends) => Order::Drain { delayed },
            _ = hangup.recv() => {
                let (reply, _) = oneshot::channel();
                Order::Reload { new_source: None, reply }
            }
            _ = reopen.recv() => Order::Reopen,
            _ = upgrade.recv() => Order::Upgrade,
        }
    }

    /// As `next`, for the signals that end the gateway only: others wait for `next`. Says whether the drain is delayed.
    pub(super) async fn asked_to_end(&mut self) -> bool {
        Ends::next(&mut self.ends).await
    }
}

impl Ends {
    /// Whether the drain is delayed: who types Ctrl-C is not behind a load balancer.
    async fn next(ends: &mut Option<Self>) -> bool {
        match ends {
            Some(Self { terminate, quit, interrupt }) => tokio::select! {
                _ = terminate.recv() => true,
                _ = quit.recv() => true,
                _ = interrupt.recv() => false,
            },
            None => std::future::pending().await,
        }
    }
}

fn opened<T>(signals: Option<io::Result<T>>) -> Option<T> {
    signals?.inspect_err(|error| tracing::warn!(%error, "cannot listen to signals")).ok()
}
