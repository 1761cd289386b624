//! A connection after an upgrade: bytes both ways, as fast as each side takes them. When nothing moves for too long,
//! or the gateway goes down, the client gets a frame that says so between two of the upstream's, and both sides a
//! moment to part in good order.

use std::{
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use gateway_proxy::{Parting, Tunnel};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    frames::{Frames, GOING_AWAY},
    state::ConnectionState,
    websocket,
};

/// How much is read at a time; it is on the stack, so that a silent tunnel costs no buffer.
const PART: usize = 16 * 1024;
/// From the first farewell to the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Carries a tunnel to its end. `early` is what the client sent behind its request.
pub(super) async fn run<C>(mut tunnel: Box<Tunnel>, client: C, early: Bytes, state: &ConnectionState)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let Some(upstream) = tunnel.upstream() else { return tunnel.ended(Parting::UpstreamLeft) };
    let parting = match tunnel.message_filters().is_empty() {
        true => carry(&tunnel, client, upstream, early, state).await,
        false => Box::pin(websocket::carry(&tunnel, client, upstream, early, state)).await,
    };
    tunnel.ended(parting);
}

async fn carry<C, U>(tunnel: &Tunnel, mut client: C, mut upstream: U, early: Bytes, state: &ConnectionState) -> Parting
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let timer = state.server.worker.timers.timer();
    let idle_timeout = tunnel.idle_timeout();
    timer.arm(idle_timeout);
    tunnel.received(early.len());
    let mut up = Way::new(early);
    let mut down = Way::new(Bytes::new());
    let mut words = Words::default();
    let mut parting = false;
    std::future::poll_fn(|cx| {
        state.register(cx.waker());
        if state.server.is_draining() && !parting {
            parting = true;
            words.say(&mut down);
            timer.arm(FAREWELL);
        }
        loop {
            let mut moved = false;
            let up_ended = up.poll(&mut client, &mut upstream, cx, |_, octets| {
                moved = true;
                tunnel.received(octets.len());
                octets.len()
            });
            let down_ended = down.poll(&mut upstream, &mut client, cx, |rest, octets| {
                moved = true;
                tunnel.sent(octets.len());
                words.filter(rest, octets)
            });
            match (&up_ended, &down_ended) {
                // An upstream whose client closes need not wait for more.
                (Poll::Ready(Err(End::Reading)), _) | (_, Poll::Ready(Err(End::Writing))) => {
                    return Poll::Ready(if parting { Parting::Whole } else { Parting::ClientLeft });
                }
                (Poll::Ready(Err(End::Writing)), _) | (_, Poll::Ready(Err(End::Reading))) => {
                    return Poll::Ready(if parting { Parting::Whole } else { Parting::UpstreamLeft });
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Parting::Whole),
                // Who has said all can wait for the other only so long.
                (Poll::Ready(Ok(())), _) | (_, Poll::Ready(Ok(()))) if !parting => {
                    parting = true;
                    timer.arm(FAREWELL);
                }
                _ if moved && !parting => timer.arm(idle_timeout),
                _ => {}
            }
            ready!(timer.poll_expired(cx));
            if parting {
                return Poll::Ready(Parting::Whole);
            }
            parting = true;
            words.say(&mut down);
            timer.arm(FAREWELL);
        }
    })
    .await
}

/// Where a way broke.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Reading,
    Writing,
}

/// One direction.
struct Way {
    /// Read and not yet written.
    rest: BytesMut,
    /// Written and not yet flushed.
    unflushed: bool,
    stage: Stage,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Open,
    /// The sender has said all.
    Closing,
    Closed,
}

impl Way {
    fn new(early: Bytes) -> Self {
        Self { rest: early.into(), unflushed: false, stage: Stage::Open }
    }

    /// Moves what can be moved. Ready when the sender has said all and the receiver knows it. `judge` sees what was
    /// read, says how much of it goes on, and may add to what follows it.
    fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        mut judge: impl FnMut(&mut BytesMut, &[u8]) -> usize,
    ) -> Poll<Result<(), End>> {
        let mut space = [MaybeUninit::uninit(); PART];
        loop {
            while !self.rest.is_empty() {
                let written = ready!(write(to, cx, &self.rest))?;
                self.rest.advance(written);
                self.unflushed = true;
            }
            match self.stage {
                Stage::Open => {}
                Stage::Closing => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| End::Writing)?;
                    self.stage = Stage::Closed;
                    return Poll::Ready(Ok(()));
                }
                Stage::Closed => return Poll::Ready(Ok(())),
            }
            let mut buf = ReadBuf::uninit(&mut space);
            if Pin::new(&mut *from).poll_read(cx, &mut buf).map_err(|_| End::Reading)?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_| End::Writing)?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
            let octets = buf.filled();
            if octets.is_empty() {
                self.stage = Stage::Closing;
                continue;
            }
            let mut behind = BytesMut::new();
            let passing = judge(&mut behind, octets);
            let octets = &octets[..passing];
            let written = match write(to, cx, octets)? {
                Poll::Ready(written) => written,
                Poll::Pending => 0,
            };
            self.unflushed = true;
            self.rest = BytesMut::from(&octets[written..]);
            self.rest.extend_from_slice(&behind);
        }
    }
}

fn write(to: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>, octets: &[u8]) -> Poll<Result<usize, End>> {
    if octets.is_empty() {
        return Poll::Ready(Ok(0));
    }
    match ready!(Pin::new(to).poll_write(cx, octets)) {
        Ok(written) if written > 0 => Poll::Ready(Ok(written)),
        _ => Poll::Ready(Err(End::Writing)),
    }
}

/// What the gateway itself has to say to a client, between two frames of the upstream's.
#[derive(Default)]
struct Words {
    frames: Frames,
    leaving: bool,
    said: bool,
}

impl Words {
    /// As soon as no frame is under way.
    fn say(&mut self, down: &mut Way) {
        self.leaving = true;
        if self.frames.is_between() && down.stage == Stage::Open {
            self.said = true;
            down.rest.extend_from_slice(&GOING_AWAY);
        }
    }

    /// How much of what comes goes on: all, until it is said that we are going; nothing afterwards (RFC 6455 §5.5.1).
    fn filter(&mut self, behind: &mut BytesMut, octets: &[u8]) -> usize {
        if !self.leaving {
            self.frames.pass(octets);
            return octets.len();
        }
        if self.said {
            return 0;
        }
        let rest = self.frames.advance(octets);
        if self.frames.is_between() {
            self.said = true;
            behind.extend_from_slice(&GOING_AWAY);
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_waits_for_the_end_of_the_frame_and_nothing_follows_it() {
        let mut down = Way::new(Bytes::new());
        let mut words = Words::default();
        let mut behind = BytesMut::new();
        assert_eq!(words.filter(&mut behind, b"\x82\x05he"), 4);
        words.say(&mut down);
        assert!(down.rest.is_empty() && behind.is_empty());
        assert_eq!(words.filter(&mut behind, b"llo\x82\x01x"), 3);
        assert_eq!(behind[..], GOING_AWAY);
        assert_eq!(words.filter(&mut behind, b"\x82\x01x"), 0);
        assert_eq!(behind.len(), GOING_AWAY.len(), "it is said once");
    }

    #[test]
    fn a_farewell_between_frames_is_said_at_once() {
        let mut down = Way::new(Bytes::new());
        let mut words = Words::default();
        words.say(&mut down);
        assert_eq!(down.rest[..], GOING_AWAY);
        assert_eq!(words.filter(&mut BytesMut::new(), b"\x82\x01x"), 0);
    }
}
