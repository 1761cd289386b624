//! A connection for a request: a shared one, a new one, or one that becomes free where there may be no more; to another endpoint
//! where the chosen one cannot be reached.

use std::{rc::Rc, time::Instant};

use gateway_core::error::{Failure, chain};
use gateway_telemetry::metrics::Rejection;
use smallvec::SmallVec;

use crate::{
    connections::{
        connect::Connected,
        incoming::Transport,
        permits::{ConnectionPermit, Waiting},
    },
    refused::Refused,
    worker::{Endpoint, InFlight, Opening, Upstream},
};

/// A new connection to the endpoint or, where it cannot be reached, to another one, which takes its place: nothing
/// has been sent yet. Where there may be no more connections, one that becomes free; then the second is true.
/// `alone` is for a connection that no other request has used or will use.
pub(crate) async fn acquire(
    upstream: &Upstream,
    endpoint: &mut InFlight,
    alone: bool,
) -> Result<(Transport, bool), Refused> {
    let mut tried: SmallVec<[Rc<Endpoint>; 4]> = SmallVec::new();
    loop {
        let _opening = match share(upstream, endpoint, alone).await {
            Ok(line) => return Ok((line, true)),
            Err(opening) => opening,
        };
        let place = match upstream.model.limits.connections {
            None => None,
            Some(most) => match wait_for_connection_permit(upstream, endpoint, most, alone).await? {
                Free::Transport(line) => return Ok((line, true)),
                Free::ConnectionPermit(place) => Some(place),
            },
        };
        let began = Instant::now();
        let connecting = endpoint.address.connect(Some(&upstream.metrics), place, &upstream.open);
        let attempt = tokio::time::timeout(upstream.model.timeouts.connect, connecting).await;
        let (failure, cause) = match attempt {
            Ok(Ok(Connected::Http1(connection))) => return Ok((Transport::Http1(connection), false)),
            Ok(Ok(Connected::Http2(mux))) => match if alone { mux.slot() } else { endpoint.share(mux) } {
                Some(slot) => return Ok((Transport::Http2(slot), false)),
                None => (Failure::UpstreamClosed, "the upstream went away at once".to_owned()),
            },
            Ok(Err(error)) => (Failure::UpstreamUnreachable, chain(&error)),
            Err(_) => (Failure::UpstreamConnectTimeout, format!("within {:?}", upstream.model.timeouts.connect)),
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
async fn share(upstream: &Upstream, endpoint: &InFlight, alone: bool) -> Result<Transport, Option<Opening>> {
    if alone || !upstream.model.protocol.shares_connections() {
        return Err(None);
    }
    loop {
        match Opening::begin(endpoint.endpoint()) {
            Some(opening) => return Err(Some(opening)),
            // The opener gives up after this time too.
            None => drop(tokio::time::timeout(upstream.model.timeouts.connect, endpoint.opened()).await),
        }
        if let Some(line) = endpoint.take_idle() {
            return Ok(line);
        }
    }
}

enum Free {
    Transport(Transport),
    ConnectionPermit(ConnectionPermit),
}

/// Room for one more connection, or one that has become free meanwhile.
async fn wait_for_connection_permit(
    upstream: &Upstream,
    endpoint: &InFlight,
    most: usize,
    alone: bool,
) -> Result<Free, Refused> {
    let (counts, open) = (&upstream.cluster.load.connections, &upstream.open);
    if let Some(place) = ConnectionPermit::take(counts, open, most) {
        return Ok(Free::ConnectionPermit(place));
    }
    let Some(waiting) = Waiting::queue(counts, open, upstream.model.limits.pending) else {
        upstream.metrics.rejected(Rejection::Pending);
        return Err(Refused::unsent(Failure::UpstreamBusy, ""));
    };
    loop {
        // It may be that all the room is taken by connections that are idle and of no use for this request.
        upstream.make_room_for(endpoint.endpoint());
        waiting.turn().await;
        if !alone && let Some(line) = endpoint.take_idle() {
            return Ok(Free::Transport(line));
        }
        if let Some(place) = ConnectionPermit::take(counts, open, most) {
            return Ok(Free::ConnectionPermit(place));
        }
    }
}
