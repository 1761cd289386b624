//! How often streams of an HTTP/2 connection are reset, seen from its bytes. The h2 crate counts stream errors over the whole
//! life of a connection and then breaks it off with all that is under way; here the connection is retired in time instead.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The resets of a connection, in either direction.
pub struct Resets {
    received: RefCell<ResetCounter>,
    sent: RefCell<ResetCounter>,
    reads: Cell<u32>,
}

impl Resets {
    /// Of a connection on which this side is the server.
    pub fn of_server() -> Rc<Self> {
        let (received, sent) = (ResetCounter::of_client().into(), ResetCounter::of_server().into());
        Rc::new(Self { received, sent, reads: Cell::new(0) })
    }

    /// Of a connection on which this side is the client.
    pub fn of_client() -> Rc<Self> {
        let (received, sent) = (ResetCounter::of_server().into(), ResetCounter::of_client().into());
        Rc::new(Self { received, sent, reads: Cell::new(0) })
    }

    /// How often something has come: as long as that is the same, the other side has been silent.
    pub fn reads(&self) -> u32 {
        self.reads.get()
    }

    /// All that the other side has sent.
    pub fn received(&self) -> u32 {
        let received = self.received.borrow();
        received.cancelled.saturating_add(received.errors)
    }

    /// Those of this side that the other side has made necessary by an error.
    pub fn errors_sent(&self) -> u32 {
        self.sent.borrow().errors
    }
}

/// A connection whose resets are counted.
pub struct Observed<S> {
    io: S,
    resets: Rc<Resets>,
}

impl<S> Observed<S> {
    pub fn new(io: S, resets: Rc<Resets>) -> Self {
        Self { io, resets }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.resets.reads.set(self.resets.reads.get().wrapping_add(1));
        self.resets.received.borrow_mut().follow(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.resets.sent.borrow_mut().follow(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        let mut sent = self.resets.sent.borrow_mut();
        for buf in bufs {
            let part = left.min(buf.len());
            sent.follow(&buf[..part]);
            left -= part;
        }
        drop(sent);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Follows the frames (RFC 9113 §4.1) that go one way and notes those that reset a stream.
struct ResetCounter {
    /// The head of a frame, and the error code where it is RST_STREAM.
    start: [u8; START],
    have: usize,
    /// Bytes that are not looked at: the rest of a frame, or what comes before the first one.
    skip: usize,
    cancelled: u32,
    errors: u32,
}

const HEAD: usize = 9;
const START: usize = HEAD + 4;
const RST_STREAM: u8 = 3;
/// What a client sends before its first frame.
const PREFACE: usize = 24;
/// Codes that say that an exchange is no longer wanted, or was not begun: nothing was wrong (RFC 9113 §7).
const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const INTERNAL_ERROR: u32 = 2;

impl ResetCounter {
    /// For what a server sends.
    fn of_server() -> Self {
        Self { start: [0; START], have: 0, skip: 0, cancelled: 0, errors: 0 }
    }

    /// For what a client sends.
    fn of_client() -> Self {
        Self { skip: PREFACE, ..Self::of_server() }
    }

    /// Bytes have passed.
    fn follow(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let wanted = if self.have >= HEAD { START } else { HEAD };
            let taken = (wanted - self.have).min(bytes.len());
            self.start[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == wanted {
                self.end_of_start();
            }
        }
    }

    /// The head is here, or the error code.
    fn end_of_start(&mut self) {
        let [a, b, c, kind, _, _, _, _, _, code @ ..] = self.start;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if self.have == HEAD && kind == RST_STREAM && length == START - HEAD {
            return;
        }
        if self.have == START {
            match u32::from_be_bytes(code) {
                // INTERNAL_ERROR is what a stream ends with whose upstream broke off, or whose service failed.
                NO_ERROR | INTERNAL_ERROR | REFUSED_STREAM | CANCEL => {
                    self.cancelled = self.cancelled.saturating_add(1)
                }
                _ => self.errors = self.errors.saturating_add(1),
            }
        } else {
            self.skip = length;
        }
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn resets_are_counted_wherever_the_bytes_are_cut() {
        let frames = [
            frame(1, &[3; 300]),
            frame(3, &8_u32.to_be_bytes()),
            frame(0, &[]),
            frame(3, &5_u32.to_be_bytes()),
            frame(3, &0_u32.to_be_bytes()),
            // Malformed, which the parser will report.
            frame(3, &[0; 5]),
            frame(3, &1_u32.to_be_bytes()),
        ]
        .concat();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for size in 1..40 {
            let mut of_server = ResetCounter::of_server();
            frames.chunks(size).for_each(|part| of_server.follow(part));
            assert_eq!((of_server.cancelled, of_server.errors), (2, 2), "{size}");
            let mut of_client = ResetCounter::of_client();
            [&preface[..], &frames].concat().chunks(size).for_each(|part| of_client.follow(part));
            assert_eq!((of_client.cancelled, of_client.errors), (2, 2), "{size}");
        }
    }
}
