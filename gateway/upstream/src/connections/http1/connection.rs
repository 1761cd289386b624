//! A connection at rest or in use for one request, without what the request is.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{buffer::Buffer, sending::Outbox};
use crate::connections::{io::Io, permits::Counted};

/// A connection that is at rest or in use for one request.
pub(crate) struct Connection {
    pub(super) io: Io,
    pub(super) buffer: Buffer,
    pub(super) outbox: Outbox,
    pub(super) counted: Counted,
    /// A client has authenticated itself on it, or is about to: no other client may use it.
    pub(super) private: bool,
}

impl Connection {
    pub(crate) fn new(io: Io, counted: Counted) -> Box<Self> {
        Box::new(Self { io, buffer: Buffer::default(), outbox: Outbox::default(), counted, private: false })
    }

    /// What happened on a connection at rest, where nothing should. It costs no system call where nothing did.
    pub(super) fn intrusion(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        let mut octet = [0];
        let mut octet = ReadBuf::new(&mut octet);
        match Pin::new(&mut self.io).poll_read(cx, &mut octet) {
            Poll::Pending => None,
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) if octet.filled().is_empty() => {
                Some(io::Error::new(io::ErrorKind::UnexpectedEof, "the upstream had closed it"))
            }
            Poll::Ready(Ok(())) => Some(io::Error::new(io::ErrorKind::InvalidData, "the upstream spoke unasked")),
        }
    }

    /// What is below HTTP, for those who speak something else.
    pub(crate) fn io(&mut self) -> &mut Io {
        &mut self.io
    }

    /// Whether it is for one client only.
    pub(crate) fn is_private(&self) -> bool {
        self.private
    }

    /// Whether it is good for nothing any more, for one that is at rest.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.intrusion(&mut Context::from_waker(Waker::noop())).is_some()
    }

    /// Gives back the memory that the next request will need again, for one that rests for long.
    pub(crate) fn slumber(&mut self) {
        self.buffer = Buffer::default();
        self.outbox = Outbox::default();
    }

    /// Tells the other side of a connection at rest that it will be closed, if that can be said at once.
    pub(crate) fn take_leave(mut self: Box<Self>) {
        if self.io.is_tls() {
            // RFC 8446 §6.1; not waited for.
            let _ = Pin::new(&mut self.io).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}
