//! Sending one request: an idle connection or a new one, another endpoint where none can be reached, once
//! more where the upstream closed an idle connection just as we used it.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use gateway_core::{error::Failure, model::HostHeader, timers::Timer};
use gateway_http::{
    authentication,
    body::{Body, Traffic},
    deadline::{Deadline, Limit},
};
use gateway_telemetry::{
    metrics::Rejection,
    trace::{self, Tried},
};
use http::{StatusCode, response::Parts};
use smallvec::SmallVec;

use super::{
    Upstream,
    connect::Connected,
    endpoint::{Busy, Endpoint, Opening},
    head,
    http1::{self, Broken, chain},
    incoming::{Incoming, Line},
    pass::{Place, Waiting},
    private::PrivateConnections,
    request::Outgoing,
    response::{BodyTimeouts, Lease, UpstreamBody},
    retry,
    switched::Switched,
};

/// A response has begun.
pub struct Sent {
    pub response: Parts,
    /// How long it took until the head was there, in microseconds.
    pub head_us: u64,
    pub body: Body,
    /// The connection, where it is HTTP's no more.
    pub switched: Option<Box<Switched>>,
}

/// No response will come.
#[derive(Debug)]
pub struct Refused {
    pub failure: Failure,
    /// For the log; empty where there is nothing to say.
    pub cause: String,
    /// When it is worth asking again, if that is known.
    pub retry_after: Option<Duration>,
    /// Nothing of the request was sent; it is as it was.
    pub(super) unsent: bool,
}

impl Refused {
    pub(super) fn new(failure: Failure, cause: impl Into<String>) -> Self {
        Self { failure, cause: cause.into(), retry_after: None, unsent: false }
    }

    fn unsent(failure: Failure, cause: impl Into<String>) -> Self {
        Self { unsent: true, ..Self::new(failure, cause) }
    }
}

/// The head of a response, and what its body comes by.
pub(super) struct Answer {
    pub(super) head: Parts,
    incoming: Incoming,
    /// When the head was there.
    at: Instant,
}

/// How long each part may take.
pub struct Patience {
    /// Now.
    pub since: Instant,
    /// Until the response's head is there.
    pub response: Deadline,
    /// Between two parts of the response's body, unless the upstream has a time of its own.
    pub body: Duration,
    /// Until the last byte of the response.
    pub whole: Option<Instant>,
}

/// Sends a request and waits for the head of the response. Dropping the future cancels the request.
pub async fn send(
    upstream: &Upstream,
    mut outgoing: Outgoing<'_>,
    traffic: &Rc<Traffic>,
    patience: Patience,
) -> Result<Sent, Refused> {
    if outgoing.method.is_idempotent() {
        // An idle connection that turns out to be closed then costs nothing: it can be sent again.
        outgoing.body.settle().await;
    }
    let mut pass = upstream.admit(patience.since)?;
    let Some(mut endpoint) = upstream.pick(outgoing.private, outgoing.key, patience.since) else {
        upstream.metrics.failed();
        return Err(Refused::new(Failure::NoEndpoint, "no endpoint is known"));
    };
    let timer = upstream.timers.timer();
    let (since, deadline) = (patience.since, patience.response);
    let result = match &upstream.model.retry {
        None => attempt(upstream, &mut endpoint, &mut outgoing, traffic, &timer, deadline, since).await,
        // Boxed, so that those who never retry do not carry what that takes.
        Some(policy) => {
            let (endpoint, outgoing) = (&mut endpoint, &mut outgoing);
            Box::pin(retry::until_done(upstream, policy, endpoint, outgoing, traffic, &patience, &timer)).await
        }
    };
    if let Some(pass) = &mut pass {
        match &result {
            Ok(answer) => pass.ended(Some(answer.head.status.is_server_error()), answer.at),
            Err(refused) => pass.ended(refused.failure.is_the_upstreams().then_some(true), Instant::now()),
        }
    }
    let Answer { head, incoming, at } = result?;
    let head_us = at.saturating_duration_since(patience.since).as_micros() as u64;
    let owner = outgoing.private.filter(|_| incoming.is_private()).map(PrivateConnections::owner);
    let lease = Lease { endpoint, owner, _pass: pass };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let Incoming::Http1(reading) = incoming else {
            // RFC 9113 §8.6 has no such response.
            return Err(Refused::new(Failure::UpstreamProtocol, "the upstream switched protocols in HTTP/2"));
        };
        let switched = Some(Box::new(Switched::new(reading, lease)));
        return Ok(Sent { response: head, head_us, body: Body::Empty, switched });
    }
    let timeouts =
        BodyTimeouts { between: upstream.model.body_timeout.unwrap_or(patience.body), total: patience.whole };
    let body = UpstreamBody::wrap(incoming, lease, timer, traffic.clone(), timeouts);
    Ok(Sent { response: head, head_us, body, switched: None })
}

/// Sends a request once, `began` now, and waits until the deadline, or for as long as the upstream may take each time.
/// `endpoint` is the one to begin with; it becomes the one that was asked.
pub(super) async fn attempt(
    upstream: &Upstream,
    endpoint: &mut Busy,
    outgoing: &mut Outgoing<'_>,
    traffic: &Traffic,
    timer: &Timer,
    deadline: Deadline,
    began: Instant,
) -> Result<Answer, Refused> {
    let own = upstream.model.response_timeout.map(|limit| Deadline::new(began, Some(limit)));
    let left = |now| {
        let left = deadline.left(traffic, now);
        own.map_or(left, |own| own.left(traffic, now).min(left))
    };
    timer.arm(left(began));
    if let Some(tries) = &mut outgoing.tries {
        tries.begin(began);
    }
    let more = || Some(left(Instant::now())).filter(|left| !left.is_zero());
    let exchange = {
        let mut exchange = pin!(exchange(upstream, endpoint, outgoing, traffic));
        let watched = poll_fn(|cx| {
            let (polled, moved) = traffic.watch(cx, |cx| exchange.as_mut().poll(cx));
            if moved && polled.is_pending() {
                timer.arm(left(Instant::now()));
            }
            polled
        });
        let exchange = timer.limit(watched, more).await;
        // So that it is known why the exchange is given up.
        upstream.open.timed_out.set(exchange.is_none());
        exchange
    };
    upstream.open.timed_out.set(false);
    let exchange = exchange.unwrap_or_else(|| Err(timed_out(traffic, began, deadline, own)));
    let (mut head, incoming) = match exchange {
        Ok(exchange) => exchange,
        Err(refused) => {
            record(upstream, endpoint, outgoing, Instant::now(), None, Some(refused.failure));
            upstream.metrics.failed();
            if refused.failure.is_the_endpoints() {
                upstream.observe(endpoint, true, Instant::now());
            }
            return Err(refused);
        }
    };
    let at = Instant::now();
    let head_us = at.saturating_duration_since(began).as_micros() as u64;
    upstream.metrics.responded(head.status.as_u16(), head_us);
    let status = head.status.as_u16();
    let judged = head::judge(&mut head, outgoing.upgrade);
    record(upstream, endpoint, outgoing, at, Some(status), judged.is_err().then_some(Failure::UpstreamProtocol));
    upstream.observe(endpoint, judged.is_err() || head.status.is_server_error(), at);
    judged.map_err(|cause| Refused::new(Failure::UpstreamProtocol, cause))?;
    Ok(Answer { head, incoming, at })
}

/// Writes down how a try ended, where somebody wants to know.
fn record(
    upstream: &Upstream,
    endpoint: &Endpoint,
    outgoing: &mut Outgoing<'_>,
    ended: Instant,
    status: Option<u16>,
    failure: Option<Failure>,
) {
    let Some(tries) = &mut outgoing.tries else { return };
    tries.end(ended, |again| Tried {
        upstream: upstream.model.name.clone(),
        endpoint: Some(endpoint.name()),
        method: trace::clipped(outgoing.method.as_str()),
        status,
        failure: failure.map(Failure::reason),
        again,
    });
}

/// The client or the upstream was too slow: the one that was waited for when a time-out was hit, which the cause names.
fn timed_out(traffic: &Traffic, began: Instant, deadline: Deadline, own: Option<Deadline>) -> Refused {
    let now = Instant::now();
    let waited = now.saturating_duration_since(began);
    // The timer may be late, so that both are over; the upstream's is the shorter one then, as it began later.
    let is_own = own.is_some_and(|own| own.left(traffic, now).is_zero());
    let limit = deadline.hit(now);
    let name: &dyn fmt::Display = if is_own { &"the upstream's `timeouts.response`" } else { &limit };
    if traffic.awaited.get() {
        return Refused::new(Failure::BodyTimeout, format!("no whole request after {waited:.1?} ({name})"));
    }
    let failure = if limit == Limit::Total && !is_own { Failure::TotalTimeout } else { Failure::UpstreamTimeout };
    Refused::new(failure, format!("no response after {waited:.1?} ({name})"))
}

/// The head of a response, and the rest of it to come. `endpoint` is the one to begin with; it becomes the one that
/// was asked.
async fn exchange(
    upstream: &Upstream,
    endpoint: &mut Busy,
    outgoing: &mut Outgoing<'_>,
    traffic: &Traffic,
) -> Result<(Parts, Incoming), Refused> {
    let preserve_host = upstream.model.host == HostHeader::Preserve;
    // HTTP/1.1 connections become private as they are used; one of HTTP/2 must not have others' requests to begin with.
    let alone =
        upstream.model.protocol.shares_connections() && authentication::has_credentials_of_connection(outgoing.headers);
    let mut retried = false;
    loop {
        // After one idle connection turned out to be closed, the others are not believed either.
        let idle = if retried { None } else { idle(endpoint, outgoing.private, alone) };
        let (line, reused) = match idle {
            Some(line) => (line, true),
            // Boxed, because a handshake is large, rare, and would make every exchange's future as large.
            None => Box::pin(connect(upstream, endpoint, alone)).await?,
        };
        // An idle connection may have been closed by the upstream an instant ago, which is no failure of
        // the request.
        // And whoever shares a connection with others may be refused unprocessed.
        let may_go_again = !retried && (reused || matches!(line, Line::Http2(_)));
        let copy = if may_go_again { outgoing.copy() } else { None };
        let mut body = std::mem::take(&mut outgoing.body);
        let expects_continue = body.awaits_continue();
        let head = http1::Head { expects_continue, ..outgoing.head(endpoint, preserve_host) };
        match line.send(&head, |body| head.request(endpoint.scheme(), body), &mut body).await {
            Ok(answer) => return Ok(answer),
            Err(Broken::Unsent(error)) => {
                outgoing.body = body;
                if !reused {
                    return Err(Refused::unsent(Failure::UpstreamClosed, chain(&error)));
                }
            }
            Err(broken) => {
                let again = match broken {
                    // RFC 9110 §9.2.2: it may have been done, but to do it twice is to do it once.
                    Broken::Closed(_) => reused && outgoing.method.is_idempotent(),
                    Broken::Unprocessed(_) => true,
                    _ => false,
                };
                outgoing.body = copy.filter(|_| again).ok_or_else(|| refused(&broken, traffic))?;
                retried = true;
            }
        }
    }
}

/// A connection that is there already: this client's own, or one that belongs to nobody.
fn idle(endpoint: &Busy, private: Option<&PrivateConnections>, alone: bool) -> Option<Line> {
    let own = private.and_then(|private| private.take(endpoint)).map(Line::Http1);
    own.or_else(|| if alone { None } else { endpoint.take_idle() })
}

/// A new connection to the endpoint or, where it cannot be reached, to another one, which takes its place: nothing
/// has been sent yet. Where there may be no more connections, one that becomes free; then the second is true.
/// `alone` is for a connection that no other request has used or will use.
pub(super) async fn connect(upstream: &Upstream, endpoint: &mut Busy, alone: bool) -> Result<(Line, bool), Refused> {
    let mut tried: SmallVec<[Rc<Endpoint>; 4]> = SmallVec::new();
    loop {
        let _opening = match share(upstream, endpoint, alone).await {
            Ok(line) => return Ok((line, true)),
            Err(opening) => opening,
        };
        let place = match upstream.model.limits.connections {
            None => None,
            Some(most) => match wait_for_place(upstream, endpoint, most, alone).await? {
                Free::Line(line) => return Ok((line, true)),
                Free::Place(place) => Some(place),
            },
        };
        let began = Instant::now();
        let connecting = endpoint.address.connect(Some(&upstream.metrics), place, &upstream.open);
        let attempt = tokio::time::timeout(upstream.model.connect_timeout, connecting).await;
        let (failure, cause) = match attempt {
            Ok(Ok(Connected::Http1(connection))) => return Ok((Line::Http1(connection), false)),
            Ok(Ok(Connected::Http2(mux))) => match if alone { mux.slot() } else { endpoint.share(mux) } {
                Some(slot) => return Ok((Line::Http2(slot), false)),
                None => (Failure::UpstreamClosed, "the upstream went away at once".to_owned()),
            },
            Ok(Err(error)) => (Failure::UpstreamUnreachable, chain(&error)),
            Err(_) => (Failure::UpstreamConnectTimeout, format!("within {:?}", upstream.model.connect_timeout)),
        };
        upstream.metrics.connect_failed();
        upstream.could_not_connect(endpoint.endpoint(), failure == Failure::UpstreamConnectTimeout, began);
        upstream.observe(endpoint, true, Instant::now());
        tried.push(endpoint.endpoint().clone());
        match upstream.another(&tried) {
            Some(other) => *endpoint = other,
            None => {
                let name = String::from_utf8_lossy(endpoint.authority.as_bytes());
                return Err(Refused::unsent(failure, format!("cannot connect to {name}: {cause}")));
            }
        }
    }
}

/// Where requests share connections, several that come at once share the one that the first of them opens: a place on
/// one, or leave to open one.
async fn share(upstream: &Upstream, endpoint: &Busy, alone: bool) -> Result<Line, Option<Opening>> {
    if alone || !upstream.model.protocol.shares_connections() {
        return Err(None);
    }
    loop {
        match Opening::begin(endpoint.endpoint()) {
            Some(opening) => return Err(Some(opening)),
            // Whoever opens it gives up after this time too.
            None => drop(tokio::time::timeout(upstream.model.connect_timeout, endpoint.opened()).await),
        }
        if let Some(line) = endpoint.take_idle() {
            return Ok(line);
        }
    }
}

enum Free {
    Line(Line),
    Place(Place),
}

/// Room for one more connection, or one that has become free meanwhile.
async fn wait_for_place(upstream: &Upstream, endpoint: &Busy, most: usize, alone: bool) -> Result<Free, Refused> {
    let (load, open) = (&upstream.group.load, &upstream.open);
    if let Some(place) = Place::take(load, open, most) {
        return Ok(Free::Place(place));
    }
    let Some(waiting) = Waiting::queue(load, open, upstream.model.limits.pending) else {
        upstream.metrics.rejected(Rejection::Pending);
        return Err(Refused::unsent(Failure::UpstreamBusy, ""));
    };
    loop {
        // It may be that all the room is taken by connections that are idle and of no use for this request.
        upstream.make_room_for(endpoint.endpoint());
        waiting.turn().await;
        if !alone && let Some(line) = endpoint.take_idle() {
            return Ok(Free::Line(line));
        }
        if let Some(place) = Place::take(load, open, most) {
            return Ok(Free::Place(place));
        }
    }
}

/// Whose fault it was: the body's sender is asked first, since its failure breaks the upstream's side too.
fn refused(broken: &Broken, traffic: &Traffic) -> Refused {
    let failure = traffic.failure().unwrap_or(match broken {
        Broken::Malformed(_) => Failure::UpstreamProtocol,
        Broken::Busy => Failure::UpstreamBusy,
        _ => Failure::UpstreamClosed,
    });
    Refused::new(failure, broken.to_string())
}
