//! Requests that are made once more when the client has its answer: a stage has answered with what it had, and wants
//! the present response for later requests. They are no client's, so they are neither counted nor observed.

use std::{rc::Rc, time::Instant};

use gateway_http::{body::Body, deadline::Deadline};
use gateway_pipeline::{Exchange, ExchangeSlot, Phase, ResponseHead, Verdict};
use http_body_util::BodyExt;

use super::{Site, Worker, forward, site::Next};

/// Of one worker, at a time. What would be more is left out: the next request will want it again.
const AT_A_TIME: usize = 64;

/// Must be called within the worker's `LocalSet`; when that is dropped, so are its background requests.
pub(super) fn run(worker: &Rc<Worker>, site: &Rc<Site>, route: usize, exchange: Exchange) {
    if worker.background_requests.running() >= AT_A_TIME {
        return;
    }
    let running = worker.background_requests.begin();
    let site = site.clone();
    tokio::task::spawn_local(async move {
        let request = exchange.id.clone();
        if let Err(failed) = go(&site, route, ExchangeSlot::new(exchange)).await {
            let (request, route) = (request.to_str().unwrap_or_default(), &*site.routes[route].model.name);
            tracing::debug!(request, route, "background revalidation failed: {failed}");
        }
        drop(running);
    });
}

async fn go(site: &Site, route: usize, mut slot: ExchangeSlot) -> Result<(), &'static str> {
    let route = &site.routes[route];
    let first = slot.stage;
    // No client ends it, so there is always a limit.
    let limit = route.model.timeout.bounded();
    let deadline = Deadline::new(Instant::now(), Some(limit));
    let passed = route.pipeline.request_from(first, &mut slot, deadline).await;
    match passed.verdict {
        Verdict::Forward => {
            let Next::Upstream(upstream) = site.next(route, &slot) else { return Err("the route has no upstream") };
            let route_to = forward::RouteTo { site, route, upstream, private: None, interim: &|_| {} };
            let sent = forward::send(route_to, &mut slot, None, deadline).await;
            let sent = sent.map_err(|refused| refused.failure.reason())?;
            slot.response = Some(ResponseHead { status: sent.response.status, headers: sent.response.headers });
            slot.response_body = sent.body;
        }
        Verdict::Reply(_) => return Err("a later plugin answered"),
        Verdict::Failed(_) => return Err("a plugin failed"),
    }
    slot.phase = Phase::Response;
    let returned = route.pipeline.response_between(first, passed.ran, &mut slot, deadline).await;
    if returned.failed.is_some() {
        return Err("a plugin failed");
    }
    let body = std::mem::take(&mut slot.response_body);
    // For the body as long as for the head.
    tokio::time::timeout(limit, drain(body)).await.map_err(|_| "the body did not end within `timeouts.request`")
}

/// The body is cached while it is read, so it has to be read to its end.
async fn drain(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}
