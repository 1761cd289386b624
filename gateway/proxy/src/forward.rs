//! From an exchange to its upstream.

use gateway_core::model::Upgrade;
use gateway_http::deadline::Deadline;
use gateway_pipeline::Exchange;
use gateway_telemetry::trace::Tries;
use gateway_upstream as upstream;
use gateway_upstream::{Deadlines, Outgoing, PrivateConnections, Refused, Upstream, UpstreamResponse};
use http::response::Parts;

use super::{Site, SiteRoute, affinity};

/// Where a request goes, and on whose behalf.
pub(super) struct RouteTo<'a> {
    pub(super) site: &'a Site,
    pub(super) route: &'a SiteRoute,
    pub(super) upstream: &'a Upstream,
    pub(super) private: Option<&'a PrivateConnections>,
    /// Gets what comes before the response.
    pub(super) interim: &'a dyn Fn(&Parts),
}

/// Sends the request as it is now, and waits for the head of the response.
pub(super) async fn send(
    route_to: RouteTo<'_>,
    exchange: &mut Exchange,
    upgrade: Option<Upgrade>,
    deadline: Deadline,
) -> Result<UpstreamResponse, Refused> {
    let RouteTo { site, route, upstream, private, interim } = route_to;
    let key = affinity::key(&upstream.model.balance, exchange);
    let body = exchange.take_request_body();
    let outgoing = Outgoing {
        method: &exchange.request.method,
        target: &exchange.request.target,
        headers: exchange.request.headers.others(),
        forwarding: exchange.request.headers.forwarding(),
        authority: &exchange.request.authority,
        upgrade,
        key,
        private,
        interim: Some(interim),
        body,
        tries: exchange.trace.as_ref().map(Tries::of),
    };
    // The last stage's end, or the exchange's beginning where none ran: it is not later than that, and a clock is not free.
    let since = exchange.mark;
    let deadlines = Deadlines {
        since,
        response: deadline,
        body: site.config.timeouts.body,
        total: route.model.total_timeout.map(|total| exchange.started + total),
    };
    upstream::send(upstream, outgoing, &exchange.traffic, deadlines).await
}
