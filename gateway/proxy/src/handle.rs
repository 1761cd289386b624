//! The story of a request, top to bottom: admitted, routed, through the stages, to the upstream, back
//! through the stages that ran, and in every case to its end in `active_exchange`.

use std::{convert::Infallible, rc::Rc};

use gateway_core::error::Failure;
use gateway_http::{deadline::Deadline, from_client::FromClient, interim};
use gateway_pipeline::{Phase, ResponseHead, Verdict};
use gateway_upstream::Upstream;
use http::{Request, Response, StatusCode, Version, response::Parts};

use super::{
    Client, ResponseBody, Site, SiteRoute, active_exchange::ActiveExchange, admit, background,
    failure_response::FailureResponse, forward, handler, messages, outgoing, site::Next, tunnel,
};

/// Answers one request. There is always a response: failures become problem details (RFC 9457).
pub async fn handle(client: Rc<Client>, request: Request<FromClient>) -> Result<Response<ResponseBody>, Infallible> {
    let site = client.worker.site();
    let (mut active, failed) = admit::admit(client, site, request);
    match failed {
        Some(failed) if !matches!(failed.failure, Failure::NoRoute | Failure::MethodNotAllowed) => {
            refuse(&mut active, failed).await;
        }
        unrouted => process(&mut active, unrouted).await,
    }
    if let Some(upstream) = active.switched.take()
        && active.slot.response.as_ref().is_some_and(|head| head.status == StatusCode::SWITCHING_PROTOCOLS)
    {
        return Ok(tunnel::begin(active, upstream));
    }
    Ok(outgoing::respond(active).map(ResponseBody::Exchange))
}

/// The request is sound. Where it has no route, the global plugins see it all the same: who may ask, and what is on the
/// response, does not depend on whether there is something at that path.
async fn process(active: &mut ActiveExchange, unrouted: Option<FailureResponse>) {
    let site = active.site.clone();
    let pipeline = active.pipeline(&site);
    let deadline = active.deadline();
    let passed = pipeline.request(&mut active.slot, deadline).await;
    active.plugins_us = passed.micros;
    match (passed.verdict, unrouted) {
        (Verdict::Forward, Some(failed)) => active.fail(failed),
        (Verdict::Forward, None) => to_target(active, &site, deadline).await,
        (Verdict::Reply(reply), _) => {
            active.reply(*reply);
            if let (Some(again), Some(route)) = (active.slot.background.take(), active.route) {
                background::run(active.worker(), &site, route, *again);
            }
        }
        (Verdict::Failed(failure), _) => active.fail(failure),
    }
    go_back(active, passed.ran, deadline).await;
}

/// The head of the request is not acceptable. Plugins are not asked about a request that may mean something else to each
/// of them, but the response passes the global ones, so that it looks like every other.
async fn refuse(active: &mut ActiveExchange, failed: FailureResponse) {
    active.fail(failed);
    let deadline = active.deadline();
    let end = active.site.unrouted.pipeline.end();
    go_back(active, end, deadline).await;
}

/// Through the response phase of the stages before `ran`. Where one of them fails, the gateway's own response takes the
/// place of what there was, and passes the stages before that one.
async fn go_back(active: &mut ActiveExchange, mut ran: usize, deadline: Deadline) {
    let site = active.site.clone();
    let pipeline = active.pipeline(&site);
    active.slot.phase = Phase::Response;
    loop {
        let returned = pipeline.response(ran, &mut active.slot, deadline).await;
        active.plugins_us += returned.micros;
        let Some((position, failure)) = returned.failed else { break };
        active.fail(failure);
        ran = position;
    }
}

/// To the route's target, and back with the head of its response.
async fn to_target(active: &mut ActiveExchange, site: &Site, deadline: Deadline) {
    let Some(route) = active.route.map(|index| &site.routes[index]) else {
        return active.fail(FailureResponse::new(Failure::Internal, "no route at forwarding"));
    };
    // One that has been read whole is at hand, and another one may have taken its place.
    if !active.slot.request_body.is_buffered()
        && let Some(failure) = active.slot.traffic.failure()
    {
        return active.fail(failure);
    }
    match site.next(route, &active.slot) {
        Next::Upstream(upstream) => to_upstream(active, site, route, upstream, deadline).await,
        Next::Handler(handler) => match handler::run(handler, &mut active.slot, deadline).await {
            Ok(reply) => active.reply(reply),
            Err(failed) => active.fail(failed),
        },
    }
}

async fn to_upstream(
    active: &mut ActiveExchange,
    site: &Site,
    route: &SiteRoute,
    upstream: &Rc<Upstream>,
    deadline: Deadline,
) {
    active.upstream = Some(upstream.model.name.clone());
    let client = active.client.clone();
    let private = client.as_ref().and_then(|client| client.private(&site.config, active.slot.protocol));
    let interim = active.interim.clone().filter(|_| active.slot.protocol >= Version::HTTP_11);
    let pass_on = |head: &Parts| {
        if let (Some(client), Some(fields)) = (&interim, interim::forwarded(head.status, &head.headers)) {
            client.send(head.status, &fields);
        }
    };
    let route_to = forward::RouteTo { site, route, upstream, private, interim: &pass_on };
    let filters_messages = route.pipeline.filters_messages();
    if filters_messages {
        messages::prepare(&mut active.slot, active.upgrade);
    }
    match forward::send(route_to, &mut active.slot, active.upgrade, deadline).await {
        Ok(sent) if filters_messages && messages::has_extensions(&sent) => {
            let cause = "the upstream negotiated WebSocket extensions, which the gateway did not offer";
            active.fail(FailureResponse::new(Failure::UpstreamProtocol, cause));
        }
        Ok(sent) => {
            let exchange = &mut *active.slot;
            active.upstream_us = Some(sent.head_us);
            let mut head = sent.response;
            active.reason = head.extensions.remove().map(|reason| (head.status, reason));
            active.switched = sent.switched;
            exchange.response = Some(ResponseHead { status: head.status, headers: head.headers });
            exchange.response_body = sent.body;
        }
        Err(refused) => active.fail(refused),
    }
}
