//! The story of a request, top to bottom: admitted, routed, through the stages, to the upstream, back
//! through the stages that ran, and in every case to its end in `ongoing`.

mod admit;
mod affinity;
mod answer;
mod behind;
mod client;
mod forward;
mod observing;
mod ongoing;
mod site;
mod tunnel;

use std::{convert::Infallible, rc::Rc};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

pub use admit::refused_by_parser;
pub use behind::Errands;
pub use client::Client;
pub use observing::Observing;
pub use site::{Site, SiteRoute, SiteUnrouted, Target, Worker};
pub use tunnel::{Answer, Parting, Tunnel};

use crate::{
    error::Failure,
    http::deadline::Deadline,
    pipeline::{FailureKind, Phase, ResponseHead, Verdict},
    timers::Timer,
};
use ongoing::Ongoing;

/// Whoever holds the connection wants to know when it is at rest.
pub trait Lifeline {
    /// The timer by which the client has to take each part of the response, where the connection as a whole
    /// cannot tell whether it does.
    fn begin_exchange(&self) -> Option<Rc<Timer>>;
    /// `request_is_whole` unless part of the request's body is left on the connection.
    fn end_exchange(&self, request_is_whole: bool);
    /// When the response has been sent, the connection is the tunnel's.
    fn switch(&self, tunnel: Tunnel);
}

/// Answers one request. There is always a response: failures become problem details (RFC 9457).
pub async fn handle(client: Rc<Client>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let site = client.worker.site();
    let mut ongoing = admit::admit(client, site, request);
    if let Some(failure) = ongoing.failure {
        ongoing.fail(failure, "");
    } else {
        process(&mut ongoing).await;
    }
    if let Some(upstream) = ongoing.switched.take()
        && ongoing.slot.response.as_ref().is_some_and(|head| head.status == StatusCode::SWITCHING_PROTOCOLS)
    {
        return Ok(tunnel::begin(ongoing, upstream));
    }
    Ok(ongoing.respond().map(Answer::Exchange))
}

/// The request has a route.
async fn process(ongoing: &mut Ongoing) {
    let site = ongoing.site.clone();
    let pipeline = ongoing.pipeline(&site);
    let deadline = ongoing.deadline();
    let passed = pipeline.request(&mut ongoing.slot, deadline).await;
    ongoing.plugins_us = passed.micros;
    match passed.verdict {
        Verdict::Forward => to_upstream(ongoing, &site, deadline).await,
        Verdict::Reply(reply) => {
            ongoing.reply(reply);
            if let (Some(again), Some(route)) = (ongoing.slot.behind.take(), ongoing.route) {
                behind::run(ongoing.worker(), &site, route, *again);
            }
        }
        Verdict::Failed(kind) => {
            let failure = plugin_failure(ongoing, kind);
            ongoing.fail(failure, "");
        }
    }
    ongoing.slot.phase = Phase::Response;
    let returned = pipeline.response(passed.ran, &mut ongoing.slot, deadline).await;
    ongoing.plugins_us += returned.micros;
    if let Some(kind) = returned.failed {
        let failure = plugin_failure(ongoing, kind);
        ongoing.fail(failure, "");
    }
}

/// To the upstream, and back with the head of its response.
async fn to_upstream(ongoing: &mut Ongoing, site: &Site, deadline: Deadline) {
    let Some(route) = ongoing.route.map(|index| &site.routes[index]) else {
        return ongoing.fail(Failure::Internal, "no route at forwarding");
    };
    let Some(upstream) = route.target.upstream() else {
        return match answer::answer(&route.model.action, &ongoing.slot.request) {
            Some(reply) => ongoing.reply(reply),
            None => ongoing.fail(Failure::Internal, "a route leads nowhere"),
        };
    };
    // A plugin has read the body as far as it went: no endpoint need be troubled with that.
    if !ongoing.slot.request_body.is_buffered()
        && let Some(failure) = ongoing.slot.traffic.failure()
    {
        return ongoing.fail(failure, "");
    }
    ongoing.upstream = Some(upstream.model.name.clone());
    match forward::send(site, route, upstream, &mut ongoing.slot, ongoing.upgrade, deadline).await {
        Ok(sent) => {
            let exchange = &mut *ongoing.slot;
            ongoing.upstream_us = Some(sent.head_us);
            let head = sent.response;
            ongoing.switched = sent.switched;
            exchange.response = Some(ResponseHead { status: head.status, headers: head.headers });
            exchange.response_body = sent.body;
        }
        Err(refused) => {
            ongoing.fail(refused.failure, &refused.cause);
            if let Some(after) = refused.retry_after {
                ongoing.retry_after(after);
            }
        }
    }
}

fn plugin_failure(ongoing: &Ongoing, kind: FailureKind) -> Failure {
    let traffic = &ongoing.slot.traffic;
    // The plugin could not help it: the client's body was at fault.
    if let Some(failure) = traffic.failure() {
        return failure;
    }
    match kind {
        // It waited for a body that kept coming, too slowly.
        FailureKind::Timeout if traffic.awaited.get() => Failure::BodyTimeout,
        FailureKind::Busy => Failure::PluginBusy,
        FailureKind::Error | FailureKind::Trap | FailureKind::Timeout | FailureKind::Memory => Failure::PluginFailed,
    }
}
