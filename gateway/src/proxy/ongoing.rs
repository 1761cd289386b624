//! An exchange from its admission to its end. However it ends (answered, failed, cancelled because the
//! client left or the gateway went down), dropping it runs the observers and counts it, once.

use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Client, Site};
use crate::{
    error::Failure,
    http::{
        body::{Body, BodyError},
        reply,
        request_id::X_REQUEST_ID,
    },
    pipeline::{Outcome, Pipeline, Reply, ResponseHead, Slot},
    telemetry::metrics::RouteMetrics,
};

pub(super) struct Ongoing {
    /// Absent where hyper never had a request.
    client: Option<Rc<Client>>,
    pub(super) site: Rc<Site>,
    /// The position among the site's routes.
    pub(super) route: Option<usize>,
    pub(super) slot: Slot,
    /// As the client sent it.
    method: Method,
    pub(super) failure: Option<Failure>,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) upstream_us: Option<u64>,
    pub(super) plugins_us: u64,
    /// What was sent, once it was.
    status: Option<StatusCode>,
    /// The response has been handed over whole.
    whole: bool,
}

impl Ongoing {
    pub(super) fn new(client: Rc<Client>, site: Rc<Site>, route: Option<usize>, slot: Slot) -> Box<Self> {
        client.lifeline.begin_exchange();
        let method = slot.request.method.clone();
        Box::new(Self {
            client: Some(client),
            site,
            route,
            slot,
            method,
            failure: None,
            upstream: None,
            upstream_us: None,
            plugins_us: 0,
            status: None,
            whole: false,
        })
    }

    /// An exchange that has ended before it began.
    pub(super) fn refused(site: Rc<Site>, slot: Slot, failure: Failure) {
        let method = slot.request.method.clone();
        drop(Self {
            client: None,
            site,
            route: None,
            slot,
            method,
            failure: Some(failure),
            upstream: None,
            upstream_us: None,
            plugins_us: 0,
            status: Some(failure.status()),
            whole: true,
        });
    }

    pub(super) fn pipeline<'a>(&self, site: &'a Site) -> &'a Pipeline {
        self.route.map_or(&site.unrouted.pipeline, |index| &site.routes[index].pipeline)
    }

    fn metrics(&self) -> &RouteMetrics {
        self.route.map_or(&self.site.unrouted.metrics, |index| &self.site.routes[index].metrics)
    }

    /// A stage's answer becomes the response.
    pub(super) fn reply(&mut self, reply: Reply) {
        self.slot.response = Some(ResponseHead { status: reply.status, headers: reply.headers });
        self.slot.response_body = if reply.body.is_empty() { Body::Empty } else { Body::Full(reply.body) };
    }

    /// The gateway's own answer becomes the response. The cause is for the log only.
    pub(super) fn fail(&mut self, failure: Failure, cause: &str) {
        self.failure = Some(failure);
        if !cause.is_empty() {
            tracing::warn!(
                request = self.slot.id.to_str().unwrap_or_default(),
                route = &*self.slot.route,
                upstream = self.upstream.as_deref().unwrap_or_default(),
                reason = failure.reason(),
                "{cause}"
            );
        }
        let allow = self.slot.response.take().filter(|_| failure == Failure::MethodNotAllowed);
        let problem = reply::problem(failure, &self.slot.id);
        let (problem, body) = problem.into_parts();
        let mut headers = problem.headers;
        if let Some(allow) = allow.as_ref().and_then(|head| head.headers.get(header::ALLOW)) {
            headers.insert(header::ALLOW, allow.clone());
        }
        self.slot.response = Some(ResponseHead { status: problem.status, headers });
        self.slot.response_body = Body::Full(body);
    }

    /// The response as hyper shall send it. From here on the exchange lives in its body.
    pub(super) fn respond(mut self: Box<Self>) -> Response<OutgoingBody> {
        let head = self.slot.response.take();
        let keep = self.pipeline(&self.site).has_observers();
        let (status, mut headers) = match head {
            Some(head) => {
                if keep {
                    self.slot.response = Some(head.clone());
                }
                (head.status, head.headers)
            }
            None => (StatusCode::INTERNAL_SERVER_ERROR, http::HeaderMap::new()),
        };
        let mut body = std::mem::take(&mut self.slot.response_body);
        if status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || self.slot.request.method == Method::HEAD
        {
            // RFC 9110 §6.4.1: these have no body, whatever a plugin or an upstream says. A stream that is
            // dropped here gives up its connection.
            body = Body::Empty;
            if status == StatusCode::NO_CONTENT {
                headers.remove(header::CONTENT_LENGTH);
            }
        }
        headers.entry(X_REQUEST_ID).or_insert_with(|| self.slot.id.clone());
        if self.slot.protocol <= Version::HTTP_11 && self.failure.is_some_and(Failure::ends_connection) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.status = Some(status);
        self.whole = body.is_end_stream();
        let mut response = Response::new(OutgoingBody { body, ongoing: self });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            status: self.status.map(|status| status.as_u16()),
            failure: self.failure.map(Failure::reason),
            upstream: self.upstream.clone(),
            request_bytes: self.slot.traffic.received.get(),
            response_bytes: self.slot.traffic.sent.get(),
            duration_us: self.slot.started.elapsed().as_micros() as u64,
            upstream_us: self.upstream_us,
            plugins_us: self.plugins_us,
        }
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if !self.whole && self.failure.is_none() {
            self.failure = Some(Failure::ClientClosed);
        }
        let outcome = self.outcome();
        let request_is_whole = self.slot.traffic.complete.get();
        self.metrics().finished(&self.method, outcome.status, outcome.duration_us);
        if let Some(failure) = self.failure {
            self.site.metrics.failed(failure);
        }
        if self.pipeline(&self.site).has_observers() {
            let exchange = self.slot.0.take();
            observe(self.site.clone(), self.route, Slot(exchange), outcome);
        }
        if let Some(client) = &self.client {
            client.lifeline.end_exchange(request_is_whole);
        }
    }
}

/// Runs the observers: at once as far as they do not wait, the rest as a task, for which nobody waits.
fn observe(site: Rc<Site>, route: Option<usize>, mut slot: Slot, outcome: Outcome) {
    let mut observing = Box::pin(async move {
        let pipeline = route.map_or(&site.unrouted.pipeline, |index| &site.routes[index].pipeline);
        pipeline.complete(&mut slot, &outcome).await;
    });
    if observing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        tokio::task::spawn_local(observing);
    }
}

/// The body of a response on its way to the client.
pub struct OutgoingBody {
    body: Body,
    ongoing: Box<Ongoing>,
}

impl HttpBody for OutgoingBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let this = &mut *self;
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let sent = &this.ongoing.slot.traffic.sent;
                    sent.set(sent.get() + data.len() as u64);
                }
                // After trailers nothing follows, and hyper does not ask once more.
                this.ongoing.whole = frame.is_trailers() || this.body.is_end_stream();
            }
            Some(Err(error)) => {
                let failure = match error {
                    BodyError::Stalled => Failure::UpstreamTimeout,
                    BodyError::Interrupted(_) | BodyError::TooLarge(_) => Failure::UpstreamClosed,
                };
                this.ongoing.failure = Some(failure);
                tracing::warn!(
                    request = this.ongoing.slot.id.to_str().unwrap_or_default(),
                    reason = failure.reason(),
                    "the response was cut off: {error}"
                );
            }
            None => this.ongoing.whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
