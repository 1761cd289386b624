//! From an exchange to its upstream.

use std::time::Instant;

use super::{Site, SiteRoute, affinity};
use crate::{
    config::model::Upgrade,
    pipeline::Exchange,
    telemetry::trace::Tries,
    upstream::{self, Outgoing, Patience, Refused, Sent, Upstream},
};

/// Sends the request as it is now, and waits for the head of the response.
pub(super) async fn send(
    site: &Site,
    route: &SiteRoute,
    upstream: &Upstream,
    exchange: &mut Exchange,
    upgrade: Option<Upgrade>,
    until: Instant,
) -> Result<Sent, Refused> {
    let key = affinity::key(&upstream.model.balance, exchange);
    let outgoing = Outgoing {
        method: &exchange.request.method,
        target: &exchange.request.target,
        headers: &exchange.request.headers,
        authority: &exchange.request.authority,
        upgrade,
        key,
        body: std::mem::take(&mut exchange.request_body),
        tries: exchange.trace.as_ref().map(Tries::of),
    };
    // Where no stage ran in between, it is not later than the exchange's beginning, and a clock is not free.
    let since = if route.pipeline.has_request_stages() { Instant::now() } else { exchange.started };
    let patience = Patience {
        since,
        response: until.saturating_duration_since(since),
        body: site.config.timeouts.body,
        whole: route.model.whole_timeout.map(|whole| exchange.started + whole),
    };
    upstream::send(upstream, outgoing, &exchange.traffic, patience).await
}
