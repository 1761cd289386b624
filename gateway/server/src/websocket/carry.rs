//! Both sides of a WebSocket, from the handshake to the end.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use gateway_core::error::Failure;
use gateway_proxy::{Close, Forwarded, Message, Parting, Side, Tunnel};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    decode::{Decoder, Incoming, Violation},
    outlet::Outlet,
};
use crate::state::ConnectionState;

/// How much is read at a time; it is on the stack, so that a silent connection costs no buffer.
const PART: usize = 16 * 1024;
/// How much is read ahead while a message is in progress, to notice when its sender leaves.
const READ_AHEAD: usize = 64 * 1024;
/// From the first close frame of the gateway's own, or the end of one side, to the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Carries messages between the two sides. `early` is what the client sent behind its request.
pub(crate) async fn carry<C, U>(
    tunnel: &Tunnel,
    client: C,
    upstream: U,
    early: Bytes,
    state: &ConnectionState,
) -> Parting
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let connection =
        Connection { tunnel, client: Outlet::new(false), upstream: Outlet::new(true), moved: Cell::new(false) };
    let limit = tunnel.buffer_bytes();
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(upstream);
    let mut from_client = Source { io: client_read, decoder: Decoder::new(true, limit), has_ended: false };
    let mut from_upstream = Source { io: upstream_read, decoder: Decoder::new(false, limit), has_ended: false };
    connection.arrived(Side::Client, early.len());
    from_client.decoder.push(&early);
    drop(early);
    let to_client = pin!(connection.client.write(client_write, |bytes| {
        connection.moved.set(true);
        tunnel.sent(bytes);
    }));
    let to_upstream = pin!(connection.upstream.write(upstream_write, |_| connection.moved.set(true)));
    let mut writers = Writers { client: Writer::new(to_client), upstream: Writer::new(to_upstream) };

    let timer = state.server.worker.timers.timer();
    timer.arm(tunnel.idle_timeout());
    let mut leaving = false;
    let end = {
        let mut up = pin!(connection.pump(Side::Client, &mut from_client));
        let mut down = pin!(connection.pump(Side::Upstream, &mut from_upstream));
        poll_fn(|cx| {
            state.register(cx.waker());
            loop {
                if state.server.is_draining() && !leaving {
                    leaving = true;
                    connection.client.close_with(&going_away());
                    timer.arm(FAREWELL);
                }
                if let Poll::Ready(end) = up.as_mut().poll(cx) {
                    return Poll::Ready(end);
                }
                if let Poll::Ready(end) = down.as_mut().poll(cx) {
                    return Poll::Ready(end);
                }
                if let Poll::Ready(side) = writers.poll(cx) {
                    return Poll::Ready(End::Left(side));
                }
                if connection.moved.replace(false) && !leaving {
                    timer.arm(tunnel.idle_timeout());
                }
                ready!(timer.poll_expired(cx));
                if leaving {
                    return Poll::Ready(End::Overdue);
                }
                leaving = true;
                connection.client.close_with(&going_away());
                timer.arm(FAREWELL);
            }
        })
        .await
    };
    // The pumps are gone, and with them the calls that they waited for.
    let parting = connection.end(end, leaving);
    timer.arm(FAREWELL);
    poll_fn(|cx| {
        let written = writers.poll_both(cx);
        let ended = [from_client.poll_end(cx), from_upstream.poll_end(cx)];
        if written.is_ready() && ended.iter().all(Poll::is_ready) {
            return Poll::Ready(());
        }
        timer.poll_expired(cx)
    })
    .await;
    parting
}

fn going_away() -> Close {
    Close { code: 1001, reason: String::new() }
}

struct Connection<'a> {
    tunnel: &'a Tunnel,
    client: Outlet,
    upstream: Outlet,
    /// Bytes have come, or have been taken.
    moved: Cell<bool>,
}

/// Why no more messages are read.
enum End {
    /// Both sides have closed, or one has and left.
    Whole,
    /// A side left without a close frame.
    Left(Side),
    /// A side breaks the protocol.
    Violation(Side, Violation),
    /// A plugin closes.
    Closed(Close),
    /// A plugin failed.
    Failed(Failure),
    /// The client did not answer the farewell in time.
    Overdue,
}

impl Connection<'_> {
    fn outlet(&self, to: Side) -> &Outlet {
        match to {
            Side::Client => &self.client,
            Side::Upstream => &self.upstream,
        }
    }

    fn arrived(&self, from: Side, bytes: usize) {
        self.moved.set(true);
        if from == Side::Client {
            self.tunnel.received(bytes);
        }
    }

    /// Reads what one side sends, until the connection has to end.
    async fn pump<R: AsyncRead + Unpin>(&self, side: Side, from: &mut Source<R>) -> End {
        let onward = self.outlet(side.other());
        loop {
            let worked = match from.decoder.next_frame() {
                Err(violation) => return End::Violation(side, violation),
                // The other side takes no more messages.
                Ok(Some(Incoming::Message(_))) if onward.is_closed() => Some(None),
                Ok(Some(Incoming::Message(message))) => from.ahead(self, side, self.pass(side, message)).await,
                Ok(Some(Incoming::Control(opcode, payload))) => {
                    from.ahead(self, side, async {
                        onward.send_frame(opcode, &payload).await;
                        None
                    })
                    .await
                }
                Ok(Some(Incoming::Close(payload))) => {
                    onward.close(&payload);
                    // Nothing follows a close frame.
                    while !(self.client.is_closed() && self.upstream.is_closed()) {
                        if !from.skip().await {
                            break;
                        }
                    }
                    return End::Whole;
                }
                Ok(None) => match from.fill(self, side).await {
                    true => Some(None),
                    false => None,
                },
            };
            match worked {
                Some(None) => {}
                Some(Some(end)) => return end,
                None => return End::Left(side),
            }
        }
    }

    /// Lets a message pass the plugins, and sends on what becomes of it, as fast as it is taken.
    async fn pass(&self, sender: Side, message: Message) -> Option<End> {
        tokio::task::consume_budget().await;
        let mut passage = self.tunnel.message_filters().pass(sender, message);
        while let Some(delivery) = passage.next().await {
            match delivery {
                Ok(Forwarded::Message { to, message }) => self.outlet(to).send(&message).await,
                Ok(Forwarded::Close(close)) => return Some(End::Closed(close)),
                Err(failure) => return Some(End::Failed(failure)),
            }
        }
        None
    }

    /// Tells both sides, and says how they parted.
    fn end(&self, end: End, leaving: bool) -> Parting {
        let close = |client: (u16, &str), upstream: (u16, &str)| {
            for (outlet, (code, reason)) in [(&self.client, client), (&self.upstream, upstream)] {
                outlet.close_with(&Close { code, reason: reason.to_owned() });
            }
        };
        let parting = match end {
            End::Whole | End::Overdue => Parting::Whole,
            End::Left(_) if leaving => Parting::Whole,
            End::Left(Side::Client) => Parting::ClientLeft,
            End::Left(Side::Upstream) => Parting::UpstreamLeft,
            End::Violation(Side::Client, Violation { code, reason }) => {
                close((code, reason), (1001, ""));
                let is_large = code == 1009;
                Parting::Failed(if is_large { Failure::BodyTooLarge } else { Failure::MalformedRequest })
            }
            End::Violation(Side::Upstream, Violation { code, reason }) => {
                tracing::warn!("the upstream of a WebSocket is closed with code {code}: {reason}");
                close((1011, ""), (code, reason));
                Parting::Failed(Failure::UpstreamProtocol)
            }
            End::Closed(Close { code, reason }) => {
                close((code, &reason), (code, &reason));
                Parting::Whole
            }
            End::Failed(failure) => {
                // Try again later: the plugin is not at fault with this message.
                let is_busy = matches!(failure, Failure::PluginBusy | Failure::PluginCircuitOpen);
                let code = if is_busy { 1013 } else { 1011 };
                close((code, ""), (code, ""));
                Parting::Failed(failure)
            }
        };
        self.client.end();
        self.upstream.end();
        parting
    }
}

/// What one side sends.
struct Source<R> {
    io: R,
    decoder: Decoder,
    has_ended: bool,
}

impl<R: AsyncRead + Unpin> Source<R> {
    /// Reads once. 0 is the end, also that of a broken connection.
    fn poll_read(&mut self, cx: &mut Context<'_>, keep: bool) -> Poll<usize> {
        if self.has_ended {
            return Poll::Ready(0);
        }
        let mut space = [MaybeUninit::uninit(); PART];
        let mut buf = ReadBuf::uninit(&mut space);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf));
        let bytes = if read.is_ok() { buf.filled() } else { &[] };
        self.has_ended = bytes.is_empty();
        if keep {
            self.decoder.push(bytes);
        }
        Poll::Ready(bytes.len())
    }

    /// Whether more bytes came.
    async fn fill(&mut self, connection: &Connection<'_>, side: Side) -> bool {
        let read = poll_fn(|cx| self.poll_read(cx, true)).await;
        connection.arrived(side, read);
        read > 0
    }

    /// Throws away what comes; whether that is not the end.
    async fn skip(&mut self) -> bool {
        poll_fn(|cx| self.poll_read(cx, false)).await > 0
    }

    /// Throws away what comes until the end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.has_ended {
            ready!(self.poll_read(cx, false));
        }
        Poll::Ready(())
    }

    /// Works, and reads ahead meanwhile. A side may end its connection after its last frames (RFC 6455 §7.1.1): these are still
    /// passed on. `None` if a client leaves that has sent nothing more: the work is given up.
    async fn ahead<T>(&mut self, connection: &Connection<'_>, side: Side, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            while !self.has_ended && self.decoder.pending() < READ_AHEAD {
                let read = ready!(self.poll_read(cx, true));
                connection.arrived(side, read);
            }
            let is_given_up = self.has_ended && side == Side::Client && self.decoder.pending() == 0;
            if is_given_up { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

/// A task that writes to one side, until it has ended.
struct Writer<'a, F> {
    future: Pin<&'a mut F>,
    has_ended: bool,
}

impl<'a, F: Future<Output = io::Result<()>>> Writer<'a, F> {
    fn new(future: Pin<&'a mut F>) -> Self {
        Self { future, has_ended: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_ended {
            // That the side does not take anything any more ends it too.
            let _ = ready!(self.future.as_mut().poll(cx));
            self.has_ended = true;
        }
        Poll::Ready(())
    }
}

struct Writers<'a, C, U> {
    client: Writer<'a, C>,
    upstream: Writer<'a, U>,
}

impl<C: Future<Output = io::Result<()>>, U: Future<Output = io::Result<()>>> Writers<'_, C, U> {
    /// The side that takes nothing any more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Side> {
        match (self.client.poll(cx), self.upstream.poll(cx)) {
            (Poll::Ready(()), _) => Poll::Ready(Side::Client),
            (_, Poll::Ready(())) => Poll::Ready(Side::Upstream),
            _ => Poll::Pending,
        }
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (self.client.poll(cx), self.upstream.poll(cx)) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}
