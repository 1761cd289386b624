//! Sending a request once: on an idle connection or a new one, and once more where the upstream closed an idle connection just as
//! it was used.

use std::{fmt, future::poll_fn, pin::pin, time::Instant};

use gateway_core::{
    error::{Failure, chain},
    model::HostHeader,
    timers::Timer,
};
use gateway_http::{
    authentication,
    body::Traffic,
    deadline::{Deadline, Limit},
};
use gateway_telemetry::trace::{self, Tried};
use http::response::Parts;

use super::{acquire::acquire, head, request::Outgoing};
use crate::{
    connections::{
        broken::Broken,
        incoming::{Incoming, Transport},
        request_head::RequestHead,
    },
    refused::Refused,
    worker::{Endpoint, InFlight, PrivateConnections, Upstream},
};

/// The head of a response, and what its body comes by.
pub(crate) struct ReceivedHead {
    pub(crate) head: Parts,
    pub(crate) incoming: Incoming,
    /// When the head was there.
    pub(crate) at: Instant,
}

/// Sends a request once, `began` now, and waits until the deadline, or for as long as the upstream may take each time.
/// `endpoint` is the one to begin with; it becomes the one that was asked.
pub(crate) async fn attempt(
    upstream: &Upstream,
    endpoint: &mut InFlight,
    outgoing: &mut Outgoing<'_>,
    traffic: &Traffic,
    timer: &Timer,
    deadline: Deadline,
    began: Instant,
) -> Result<ReceivedHead, Refused> {
    let filtered = traffic.request_filters.spent(began);
    let own = upstream.model.timeouts.response.map(|limit| Deadline::new(began, Some(limit)));
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
    // What plugins did with chunks of the request body meanwhile is not the upstream's.
    let filtered = traffic.request_filters.spent(at).saturating_sub(filtered);
    let head_us = at.saturating_duration_since(began).saturating_sub(filtered).as_micros() as u64;
    upstream.metrics.responded(head.status.as_u16(), head_us);
    let status = head.status.as_u16();
    let judged = head::judge(&mut head, outgoing.upgrade);
    record(upstream, endpoint, outgoing, at, Some(status), judged.is_err().then_some(Failure::UpstreamProtocol));
    upstream.observe(endpoint, judged.is_err() || head.status.is_server_error(), at);
    judged.map_err(|cause| Refused::new(Failure::UpstreamProtocol, cause))?;
    Ok(ReceivedHead { head, incoming, at })
}

/// Records how an attempt ended, if it is traced.
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
    if traffic.request_filters.is_running() {
        let cause = format!("a plugin still had a chunk of the request body after {waited:.1?} ({name})");
        return Refused::new(Failure::PluginFailed, cause);
    }
    let failure = if limit == Limit::Total && !is_own { Failure::TotalTimeout } else { Failure::UpstreamTimeout };
    Refused::new(failure, format!("no response after {waited:.1?} ({name})"))
}

/// The head of a response, and the rest of it to come. `endpoint` is the one to begin with; it becomes the one that
/// was asked.
async fn exchange(
    upstream: &Upstream,
    endpoint: &mut InFlight,
    outgoing: &mut Outgoing<'_>,
    traffic: &Traffic,
) -> Result<(Parts, Incoming), Refused> {
    let preserve_host = upstream.model.host == HostHeader::Preserve;
    // HTTP/1.1 connections become private as they are used; one of HTTP/2 must not have others' requests to begin with.
    let alone =
        upstream.model.protocol.shares_connections() && authentication::has_credentials_of_connection(outgoing.headers);
    let mut retried = false;
    loop {
        // After one idle connection turned out to be closed, the others are not used either.
        let idle = if retried { None } else { idle(endpoint, outgoing.private, alone) };
        let (line, reused) = match idle {
            Some(line) => (line, true),
            // Boxed, because a handshake is large, rare, and would make every exchange's future as large.
            None => Box::pin(acquire(upstream, endpoint, alone)).await?,
        };
        // An idle connection may have been closed by the upstream an instant ago, which is no failure of the request. A stream on
        // a shared connection may be refused unprocessed. In both cases the request is sent once more, which needs its body
        // again. So the copy is made before the body is given away: afterwards it is a stream that has been read in part, and
        // how much of it has reached the upstream is not known. A body that is not at hand (`copy` is `None`) is never sent
        // twice. To collect it in case of need would hold every upload in memory, and to send its rest would be another request.
        //
        // That a copy exists does not decide whether it may be used. `Unsent` has its own body back and needs none.
        // `Unprocessed` is a statement of the upstream and holds for every method. `Closed` is none: the upstream may have acted
        // on the request before the connection broke. Only an idempotent method may be repeated then, and only on a connection
        // that was reused; on a new one the end is an answer of the upstream, and repeating the request would double its load.
        let may_go_again = !retried && (reused || matches!(line, Transport::Http2(_)));
        let copy = if may_go_again { outgoing.copy() } else { None };
        let mut body = std::mem::take(&mut outgoing.body);
        let expects_continue = body.awaits_continue();
        let head = RequestHead { expects_continue, ..outgoing.head(endpoint, preserve_host) };
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

/// A connection that is there already: this client's own, or one without an owner.
fn idle(endpoint: &InFlight, private: Option<&PrivateConnections>, alone: bool) -> Option<Transport> {
    let own = private.and_then(|private| private.take(endpoint)).map(Transport::Http1);
    own.or_else(|| if alone { None } else { endpoint.take_idle() })
}

fn refused(broken: &Broken, traffic: &Traffic) -> Refused {
    let noticed = match broken {
        Broken::Malformed(_) | Broken::Unsendable(_) => Failure::UpstreamProtocol,
        Broken::Busy => Failure::UpstreamBusy,
        _ => Failure::UpstreamClosed,
    };
    Refused::new(traffic.failure_behind(noticed), chain(broken))
}
