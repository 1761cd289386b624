//! What HTTP/2 writes, put together: h2 flushes after each frame of data, and with several streams under way that
//! would be a system call, and over TLS a record, for each. Here what is written waits until everyone who is ready
//! now has had a turn.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::Write;

/// As much as a TLS record holds.
const MOST: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    sent: usize,
    /// A flush was put off once; the connection has been woken to make up for it.
    put_off: bool,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether so much would fit, if need be when all that is here has been sent.
    pub(super) fn fits(&self, length: usize) -> bool {
        self.bytes.len() + length <= MOST
    }

    pub(super) fn push(&mut self, parts: &[IoSlice<'_>]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Whether this flush may wait for the next turn, which is asked for.
    pub(super) fn put_off(&mut self, cx: &Context<'_>) -> bool {
        if self.put_off || self.is_empty() {
            return false;
        }
        self.put_off = true;
        cx.waker().wake_by_ref();
        true
    }

    /// Ready when all has been written and flushed.
    pub(super) fn poll_send<W: Write + Unpin>(&mut self, io: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, &self.bytes[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.sent = 0;
        self.bytes.clear();
        self.put_off = false;
        Pin::new(io).poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_put_off_goes_out_at_the_next_turn_all_at_once() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = TokioIo::new(near);
        let mut batch = Batch::default();
        std::future::poll_fn(|cx| {
            assert!(!batch.put_off(cx), "there is nothing to put off");
            batch.push(&[IoSlice::new(b"one "), IoSlice::new(b"two ")]);
            assert!(batch.put_off(cx));
            batch.push(&[IoSlice::new(b"three")]);
            assert!(!batch.put_off(cx), "not a second time");
            let sent = batch.poll_send(&mut near, cx);
            assert!(batch.is_empty());
            sent
        })
        .await
        .expect("it is sent");
        let mut seen = [0; 64];
        let read = far.read(&mut seen).await.expect("it is read");
        assert_eq!(&seen[..read], b"one two three");
    }

    #[tokio::test]
    async fn a_receiver_that_takes_a_part_gets_the_rest_later() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut near = TokioIo::new(near);
        let mut batch = Batch::default();
        batch.push(&[IoSlice::new(b"more than it takes")]);
        assert!(batch.fits(MOST - 18) && !batch.fits(MOST - 17));
        let send = std::future::poll_fn(|cx| batch.poll_send(&mut near, cx));
        let mut seen = [0; 18];
        let (sent, read) = tokio::join!(send, far.read_exact(&mut seen));
        assert!(sent.is_ok() && read.is_ok());
        assert_eq!(&seen, b"more than it takes");
    }
}
