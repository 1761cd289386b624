//! From an exchange to its upstream.

use super::{Site, SiteRoute, affinity};
use crate::{
    config::model::Upgrade,
    http::deadline::Deadline,
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
    deadline: Deadline,
) -> Result<Sent, Refused> {
    let key = affinity::key(&upstream.model.balance, exchange);
    let body = exchange.take_request_body();
    let outgoing = Outgoing {
        method: &exchange.request.method,
        target: &exchange.request.target,
        headers: &exchange.request.headers,
        authority: &exchange.request.authority,
        upgrade,
        key,
        body,
        tries: exchange.trace.as_ref().map(Tries::of),
    };
    // The last stage's end, or the exchange's beginning where none ran: it is not later than that, and a clock is not free.
    let since = exchange.mark;
    let patience = Patience {
        since,
        response: deadline,
        body: site.config.timeouts.body,
        whole: route.model.whole_timeout.map(|whole| exchange.started + whole),
    };
    upstream::send(upstream, outgoing, &exchange.traffic, patience).await
}
