//! An exchange from its admission to its end. However it ends (answered, failed, cancelled because the
//! client left or the gateway went down), dropping it releases what it held, runs the observers and counts it, once.

use std::{rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use gateway_core::{error::Failure, model::Upgrade, timers::Timer};
use gateway_http::{body::Body, cookies::Joined, deadline::Deadline, grpc, interim::Interim};
use gateway_pipeline::{ExchangeOutcome, ExchangeSlot, Pipeline, Reply, ResponseHead};
use gateway_telemetry::{
    metrics::RouteMetrics,
    tail::Seen,
    trace::{self, Served},
};
use gateway_upstream::Switched;
use http::{Method, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;

use super::{Client, Delivery, Site, Worker, failure_response::FailureResponse, observing::observe};

pub(super) struct ActiveExchange {
    worker: Rc<Worker>,
    /// Absent where hyper never had a request.
    pub(super) client: Option<Rc<Client>>,
    pub(super) delivery: Option<Rc<Timer>>,
    /// Where the client can be told something before its response.
    pub(super) interim: Option<Rc<dyn Interim>>,
    pub(super) site: Rc<Site>,
    /// The position among the site's routes.
    pub(super) route: Option<usize>,
    pub(super) slot: ExchangeSlot,
    /// As the client sent it.
    pub(super) method: Method,
    pub(super) failure: Option<Failure>,
    /// The client reads a gRPC status and nothing else.
    pub(super) grpc: bool,
    /// The response is the gateway's own or a plugin's.
    pub(super) local: bool,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) upstream_us: Option<u64>,
    pub(super) plugins_us: u64,
    /// What the client may switch to, and asks for.
    pub(super) upgrade: Option<Upgrade>,
    /// The request's cookies, if they were joined: they count as held until it has ended.
    pub(super) cookies: Option<Rc<Joined>>,
    /// What the upstream calls a status, where that is not the usual name.
    pub(super) reason: Option<(StatusCode, ReasonPhrase)>,
    /// The upstream has switched.
    pub(super) switched: Option<Box<Switched>>,
    /// What was sent, once it was.
    pub(super) status: Option<StatusCode>,
    /// The response has been handed over whole.
    pub(super) whole: bool,
    /// The response's body, once hyper has it. Kept here, so that a response is small to move about.
    pub(super) body: Body,
    /// Of the body's last part, what was too much at once.
    pub(super) rest: Bytes,
}

impl ActiveExchange {
    pub(super) fn new(client: Rc<Client>, site: Rc<Site>, route: Option<usize>, slot: ExchangeSlot) -> Box<Self> {
        let Delivery { timer, interim } = client.lifeline.begin_exchange();
        let method = slot.request.method.clone();
        let grpc = grpc::is_call(slot.request.headers.others());
        Box::new(Self {
            worker: client.worker.clone(),
            client: Some(client),
            delivery: timer,
            interim: Some(interim),
            site,
            route,
            slot,
            method,
            failure: None,
            grpc,
            local: false,
            upstream: None,
            upstream_us: None,
            plugins_us: 0,
            upgrade: None,
            cookies: None,
            reason: None,
            switched: None,
            status: None,
            whole: false,
            body: Body::Empty,
            rest: Bytes::new(),
        })
    }

    /// An exchange that has ended before it began.
    pub(super) fn refused(worker: Rc<Worker>, site: Rc<Site>, slot: ExchangeSlot, failure: Failure) {
        let method = slot.request.method.clone();
        drop(Self {
            worker,
            client: None,
            delivery: None,
            interim: None,
            site,
            route: None,
            slot,
            method,
            failure: Some(failure),
            grpc: false,
            local: true,
            upstream: None,
            upstream_us: None,
            plugins_us: 0,
            upgrade: None,
            cookies: None,
            reason: None,
            switched: None,
            status: Some(failure.status()),
            whole: true,
            body: Body::Empty,
            rest: Bytes::new(),
        });
    }

    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    pub(super) fn pipeline<'a>(&self, site: &'a Site) -> &'a Pipeline {
        self.route.map_or(&site.unrouted.pipeline, |index| &site.routes[index].pipeline)
    }

    /// When the head of the response has to be there.
    pub(super) fn deadline(&self) -> Deadline {
        let own = self.route.map_or(self.site.config.timeouts.request, |index| self.site.routes[index].model.timeout);
        let asked = if self.grpc { grpc::timeout(self.slot.request.headers.others()) } else { None };
        let whole = self.route.and_then(|index| self.site.routes[index].model.total_timeout);
        Deadline { total: whole, ..Deadline::of(self.slot.started, own, asked) }
    }

    pub(super) fn metrics(&self) -> &RouteMetrics {
        let Some(index) = self.route else { return &self.site.unrouted.metrics };
        let route = &self.site.routes[index];
        route.metrics.get_or_init(|| self.site.metrics.route(self.site.worker, &route.model.name))
    }

    /// A stage's answer becomes the response.
    pub(super) fn reply(&mut self, reply: Reply) {
        self.local = true;
        self.slot.response = Some(ResponseHead { status: reply.status, headers: reply.headers });
        self.slot.response_body = if reply.body.is_empty() { Body::Empty } else { Body::Full(reply.body) };
    }

    /// The gateway's own response to the failure becomes the response.
    pub(super) fn fail(&mut self, failed: impl Into<FailureResponse>) {
        let failed = failed.into();
        self.failure = Some(failed.failure);
        self.local = true;
        if !failed.cause.is_empty() {
            self.log(failed.failure, &failed.cause);
        }
        let (head, body) = failed.response(&self.slot.id);
        self.slot.response = Some(head);
        self.slot.response_body = Body::Full(body);
    }

    fn log(&self, failure: Failure, cause: &str) {
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request = self.slot.id.to_str().unwrap_or_default(),
                    route = &*self.slot.route,
                    upstream = self.upstream.as_deref().unwrap_or_default(),
                    reason = failure.reason(),
                    "{cause}"
                )
            };
        }
        // Clients leave all the time; the access log has it.
        if failure.is_the_clients() { log!(debug) } else { log!(warn) }
    }

    /// What traces and the live view show of it.
    fn served(&self, outcome: &ExchangeOutcome) -> Served {
        let request = &self.slot.request;
        let route = self.route.map(|index| &self.site.routes[index].model);
        let is_error = |failure: Failure| failure.status().is_server_error() && failure != Failure::ClientClosed;
        Served {
            method: trace::clipped(self.method.as_str()),
            scheme: request.scheme,
            authority: trace::text(&request.authority),
            path: trace::clipped(self.slot.original_target().path()),
            protocol: match self.slot.protocol {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            client: self.slot.client.to_string(),
            user_agent: request.headers.value(&header::USER_AGENT).map(trace::text),
            request_id: trace::text(&self.slot.id),
            route: route.map(|route| (route.name.clone(), route.matches.path.text.clone())),
            status: outcome.status,
            failure: outcome.failure,
            failed: self.failure.is_some_and(is_error) || self.status.is_some_and(|status| status.is_server_error()),
            request_bytes: outcome.request_bytes,
            response_bytes: outcome.response_bytes,
        }
    }

    /// Why it ended before its end, where it did not fail itself.
    fn cut_off_by(&self) -> Failure {
        let is_late = self.delivery.as_ref().is_some_and(|timer| timer.has_passed());
        if self.worker.is_over() {
            Failure::Draining
        } else if is_late || self.client.as_ref().is_some_and(|client| client.lifeline.is_stalled()) {
            Failure::ClientTimeout
        } else {
            Failure::ClientClosed
        }
    }

    fn outcome(&self) -> ExchangeOutcome {
        let now = Instant::now();
        let traffic = &self.slot.traffic;
        let with_chunks = traffic.request_filters.spent(now) + traffic.response_filters.spent(now);
        ExchangeOutcome {
            status: self.status.map(|status| status.as_u16()),
            failure: self.failure.map(Failure::reason),
            upstream: self.upstream.clone(),
            request_bytes: self.slot.traffic.received.get(),
            response_bytes: self.slot.traffic.sent.get(),
            duration_us: now.saturating_duration_since(self.slot.started).as_micros() as u64,
            upstream_us: self.upstream_us,
            plugins_us: self.plugins_us + with_chunks.as_micros() as u64,
        }
    }
}

impl Drop for ActiveExchange {
    fn drop(&mut self) {
        // Its connection is free from here on, or given up.
        drop(std::mem::take(&mut self.body));
        // What it held, such as a place among concurrent requests, is free before the observers, which may wait.
        self.slot.drop_guards();
        if !self.whole && self.failure.is_none() {
            self.failure = Some(self.cut_off_by());
        }
        let outcome = self.outcome();
        let request_is_whole = self.slot.traffic.complete.get();
        self.metrics().finished(&self.method, outcome.status, outcome.duration_us);
        if let Some(failure) = self.failure {
            self.site.metrics.failed(failure);
        }
        if let Some(recorded) = &self.slot.trace {
            recorded.served(|| self.served(&outcome));
        }
        if self.site.tail.is_watched() {
            self.site.tail.tell(Seen {
                at: self.slot.received(),
                served: self.served(&outcome),
                upstream: outcome.upstream.clone(),
                duration_us: outcome.duration_us,
                upstream_us: outcome.upstream_us,
                plugins_us: outcome.plugins_us,
            });
        }
        if self.pipeline(&self.site).has_observers() {
            let exchange = self.slot.0.take();
            observe(&self.worker, self.site.clone(), self.route, ExchangeSlot(exchange), outcome);
        }
        if let Some(client) = &self.client {
            client.lifeline.end_exchange(request_is_whole);
        }
    }
}
