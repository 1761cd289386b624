//! HTTP/1.1 towards upstreams (RFC 9112). A connection has one request at a time, and belongs to its exchange while
//! that lasts: no task drives it, nothing is handed from one task to another, and whoever drops it has ended it.
//!
//! A head is written from the request as it is, and read without copying: the fields of a response share the memory
//! that they were read into, and so does its body.

mod buffer;
mod chunked;
mod encode;
mod parse;
mod reading;
mod sending;

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use gateway_http::{
    authentication,
    body::{Body, BodyError},
};
use gateway_telemetry::metrics::Held;
use http::{StatusCode, response::Parts};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) use encode::Head;
pub(super) use reading::Reading;

use self::{
    buffer::Buffer,
    parse::Parsed,
    sending::{Fault, Outbox, Sending},
};
use super::{io::Io, pass::Place};

/// The most bytes that the head of a response may have.
pub(super) const MAX_HEAD: usize = 256 * 1024;

/// How long an upstream has to ask for a body, or to refuse it, before it gets it unasked (RFC 9110 §10.1.1 has clients not wait
/// for ever). Not all know of `Expect`.
const CONTINUE: Duration = Duration::from_secs(1);

/// So many interim responses to a request are passed on.
const MAX_INTERIM: u32 = 16;

/// A connection that is at rest or in use for one request.
pub(super) struct Connection {
    io: Io,
    buffer: Buffer,
    outbox: Outbox,
    counted: Counted,
    /// A client has authenticated itself on it, or is about to: nobody else may use it.
    private: bool,
}

/// What a connection counts as, until it is closed.
pub(super) type Counted = (Option<Held>, Option<Place>);

/// Why there is no response.
pub(super) enum Broken {
    /// Nothing of the request was sent, and it is as it was.
    Unsent(io::Error),
    /// The upstream closed, or the connection broke, before there was a response.
    Closed(io::Error),
    /// The upstream says that it has done nothing for it.
    Unprocessed(io::Error),
    /// The upstream takes no requests for now; nothing was sent.
    Busy,
    /// What came is not the head of a response.
    Malformed(String),
    /// The body of the request broke off.
    Body(BodyError),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent(error) | Self::Closed(error) => {
                write!(f, "connection closed before a response: {}", chain(error))
            }
            Self::Unprocessed(error) => write!(f, "refused by the upstream: {}", chain(error)),
            Self::Busy => f.write_str("it takes no requests (SETTINGS_MAX_CONCURRENT_STREAMS is 0)"),
            Self::Malformed(reason) => write!(f, "not a response: {reason}"),
            Self::Body(error) => write!(f, "{error}"),
        }
    }
}

/// An error with its causes, each of which prints only its own level.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl Connection {
    pub(super) fn new(io: Io, counted: Counted) -> Box<Self> {
        Box::new(Self { io, buffer: Buffer::default(), outbox: Outbox::default(), counted, private: false })
    }

    /// Sends a request and waits for the head of the response. The body is taken, unless the request turns out to
    /// be unsent. Dropping the future leaves a connection that is good for nothing.
    pub(super) async fn send(
        mut self: Box<Self>,
        head: &Head<'_>,
        body: &mut Body,
    ) -> Result<(Parts, Reading), Broken> {
        self.outbox.wrote = false;
        let encoded = head.encode(&mut self.outbox.bytes, body);
        self.private |= encoded.authenticates_connection;
        let announced = head.trailers();
        let mut sending = None;
        let mut broken_off = None;
        let mut begun = false;
        // While the body is held back.
        let mut held = head.expects_continue.then(|| Box::pin(tokio::time::sleep(CONTINUE)));
        let mut interim = 0;
        let (parts, length, reusable) = poll_fn(|cx| {
            if !begun {
                begun = true;
                // What an upstream says unasked is no answer, and nothing more will come after an end.
                if let Some(error) = self.intrusion(cx) {
                    return Poll::Ready(Err(Broken::Unsent(error)));
                }
                sending = Some(Sending::new(std::mem::take(body), encoded.framing, announced.clone()));
            }
            loop {
                if held.as_mut().is_some_and(|held| held.as_mut().poll(cx).is_ready()) {
                    held = None;
                }
                let Self { io, outbox, .. } = &mut *self;
                let poll = |sending: &mut Sending| match &held {
                    None => sending.poll(outbox, io, cx),
                    Some(_) => Sending::poll_head_only(outbox, io, cx),
                };
                match sending.as_mut().map(poll) {
                    None | Some(Poll::Pending) => {}
                    Some(Poll::Ready(Ok(()))) => sending = None,
                    Some(Poll::Ready(Err(Fault::Body(error)))) => return Poll::Ready(Err(Broken::Body(error))),
                    Some(Poll::Ready(Err(Fault::Io(error)))) => {
                        let untouched = sending.take().filter(|_| !outbox.wrote).and_then(Sending::into_untouched);
                        if let Some(untouched) = untouched {
                            *body = untouched;
                            return Poll::Ready(Err(Broken::Unsent(error)));
                        }
                        // It may have answered all the same, and closed because it wants no more of the request.
                        broken_off = Some(error);
                    }
                }
                let (parts, length, reusable) = match ready!(self.poll_head(cx, head)) {
                    Err(Broken::Closed(error)) => {
                        return Poll::Ready(Err(Broken::Closed(broken_off.take().unwrap_or(error))));
                    }
                    parsed => parsed?,
                };
                // RFC 9110 §15.2: the response is still to come.
                match parts.status {
                    StatusCode::CONTINUE => held = None,
                    status if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS => {
                        interim += 1;
                        if let Some(pass_on) = head.interim.filter(|_| interim <= MAX_INTERIM) {
                            pass_on(&parts);
                        }
                    }
                    _ => return Poll::Ready(Ok((parts, length, reusable))),
                }
            }
        })
        .await?;
        // A final response: the body that was held back is not wanted, and the upstream may still wait for it.
        let unwanted = held.is_some() && sending.take().is_some();
        // A challenge without credentials authenticates nobody, but the handshake that it begins is one connection's.
        self.private |= matches!(parts.status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
            && authentication::challenges_connection(&parts.headers);
        let reusable = reusable && broken_off.is_none() && !unwanted;
        Ok((parts, Reading::new(self, length, sending, reusable)))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, request: &Head<'_>) -> Poll<Result<Parsed, Broken>> {
        loop {
            if let Some(head) = self.buffer.take_head() {
                if head.len() > MAX_HEAD {
                    return Poll::Ready(Err(Broken::Malformed(format!("its head is over {MAX_HEAD} bytes"))));
                }
                return Poll::Ready(parse::response(&head, request.method).map_err(Broken::Malformed));
            }
            if !parse::may_begin(self.buffer.bytes()) {
                return Poll::Ready(Err(Broken::Malformed("it does not begin with a version of HTTP".to_owned())));
            }
            if self.buffer.len() > MAX_HEAD {
                return Poll::Ready(Err(Broken::Malformed(format!("its head is over {MAX_HEAD} bytes"))));
            }
            match ready!(self.buffer.poll_read(&mut self.io, cx, None)) {
                Ok(0) => {
                    let seen = if self.buffer.len() == 0 { "nothing came" } else { "its head broke off" };
                    return Poll::Ready(Err(Broken::Closed(io::Error::new(io::ErrorKind::UnexpectedEof, seen))));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Broken::Closed(error))),
            }
        }
    }

    /// What happened on a connection at rest, where nothing should. It costs no system call where nothing did.
    fn intrusion(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
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
    pub(super) fn io(&mut self) -> &mut Io {
        &mut self.io
    }

    /// Whether it is for one client only.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// Whether it is good for nothing any more, for one that is at rest.
    pub(super) fn is_closed(&mut self) -> bool {
        self.intrusion(&mut Context::from_waker(Waker::noop())).is_some()
    }

    /// Gives back the memory that the next request will need again, for one that rests for long.
    pub(super) fn slumber(&mut self) {
        self.buffer = Buffer::default();
        self.outbox = Outbox::default();
    }

    /// Tells the other side of a connection at rest that it will be closed, if that can be said at once.
    pub(super) fn take_leave(mut self: Box<Self>) {
        if self.io.is_tls() {
            // RFC 8446 §6.1; nobody waits for it.
            let _ = Pin::new(&mut self.io).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}
