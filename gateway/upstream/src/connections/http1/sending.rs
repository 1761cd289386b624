//! The request on its way out: the head with as much of the body as is at hand in one write, then the rest as it
//! comes, while the response may already be on its way in.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use gateway_http::body::{Body, BodyError};
use http::{HeaderMap, HeaderName};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::encode::{Framing, line};
use crate::connections::io::Io;

/// What is kept for the next head.
const KEPT: usize = 8 * 1024;

/// What is to be written next, in this order.
#[derive(Default)]
pub(super) struct Outbox {
    /// A head, the size of a chunk, trailers.
    pub(super) bytes: Vec<u8>,
    written: usize,
    data: Bytes,
    tail: &'static [u8],
    /// Something of the request has been.
    pub(super) wrote: bool,
}

/// The rest of a request.
pub(super) struct Sending {
    body: Body,
    framing: Framing,
    /// The trailers that may be sent; none if all may.
    announced: Option<Vec<HeaderName>>,
    /// Nothing more comes of the body.
    ended: bool,
    /// Something has come of it.
    touched: bool,
}

/// Why a request cannot be sent to its end.
pub(super) enum Fault {
    Io(io::Error),
    Body(BodyError),
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len() && self.data.is_empty() && self.tail.is_empty()
    }

    /// Ready when all is written.
    fn poll_write(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let bytes = &self.bytes[self.written..];
            let written = if self.data.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, bytes))?
            } else {
                let parts = [IoSlice::new(bytes), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                let first = parts.iter().position(|part| !part.is_empty()).unwrap_or(0);
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &parts[first..]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wrote = true;
            self.advance(written);
        }
        if self.bytes.capacity() > KEPT {
            // A response may be awaited for long, and HPACK lets a client make large heads of a few bytes.
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        let of_bytes = written.min(self.bytes.len() - self.written);
        self.written += of_bytes;
        written -= of_bytes;
        let of_data = written.min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[written - of_data..];
    }
}

impl Sending {
    pub(super) fn new(body: Body, framing: Framing, announced: Option<Vec<HeaderName>>) -> Self {
        Self { body, framing, announced, ended: false, touched: false }
    }

    /// The body, if it is as it was.
    pub(super) fn into_untouched(self) -> Option<Body> {
        (!self.touched).then_some(self.body)
    }

    /// Ready when the whole request has been sent.
    pub(super) fn poll(&mut self, outbox: &mut Outbox, io: &mut Io, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            while !self.ended && outbox.data.is_empty() && outbox.tail.is_empty() {
                if self.body.is_end_stream() {
                    self.end(outbox)?;
                    break;
                }
                let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { break };
                self.touched = true;
                match frame {
                    Some(frame) => self.take(frame.map_err(Fault::Body)?, outbox)?,
                    None => self.end(outbox)?,
                }
            }
            if outbox.is_empty() {
                let flushed = Pin::new(&mut *io).poll_flush(cx).map_err(Fault::Io)?;
                return if self.ended { flushed.map(Ok) } else { Poll::Pending };
            }
            ready!(outbox.poll_write(io, cx)).map_err(Fault::Io)?;
        }
    }

    /// As `poll`, while nothing of the body is sent: never ready but for a fault.
    pub(super) fn poll_head_only(outbox: &mut Outbox, io: &mut Io, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        ready!(outbox.poll_write(io, cx)).map_err(Fault::Io)?;
        ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(Fault::Io)?;
        Poll::Pending
    }

    fn take(&mut self, frame: Frame<Bytes>, outbox: &mut Outbox) -> Result<(), Fault> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return self.end_with(&trailers, outbox);
            }
        };
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            Framing::Length(left) => {
                // The announced length is enforced; a request must not run into the next one.
                *left = left.checked_sub(data.len() as u64).ok_or(Fault::Body(BodyError::Withdrawn))?;
            }
            Framing::Chunked => {
                // Writing to a Vec cannot fail.
                let _ = write!(outbox.bytes, "{:x}\r\n", data.len());
                outbox.tail = b"\r\n";
            }
        }
        outbox.data = data;
        if self.body.is_end_stream() {
            self.end(outbox)?;
        }
        Ok(())
    }

    fn end(&mut self, outbox: &mut Outbox) -> Result<(), Fault> {
        self.end_with(&HeaderMap::new(), outbox)
    }

    fn end_with(&mut self, trailers: &HeaderMap, outbox: &mut Outbox) -> Result<(), Fault> {
        self.ended = true;
        match self.framing {
            Framing::Length(0) => Ok(()),
            Framing::Length(_) => Err(Fault::Body(BodyError::Withdrawn)),
            Framing::Chunked if !outbox.tail.is_empty() => {
                outbox.tail = b"\r\n0\r\n\r\n";
                Ok(())
            }
            Framing::Chunked => {
                outbox.bytes.extend_from_slice(b"0\r\n");
                for (name, value) in trailers {
                    if self.announced.as_ref().is_none_or(|announced| announced.contains(name)) {
                        line(&mut outbox.bytes, name, value);
                    }
                }
                outbox.bytes.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}
