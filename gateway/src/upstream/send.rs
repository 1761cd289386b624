//! Sending one request: an idle connection or a new one, another endpoint where none can be reached, once
//! more where the upstream closed an idle connection just as we used it.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use http::{Response, StatusCode, Version};
use hyper::body::Incoming;
use smallvec::SmallVec;

use super::{
    Upstream,
    connect::Connection,
    endpoint::{Busy, Endpoint},
    head,
    pass::{Place, Waiting},
    request::Outgoing,
    response::{BodyPatience, Lease, UpstreamBody},
    retry,
};
use crate::{
    config::model::HostHeader,
    error::Failure,
    http::body::{Body, Traffic},
    telemetry::metrics::Rejection,
    timers::Timer,
};

/// A response has begun.
pub struct Sent {
    pub response: http::response::Parts,
    /// How long it took until the head was there, in microseconds.
    pub head_us: u64,
    pub body: Body,
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
    pub(super) head: http::response::Parts,
    incoming: Incoming,
    connection: Connection,
    /// Another request may follow on the connection.
    reusable: bool,
    /// When the head was there.
    at: Instant,
}

/// How long each part may take.
pub struct Patience {
    /// Now.
    pub since: Instant,
    /// Until the response's head is there.
    pub response: Duration,
    /// Between two parts of the response's body, unless the upstream has a time of its own.
    pub body: Duration,
    /// Until the last byte of the response.
    pub whole: Option<Instant>,
}

/// Sends a request and waits for the head of the response. Dropping the future cancels the request.
pub async fn send(
    upstream: &Upstream,
    mut outgoing: Outgoing<'_>,
    traffic: &Traffic,
    patience: Patience,
) -> Result<Sent, Refused> {
    let mut pass = upstream.admit(patience.since)?;
    let Some(mut endpoint) = upstream.pick(outgoing.key, patience.since) else {
        upstream.metrics.failed();
        return Err(Refused::new(Failure::NoEndpoint, "no endpoint is known"));
    };
    let timer = upstream.timers.timer();
    let (since, response) = (patience.since, patience.response);
    let result = match &upstream.model.retry {
        None => attempt(upstream, &mut endpoint, &mut outgoing, traffic, &timer, response, since).await,
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
    let Answer { head, incoming, connection, reusable, at } = result?;
    let head_us = at.saturating_duration_since(patience.since).as_micros() as u64;
    let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let lease = Lease { connection, endpoint, reusable, switched, _pass: pass };
    let patience =
        BodyPatience { between: upstream.model.body_timeout.unwrap_or(patience.body), whole: patience.whole };
    Ok(Sent { response: head, head_us, body: UpstreamBody::wrap(incoming, lease, timer, patience) })
}

/// Sends a request once, `began` now, and waits for up to `left`, or for as long as the upstream may take each time.
/// `endpoint` is the one to begin with; it becomes the one that was asked.
pub(super) async fn attempt(
    upstream: &Upstream,
    endpoint: &mut Busy,
    outgoing: &mut Outgoing<'_>,
    traffic: &Traffic,
    timer: &Timer,
    left: Duration,
    began: Instant,
) -> Result<Answer, Refused> {
    let patience = upstream.model.response_timeout.map_or(left, |most| most.min(left));
    timer.arm(patience);
    let exchange = timer.limit(exchange(upstream, endpoint, outgoing, traffic)).await;
    let exchange = exchange.unwrap_or_else(|| Err(timed_out(traffic, patience)));
    let (response, connection, reusable) = match exchange {
        Ok(exchange) => exchange,
        Err(refused) => {
            upstream.metrics.failed();
            if refused.failure.is_the_endpoints() {
                upstream.observe(endpoint, true, Instant::now());
            }
            return Err(refused);
        }
    };
    let at = Instant::now();
    let head_us = at.saturating_duration_since(began).as_micros() as u64;
    upstream.metrics.responded(response.status().as_u16(), head_us);
    let (mut head, incoming) = response.into_parts();
    let judged = head::judge(&mut head, outgoing.upgrade);
    upstream.observe(endpoint, judged.is_err() || head.status.is_server_error(), at);
    judged.map_err(|cause| Refused::new(Failure::UpstreamProtocol, cause))?;
    Ok(Answer { head, incoming, connection, reusable, at })
}

/// Whoever had the turn when the time was over was too slow.
fn timed_out(traffic: &Traffic, patience: Duration) -> Refused {
    if traffic.awaited.get() {
        Refused::new(Failure::BodyTimeout, format!("no whole request within {patience:?}"))
    } else {
        Refused::new(Failure::UpstreamTimeout, format!("no response within {patience:?}"))
    }
}

/// The head of a response, its connection, and whether another request may follow on that. `endpoint` is the one to
/// begin with; it becomes the one that was asked.
async fn exchange(
    upstream: &Upstream,
    endpoint: &mut Busy,
    outgoing: &mut Outgoing<'_>,
    traffic: &Traffic,
) -> Result<(Response<Incoming>, Connection, bool), Refused> {
    let preserve_host = upstream.model.host == HostHeader::Preserve;
    let mut retried = false;
    loop {
        // After one idle connection turned out to be closed, the others are not believed either.
        let idle = if retried { None } else { endpoint.take_idle() };
        let (mut connection, reused) = match idle {
            Some(connection) => (connection, true),
            // Boxed, because a handshake is large, rare, and would make every exchange's future as large.
            None => Box::pin(connect(upstream, endpoint)).await?,
        };
        // An idle connection may have been closed by the upstream an instant ago, which is no failure of
        // the request.
        let spare = if reused { outgoing.spare() } else { None };
        let keep_headers = outgoing.keep_headers || spare.is_some();
        let request = outgoing.request(endpoint, preserve_host, keep_headers);
        let mut error = match connection.sender.try_send_request(request).await {
            Ok(response) => {
                // To a server of HTTP/1.0 hyper would say the next request in HTTP/1.0, which has no chunks:
                // a body of unknown length would be lost.
                let reusable = response.version() >= Version::HTTP_11;
                return Ok((response, connection, reusable));
            }
            Err(error) => error,
        };
        match error.take_message() {
            // Nothing of it was written.
            Some(unsent) => {
                outgoing.take_back(unsent, keep_headers);
                if !reused {
                    return Err(Refused::unsent(Failure::UpstreamClosed, chain(&error.into_error())));
                }
            }
            None => {
                let error = error.into_error();
                let spare = spare.filter(|_| !error.is_parse() && !error.is_user());
                outgoing.body = spare.ok_or_else(|| refused(&error, traffic))?;
                retried = true;
            }
        }
    }
}

/// A new connection to the endpoint or, where it cannot be reached, to another one, which takes its place: nothing
/// has been sent yet. Where there may be no more connections, one that becomes free; then the second is true.
async fn connect(upstream: &Upstream, endpoint: &mut Busy) -> Result<(Connection, bool), Refused> {
    let mut tried: SmallVec<[Rc<Endpoint>; 4]> = SmallVec::new();
    loop {
        let place = match upstream.model.limits.connections {
            None => None,
            Some(most) => match wait_for_place(upstream, endpoint, most).await? {
                Free::Connection(connection) => return Ok((connection, true)),
                Free::Place(place) => Some(place),
            },
        };
        let connecting = endpoint.address.connect(Some(&upstream.metrics), place);
        let attempt = tokio::time::timeout(upstream.model.connect_timeout, connecting).await;
        let (failure, cause) = match attempt {
            Ok(Ok(connection)) => return Ok((connection, false)),
            Ok(Err(error)) => (Failure::UpstreamUnreachable, chain(&error)),
            Err(_) => (Failure::UpstreamConnectTimeout, format!("within {:?}", upstream.model.connect_timeout)),
        };
        upstream.metrics.connect_failed();
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

enum Free {
    Connection(Connection),
    Place(Place),
}

/// Room for one more connection, or one that has become free meanwhile.
async fn wait_for_place(upstream: &Upstream, endpoint: &Busy, most: usize) -> Result<Free, Refused> {
    let (load, open) = (&upstream.group.load, &upstream.open);
    if let Some(place) = Place::take(load, open, most) {
        return Ok(Free::Place(place));
    }
    let Some(waiting) = Waiting::queue(load, open, upstream.model.limits.pending) else {
        upstream.metrics.rejected(Rejection::Pending);
        return Err(Refused::unsent(Failure::UpstreamBusy, ""));
    };
    loop {
        // It may be that all the room is taken by connections to others, of which nobody makes use.
        upstream.close_idle_to_others(endpoint.endpoint());
        waiting.turn().await;
        if let Some(connection) = endpoint.take_idle() {
            return Ok(Free::Connection(connection));
        }
        if let Some(place) = Place::take(load, open, most) {
            return Ok(Free::Place(place));
        }
    }
}

/// An error with its causes, each of which prints only its own level.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Whose fault it was: the body's sender is asked first, since its failure breaks the upstream's side too.
fn refused(error: &hyper::Error, traffic: &Traffic) -> Refused {
    let failure = if traffic.overflow.get() {
        Failure::BodyTooLarge
    } else if traffic.stalled.get() {
        Failure::BodyTimeout
    } else if traffic.broken.get() {
        Failure::MalformedRequest
    } else if traffic.left.get() {
        Failure::ClientClosed
    } else if error.is_parse() {
        Failure::UpstreamProtocol
    } else {
        Failure::UpstreamClosed
    };
    Refused::new(failure, chain(error))
}
