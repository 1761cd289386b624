//! HTTP/2 towards clients (RFC 9113), by the h2 crate itself: hyper's server offers no interim responses, which `Expect:
//! 100-continue` needs, and cannot retire a connection before h2 breaks it off.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use gateway_core::{model::Limits, timers::Timer};
use gateway_http::{
    date,
    from_client::{FromClient, Received},
    hop,
    interim::Interim,
    known_headers::{CONNECTION, HOP_BY_HOP, KnownHeaders, TE, TRANSFER_ENCODING},
    pipe::Pipe,
    resets::{Observed, Resets},
};
use gateway_proxy as proxy;
use gateway_proxy::{Client, ResponseBody};
use h2::{
    Reason, RecvStream,
    server::{Builder, Connection, Handshake, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    state::{ConnectionState, Delivering},
    wire::Wire,
};

/// What may be under way to us, of one request and of all on a connection.
const WINDOW: u32 = 1024 * 1024;
/// What is kept of one stream's response while the client does not take it.
const MAX_SEND_BUFFER: usize = 256 * 1024;
/// Requests that the client reset before they could be looked at, at least (CVE-2023-44487). Each takes memory.
const MIN_PENDING_RESETS: usize = 32;
/// The h2 crate ends a connection with all that is under way after so many stream errors over its life. It counts what is not
/// yet sent too, which bounds what a client that does not read can make it keep.
const MOST_ERRORS: usize = 8 * 1024;
/// So many are where the connection is retired instead: its requests end well, and the client opens another one.
const RETIRED_AFTER: u32 = 4 * 1024;
/// Requests that a client resets, and stream errors that it makes necessary: a second over time, and at once.
const RESETS_PER_SECOND: f64 = 500.0;
const RESETS_AT_ONCE: f64 = 2000.0;

type Io<S> = Observed<TokioIo<Wire<S>>>;

/// A client connection. Streams run as tasks of the worker.
pub(super) struct Http2<S> {
    stage: Stage<S>,
    state: Rc<ConnectionState>,
    client: Rc<Client>,
    resets: Rc<Resets>,
    allowance: Allowance,
    /// A request has come.
    used: bool,
    /// No further requests are taken.
    closing: bool,
}

#[allow(clippy::large_enum_variant, reason = "there is one for each connection, and it stays in the connection's task")]
enum Stage<S> {
    Handshake(Handshake<Io<S>, Bytes>),
    Serving(Connection<Io<S>, Bytes>),
}

/// How many resets a client may still cause, and what was counted so far.
struct Allowance {
    left: f64,
    at: Option<Instant>,
    seen: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http2<S> {
    pub(super) fn new(wire: Wire<S>, limits: &Limits, state: Rc<ConnectionState>, client: Rc<Client>) -> Self {
        let resets = Resets::of_server();
        let streams = limits.max_concurrent_streams;
        let mut builder = Builder::new();
        builder
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_concurrent_streams(streams)
            // Counted otherwise than by us, and refused with a bare 431: the usual excess is left to `framing`.
            .max_header_list_size(u32::try_from(2 * (limits.header_bytes + limits.uri_bytes)).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(MIN_PENDING_RESETS.max(streams as usize))
            .max_local_error_reset_streams(Some(MOST_ERRORS))
            .max_send_buffer_size(MAX_SEND_BUFFER);
        let handshake = builder.handshake(Observed::new(TokioIo::new(wire), resets.clone()));
        let allowance = Allowance { left: RESETS_AT_ONCE, at: None, seen: 0 };
        Self { stage: Stage::Handshake(handshake), state, client, resets, allowance, used: false, closing: false }
    }

    fn poll_serving(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            let connection = match &mut self.stage {
                Stage::Serving(connection) => connection,
                Stage::Handshake(handshake) => {
                    let mut connection = ready!(Pin::new(handshake).poll(cx))?;
                    if self.closing {
                        connection.graceful_shutdown();
                    }
                    self.stage = Stage::Serving(connection);
                    continue;
                }
            };
            let Some(accepted) = ready!(connection.poll_accept(cx)) else { return Poll::Ready(Ok(())) };
            let (request, respond) = accepted?;
            Stream::begin(request, respond, &self.state, &self.client);
            self.used = true;
        }
    }

    /// While clients are asked to leave, a connection gets its GOAWAY after its first request: before, a client that has just
    /// connected would not get any answer, and might connect again and again.
    fn go_away(&mut self) -> bool {
        let goes = self.used && !self.closing && self.state.server.is_going_away();
        if goes {
            self.shut_down();
        }
        goes
    }

    /// Graceful (RFC 9113 §6.8): GOAWAY without a last stream, and one with it when the client has answered a PING, so that what
    /// it sent until then is served. What it sends at the end is read, so that no reset takes a response away.
    fn shut_down(&mut self) {
        if !std::mem::replace(&mut self.closing, true)
            && let Stage::Serving(connection) = &mut self.stage
        {
            connection.graceful_shutdown();
        }
        self.state.linger();
    }

    /// Lets it finish what is under way and begin nothing.
    pub(super) fn close(self: Pin<&mut Self>) {
        self.get_mut().shut_down();
    }

    /// Ends a connection whose streams are reset too often: gracefully, and if the client does not stop, at once.
    fn judge_resets(&mut self) -> bool {
        let errors = self.resets.errors_sent();
        let seen = self.resets.received().saturating_add(errors);
        if seen == self.allowance.seen {
            return false;
        }
        let left = self.allowance.take(seen, Instant::now());
        let Stage::Serving(connection) = &mut self.stage else { return false };
        if left < -RESETS_AT_ONCE {
            tracing::debug!("client resets too many HTTP/2 streams");
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            return true;
        }
        if (left < 0.0 || errors >= RETIRED_AFTER) && !self.closing {
            self.closing = true;
            connection.graceful_shutdown();
            return true;
        }
        false
    }
}

impl Allowance {
    /// The allowance after a total number of resets.
    fn take(&mut self, seen: u32, now: Instant) -> f64 {
        let since = self.at.replace(now).map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        let new = f64::from(seen - self.seen);
        self.seen = seen;
        self.left = (self.left + since * RESETS_PER_SECOND).min(RESETS_AT_ONCE) - new;
        self.left
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Http2<S> {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let this = self.get_mut();
        loop {
            let polled = this.poll_serving(cx);
            // What they decide has to be sent.
            if polled.is_ready() || !(this.judge_resets() || this.go_away()) {
                return polled;
            }
        }
    }
}

/// One request and its response.
pub(super) struct Stream {
    /// By which the client has to take each part of the response: a window that stays closed holds up only this stream, so that
    /// nothing else would notice.
    delivery: Rc<Timer>,
    respond: RefCell<SendResponse<Bytes>>,
    /// The response has begun.
    answered: Cell<bool>,
}

impl Stream {
    fn begin(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        state: &Rc<ConnectionState>,
        client: &Rc<Client>,
    ) {
        let delivery = Rc::new(state.server.worker.timers.timer());
        let stream = Rc::new(Self { delivery, respond: RefCell::new(respond), answered: Cell::new(false) });
        let (head, body) = request.into_parts();
        let awaits =
            head.headers.get(header::EXPECT).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let awaits = awaits.then(|| stream.clone() as Rc<dyn Interim>);
        let body = FromClient::http2(Received::new(body, &head.headers, awaits));
        let request = Request::from_parts(head, body);
        // Boxed: it is large, and would be copied whole at each of the steps to a running task.
        tokio::task::spawn_local(Box::pin(stream.serve(request, state.clone(), client.clone())));
    }

    async fn serve(self: Rc<Self>, request: Request<FromClient>, state: Rc<ConnectionState>, client: Rc<Client>) {
        let mut handling = std::pin::pin!(proxy::handle(client, request));
        let response = std::future::poll_fn(|cx| {
            if let Poll::Ready(response) = state.during(&self, || handling.as_mut().poll(cx)) {
                return Poll::Ready(response.ok());
            }
            // The client does not wait for the response any more.
            if self.respond.borrow_mut().poll_reset(cx).is_ready() {
                return Poll::Ready(None);
            }
            self.delivery.poll_expired(cx).map(|()| None)
        });
        let Some(response) = response.await else { return };
        let Some(mut pipe) = self.respond(response) else { return };
        std::future::poll_fn(|cx| {
            let done = pipe.poll(cx);
            if done.is_ready() { done } else { self.delivery.poll_expired(cx) }
        })
        .await;
    }

    /// Sends the head; returns the rest of the response, if there is any.
    fn respond(&self, response: Response<ResponseBody>) -> Option<Pipe<ResponseBody>> {
        let (mut head, body) = response.into_parts();
        let known_headers = KnownHeaders::of(&head.headers);
        if known_headers.has(CONNECTION | TE | HOP_BY_HOP | TRANSFER_ENCODING) {
            // RFC 9113 §8.2.2: there are no such fields.
            hop::strip(&mut head.headers, known_headers);
            head.headers.remove(header::TE);
        }
        head.headers.entry(header::DATE).or_insert_with(date::now);
        head.extensions.clear();
        let ended = body.is_end_stream();
        if !ended && let Some(length) = body.size_hint().exact() {
            head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        self.answered.set(true);
        let mut respond = self.respond.borrow_mut();
        match respond.send_response(Response::from_parts(head, ()), ended) {
            Ok(stream) => (!ended).then(|| Pipe::new(body, stream)),
            Err(error) => {
                tracing::debug!(%error, "cannot send a response");
                respond.send_reset(Reason::INTERNAL_ERROR);
                None
            }
        }
    }
}

impl Delivering for Stream {
    fn timer(&self) -> &Rc<Timer> {
        &self.delivery
    }
}

impl Interim for Stream {
    fn send(&self, status: StatusCode, fields: &HeaderMap) {
        if self.answered.get() {
            return;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields.clone();
        // An error is that the client does not wait for it any more.
        let _ = self.respond.borrow_mut().send_informational(response);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn resets_are_allowed_by_rate_and_not_by_number() {
        let now = Instant::now();
        let mut allowance = Allowance { left: RESETS_AT_ONCE, at: None, seen: 0 };
        for second in 0..3600_u32 {
            assert!(allowance.take(second * 400, now + Duration::from_secs(second.into())) >= 0.0);
        }
        assert!(allowance.take(allowance.seen + 2001, now + Duration::from_secs(3600)) < 0.0);
    }
}
