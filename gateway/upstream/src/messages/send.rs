//! Sending one request, until the head of its response is there.

use std::{rc::Rc, time::Instant};

use gateway_core::error::Failure;
use gateway_http::body::{Body, Traffic};
use http::{StatusCode, response::Parts};

use super::{
    attempt::{ReceivedHead, attempt},
    request::{Deadlines, Outgoing},
    response::{BodyLease, BodyTimeouts, UpstreamBody},
    retry,
    switched::Switched,
};
use crate::{
    connections::incoming::Incoming,
    refused::Refused,
    worker::{PrivateConnections, Upstream},
};

/// The beginning of an upstream's response.
pub struct UpstreamResponse {
    /// The head, without fields of the connection.
    pub response: Parts,
    /// How long it took until the head was there, in microseconds, without the time for which plugins had chunks of the request body.
    pub head_us: u64,
    /// Still on its way; empty after a switch of protocols.
    pub body: Body,
    /// The connection, where it is HTTP's no more.
    pub switched: Option<Box<Switched>>,
}

/// Sends a request and waits for the head of the response. Dropping the future cancels the request.
///
/// # Errors
///
/// There is no response that can be passed on: the upstream takes no requests, cannot be reached, or its response is malformed or
/// late. A response with an error status is none of these.
pub async fn send(
    upstream: &Upstream,
    mut outgoing: Outgoing<'_>,
    traffic: &Rc<Traffic>,
    deadlines: Deadlines,
) -> Result<UpstreamResponse, Refused> {
    if outgoing.method.is_idempotent() {
        // An idle connection that turns out to be closed then costs nothing: it can be sent again.
        outgoing.body.settle().await;
    }
    let mut permit = upstream.admit(deadlines.since)?;
    let Some(mut endpoint) = upstream.pick(outgoing.private, outgoing.key, deadlines.since) else {
        upstream.metrics.failed();
        return Err(Refused::new(Failure::NoEndpoint, "no endpoint is known"));
    };
    let timer = upstream.timers.timer();
    let (since, deadline) = (deadlines.since, deadlines.response);
    let result = match &upstream.model.retry {
        None => attempt(upstream, &mut endpoint, &mut outgoing, traffic, &timer, deadline, since).await,
        // Boxed, so that those who never retry do not carry what that takes.
        Some(policy) => {
            let (endpoint, outgoing) = (&mut endpoint, &mut outgoing);
            Box::pin(retry::until_done(upstream, policy, endpoint, outgoing, traffic, &deadlines, &timer)).await
        }
    };
    if let Some(permit) = &mut permit {
        match &result {
            Ok(answer) => permit.ended(Some(answer.head.status.is_server_error()), answer.at),
            Err(refused) => permit.ended(refused.failure.is_the_upstreams().then_some(true), Instant::now()),
        }
    }
    let ReceivedHead { head, incoming, at } = result?;
    let filtered = traffic.request_filters.spent(at);
    let head_us = at.saturating_duration_since(deadlines.since).saturating_sub(filtered).as_micros() as u64;
    let owner = outgoing.private.filter(|_| incoming.is_private()).map(PrivateConnections::owner);
    let lease = BodyLease { endpoint, owner, _permit: permit };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let Incoming::Http1(reading) = incoming else {
            // RFC 9113 §8.6 has no such response.
            return Err(Refused::new(Failure::UpstreamProtocol, "the upstream switched protocols in HTTP/2"));
        };
        let switched = Some(Box::new(Switched::new(reading, lease)));
        return Ok(UpstreamResponse { response: head, head_us, body: Body::Empty, switched });
    }
    let timeouts =
        BodyTimeouts { between: upstream.model.timeouts.body.unwrap_or(deadlines.body), total: deadlines.total };
    let body = UpstreamBody::wrap(incoming, lease, timer, traffic.clone(), timeouts);
    Ok(UpstreamResponse { response: head, head_us, body, switched: None })
}
