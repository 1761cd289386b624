//! A response after its head, with the connection that it comes by.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use gateway_http::body::{Body, BodyError};
use http_body::{Frame, SizeHint};

use super::{
    chunked::Step,
    connection::Connection,
    parse::Length,
    sending::{Fault, Sending},
};
use crate::connections::{io::Io, permits::Counted};

/// The rest of a response. Dropped before its end, it takes the connection with it.
pub(crate) struct Reading {
    connection: Box<Connection>,
    length: Length,
    /// What is left of the request, which the upstream answered before it had it whole.
    /// Boxed, since hardly any does.
    sending: Option<Box<Sending>>,
    reusable: bool,
}

impl Reading {
    pub(super) fn new(connection: Box<Connection>, length: Length, sending: Option<Sending>, reusable: bool) -> Self {
        Self { connection, length, sending: sending.map(Box::new), reusable }
    }

    /// Whether the connection is for one client only.
    pub(crate) fn is_private(&self) -> bool {
        self.connection.is_private()
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.length {
            Length::Exact(left) => *left == 0,
            Length::Chunked(chunked) => chunked.is_done(),
            Length::UntilClose => false,
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.length {
            Length::Exact(left) => SizeHint::with_exact(*left),
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }

    /// The whole body, if it came with the head.
    pub(crate) fn take_whole(&mut self) -> Option<Body> {
        let Length::Exact(left) = &mut self.length else { return None };
        if *left == 0 {
            return Some(Body::Empty);
        }
        if *left > self.connection.buffer.len() as u64 {
            return None;
        }
        let body = self.connection.buffer.take(*left);
        *left = 0;
        Some(Body::Full(body))
    }

    /// The connection for another request, once the response has ended, if it is good for one.
    ///
    /// HTTP/1.1 has no identifiers: what is read next on a connection is taken for the response to the next request. A connection
    /// that is reused in the wrong state gives one client the response to another, so every condition here is necessary.
    ///
    /// - The response has ended by its own framing. The rest of a body that was read in part would be parsed as the head of the
    ///   next response. A body is not read to its end for the sake of the connection: its length is the upstream's choice, and
    ///   the client that did not want it may have left because it is endless. The connection is closed instead, which also tells
    ///   the upstream to stop.
    /// - Nothing is buffered behind it. An upstream that sends more than its framing says has lost count, or somebody has injected
    ///   a second response (response splitting).
    /// - The request was sent completely. An upstream that answers early still reads the rest of the body, and would take the next
    ///   request for a part of it (request smuggling).
    /// - `reusable`: the upstream said neither `close` nor HTTP/1.0, writing to it did not fail, and no body was withheld that it
    ///   may wait for.
    pub(crate) fn into_connection(self) -> Option<Box<Connection>> {
        // What is here behind the response was not asked for.
        let clean = self.sending.is_none() && self.connection.buffer.len() == 0 && self.is_end_stream();
        (clean && self.reusable).then_some(self.connection)
    }

    /// What is below HTTP after a switch of protocols, with what has been read of it, and what it counts as.
    pub(crate) fn into_switched(self) -> (Io, Bytes, Counted) {
        let Connection { io, mut buffer, counted, .. } = *self.connection;
        (io, buffer.take(u64::MAX), counted)
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Err(error) = self.send_on(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let Connection { io, buffer, .. } = &mut *self.connection;
        loop {
            let useful = match &mut self.length {
                Length::Exact(0) => return Poll::Ready(None),
                Length::Exact(left) => {
                    if buffer.len() > 0 {
                        let data = buffer.take(*left);
                        *left -= data.len() as u64;
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Some(*left)
                }
                Length::UntilClose => {
                    if buffer.len() > 0 {
                        return Poll::Ready(Some(Ok(Frame::data(buffer.take(u64::MAX)))));
                    }
                    None
                }
                Length::Chunked(chunked) => match chunked.step(buffer.bytes()) {
                    Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(Step::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                    Ok(Step::End) => return Poll::Ready(None),
                    Ok(Step::More) => None,
                    Err(reason) => return Poll::Ready(Some(Err(broken(io::ErrorKind::InvalidData, reason)))),
                },
            };
            match ready!(buffer.poll_read(io, cx, useful)) {
                Ok(0) if matches!(self.length, Length::UntilClose) => {
                    self.length = Length::Exact(0);
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(broken(io::ErrorKind::UnexpectedEof, "the upstream closed")))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(BodyError::Broken(error)))),
            }
        }
    }

    /// What is left of the request, as far as the upstream takes it.
    fn send_on(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let Connection { io, outbox, .. } = &mut *self.connection;
        match sending.poll(outbox, io, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.sending = None,
            Poll::Ready(Err(Fault::Body(error))) => return Err(error),
            // It wants no more of the request, which does not mean that its response is over.
            Poll::Ready(Err(Fault::Io(_))) => {
                self.sending = None;
                self.reusable = false;
            }
        }
        Ok(())
    }
}

fn broken(kind: io::ErrorKind, reason: &'static str) -> BodyError {
    BodyError::Broken(io::Error::new(kind, reason))
}
