//! A request over a connection, until the head of its response is there.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use gateway_http::{authentication, body::Body};
use http::{StatusCode, response::Parts};

use super::{
    connection::Connection,
    encode::Framing,
    parse::{self, Parsed},
    reading::Reading,
    sending::{Fault, Sending},
};
use crate::connections::{
    broken::{Broken, MAX_HEAD, Malformed},
    request_head::RequestHead,
};

/// How long an upstream has to ask for a body, or to refuse it, before it gets it unasked (RFC 9110 §10.1.1 has clients not wait
/// for ever). Not all know of `Expect`.
const CONTINUE: Duration = Duration::from_secs(1);

/// So many interim responses to a request are passed on.
const MAX_INTERIM: u32 = 16;

impl Connection {
    /// Sends a request and waits for the head of the response. The body is taken, unless the request turns out to
    /// be unsent. Dropping the future leaves a connection that is good for nothing.
    pub(crate) async fn send(
        mut self: Box<Self>,
        head: &RequestHead<'_>,
        body: &mut Body,
    ) -> Result<(Parts, Reading), Broken> {
        self.outbox.wrote = false;
        let encoded = head.encode(&mut self.outbox.bytes, body);
        let mut announced = Some(Vec::new());
        if encoded.framing == Framing::Chunked {
            announced = head.announced(body);
        }
        self.private |= encoded.authenticates_connection;
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
                sending = Some(Sending::new(std::mem::take(body), encoded.framing, announced.take()));
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
        // A challenge without credentials does not authenticate, but the handshake that it begins is one
        // connection's.
        self.private |= matches!(parts.status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
            && authentication::challenges_connection(&parts.headers);
        let reusable = reusable && broken_off.is_none() && !unwanted;
        Ok((parts, Reading::new(self, length, sending, reusable)))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, request: &RequestHead<'_>) -> Poll<Result<Parsed, Broken>> {
        loop {
            if let Some(head) = self.buffer.take_head() {
                if head.len() > MAX_HEAD {
                    return Poll::Ready(Err(Malformed::TooLarge.into()));
                }
                return Poll::Ready(parse::response(&head, request.method).map_err(Broken::Malformed));
            }
            if !parse::may_begin(self.buffer.bytes()) {
                return Poll::Ready(Err(Malformed::Protocol.into()));
            }
            if self.buffer.len() > MAX_HEAD {
                return Poll::Ready(Err(Malformed::TooLarge.into()));
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
}
