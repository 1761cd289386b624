//! Sending one request: an idle connection or a new one, another endpoint where none can be reached, once
//! more where the upstream closed an idle connection just as we used it.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use http::{Response, Version};
use hyper::body::Incoming;
use smallvec::SmallVec;

use super::{
    Upstream,
    connect::Connection,
    endpoint::{Busy, Endpoint},
    head,
    request::Outgoing,
    response::{Lease, UpstreamBody},
};
use crate::{
    config::model::HostHeader,
    error::Failure,
    http::body::{Body, Traffic},
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
    /// For the log.
    pub cause: String,
}

/// How long each part may take.
pub struct Patience {
    /// Now.
    pub since: Instant,
    /// Until the response's head is there.
    pub response: Duration,
    /// Between two parts of the response's body.
    pub body: Duration,
}

/// Sends a request and waits for the head of the response. Dropping the future cancels the request.
pub async fn send(
    upstream: &Upstream,
    outgoing: Outgoing<'_>,
    traffic: &Traffic,
    patience: Patience,
) -> Result<Sent, Refused> {
    let timer = upstream.timers.timer();
    timer.arm(patience.response);
    let Some(mut endpoint) = upstream.pick(outgoing.key, patience.since) else {
        upstream.metrics.failed();
        return Err(Refused { failure: Failure::NoEndpoint, cause: "no endpoint is known".into() });
    };
    let exchange = timer.limit(exchange(upstream, &mut endpoint, outgoing, traffic)).await;
    let exchange = exchange.unwrap_or_else(|| Err(timed_out(traffic, patience.response)));
    let (response, connection, reusable) = match exchange {
        Ok(exchange) => exchange,
        Err(refused) => {
            upstream.metrics.failed();
            if refused.failure.is_the_endpoints() {
                upstream.observe(&endpoint, true, Instant::now());
            }
            return Err(refused);
        }
    };
    let now = Instant::now();
    let head_us = now.saturating_duration_since(patience.since).as_micros() as u64;
    upstream.metrics.responded(response.status().as_u16(), head_us);
    let (mut response, incoming) = response.into_parts();
    let judged = head::judge(&mut response);
    upstream.observe(&endpoint, judged.is_err() || response.status.is_server_error(), now);
    judged.map_err(|cause| Refused { failure: Failure::UpstreamProtocol, cause: cause.into() })?;
    let lease = Lease { connection, endpoint, reusable };
    Ok(Sent { response, head_us, body: UpstreamBody::wrap(incoming, lease, timer, patience.body) })
}

/// Whoever had the turn when the time was over was too slow.
fn timed_out(traffic: &Traffic, patience: Duration) -> Refused {
    if traffic.awaited.get() {
        Refused { failure: Failure::BodyTimeout, cause: format!("no whole request within {patience:?}") }
    } else {
        Refused { failure: Failure::UpstreamTimeout, cause: format!("no response within {patience:?}") }
    }
}

/// The head of a response, its connection, and whether another request may follow on that. `endpoint` is the one to
/// begin with; it becomes the one that was asked.
async fn exchange(
    upstream: &Upstream,
    endpoint: &mut Busy,
    mut outgoing: Outgoing<'_>,
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
            None => (Box::pin(connect(upstream, endpoint)).await?, false),
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
            Some(unsent) if reused => outgoing.take_back(unsent, keep_headers),
            _ => {
                let error = error.into_error();
                let spare = spare.filter(|_| !error.is_parse() && !error.is_user());
                outgoing.body = spare.ok_or_else(|| refused(&error, traffic))?;
                retried = true;
            }
        }
    }
}

/// A new connection to the endpoint or, where it cannot be reached, to another one, which takes its place: nothing
/// has been sent yet.
async fn connect(upstream: &Upstream, endpoint: &mut Busy) -> Result<Connection, Refused> {
    let mut tried: SmallVec<[Rc<Endpoint>; 4]> = SmallVec::new();
    loop {
        let connecting = endpoint.address.connect(Some(&upstream.metrics));
        let attempt = tokio::time::timeout(upstream.model.connect_timeout, connecting).await;
        let (failure, cause) = match attempt {
            Ok(Ok(connection)) => return Ok(connection),
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
                return Err(Refused { failure, cause: format!("cannot connect to {name}: {cause}") });
            }
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
    Refused { failure, cause: chain(error) }
}
