//! Exchanges as tests read them.

use std::{cell::RefCell, time::Duration};

use gateway_rules::{
    bounds::{Bounds, Received, Room},
    fields::request_values,
    messages::{self, MessageStream},
    reply,
};
use http::{HeaderValue, header::CONTENT_LENGTH};

use super::{
    TestHost,
    cache::Waiting,
    head::{self, Phase, RawRequest, RawResponse, RequestHead, ResponseHead},
    leases::{Holds, release_leases},
    message::{TestRequest, TestResponse},
};
use crate::{Body, BodyError, Decision, Error, Outcome, Reply, Request, Response, ResponseDecision, body::Fields};

/// A request and what became of it.
#[derive(Debug, Clone)]
pub struct TestExchange {
    request: RequestHead,
    response: Option<ResponseHead>,
    reply: Option<Reply>,
    pub(super) request_next: Next,
    pub(super) response_next: Next,
    /// Of bodies that pass through the plugin: the last one.
    request_state: Option<Vec<u8>>,
    response_state: Option<Vec<u8>>,
    message_state: Option<Vec<u8>>,
    holds: Holds,
}

/// What the plugin decided about a body, until that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    ReadBody,
    StreamBody,
    StreamMessages,
    AwaitRelease,
}

impl From<&Decision> for Next {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::ReadBody => Self::ReadBody,
            Decision::StreamBody(_) => Self::StreamBody,
            Decision::AwaitRelease => Self::AwaitRelease,
            Decision::Next | Decision::Respond(_) => Self::Nothing,
        }
    }
}

impl From<&ResponseDecision> for Next {
    fn from(decision: &ResponseDecision) -> Self {
        match decision {
            ResponseDecision::ReadBody => Self::ReadBody,
            ResponseDecision::StreamBody(_) => Self::StreamBody,
            ResponseDecision::StreamMessages(_) => Self::StreamMessages,
            ResponseDecision::Next => Self::Nothing,
        }
    }
}

fn read(bytes: &[u8], trailers: &Fields, interrupted: Option<&String>, bounds: &Bounds) -> Result<Body, BodyError> {
    bounds.check_body(bytes.len()).map_err(BodyError::TooLarge)?;
    match interrupted {
        Some(why) => Err(BodyError::Interrupted(why.clone())),
        None => Ok(Body { bytes: bytes.to_vec(), trailers: trailers.clone() }),
    }
}

impl TestExchange {
    /// An exchange whose request phase is over, for plugins that take no part in it.
    pub fn new(request: TestRequest) -> Self {
        Self::begin(request, Duration::ZERO, Bounds::new(Received::default()))
    }

    /// Gives the exchange a response, as it leaves a plugin that has no response phase: with what was planned for it in the
    /// request phase.
    #[must_use]
    pub fn with_response(mut self, response: TestResponse) -> Self {
        self.respond(response);
        self
    }

    /// The plugin's answer, if it gave one.
    pub fn reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// The request's method.
    pub fn method(&self) -> &str {
        self.request.method.as_str()
    }

    /// Path and query of the request.
    pub fn target(&self) -> &str {
        self.request.target.as_str()
    }

    /// The request's authority.
    pub fn authority(&self) -> &str {
        head::text(&self.request.authority)
    }

    /// The first value of a request header, if it is ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        let RequestHead { headers, authority, .. } = &self.request;
        request_values(headers, authority, name).next().and_then(|value| value.to_str().ok())
    }

    /// Every value of a request header.
    pub fn header_values(&self, name: &str) -> Vec<&[u8]> {
        let RequestHead { headers, authority, .. } = &self.request;
        request_values(headers, authority, name).map(HeaderValue::as_bytes).collect()
    }

    /// The request's body.
    pub fn body(&self) -> &[u8] {
        &self.request.body
    }

    /// The request's trailers.
    pub fn trailers(&self) -> &[(String, Vec<u8>)] {
        &self.request.trailers
    }

    /// The upstream that the plugin selected, if it did.
    pub fn upstream(&self) -> Option<&str> {
        self.request.upstream.as_deref()
    }

    /// An attribute of the exchange.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.request.attribute(key)
    }

    /// The response's status, if there is a response.
    pub fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|response| response.status.as_u16())
    }

    /// The first value of a response header, if it is ASCII.
    pub fn response_header(&self, name: &str) -> Option<&str> {
        self.response.as_ref()?.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Every value of a response header.
    pub fn response_header_values(&self, name: &str) -> Vec<&[u8]> {
        let headers = self.response.iter().flat_map(|response| response.headers.get_all(name));
        headers.map(HeaderValue::as_bytes).collect()
    }

    /// The response's body.
    pub fn response_body(&self) -> &[u8] {
        self.response.as_ref().map_or(&[], |response| &response.body)
    }

    /// The response's trailers.
    pub fn response_trailers(&self) -> &[(String, Vec<u8>)] {
        self.response.as_ref().map_or(&[], |response| &response.trailers)
    }

    /// Whether the plugin decided to read the request body, and was not called with it yet.
    pub fn reads_request_body(&self) -> bool {
        self.request_next == Next::ReadBody
    }

    /// Whether the plugin decided to stream the request body, which did not pass through it yet.
    pub fn streams_request_body(&self) -> bool {
        self.request_next == Next::StreamBody
    }

    /// Whether the plugin decided to read the response body, and was not called with it yet.
    pub fn reads_response_body(&self) -> bool {
        self.response_next == Next::ReadBody
    }

    /// Whether the plugin decided to stream the response body, which did not pass through it yet.
    pub fn streams_response_body(&self) -> bool {
        self.response_next == Next::StreamBody
    }

    /// Whether the plugin gets the messages of the WebSocket, or of the event stream.
    pub fn streams_messages(&self) -> bool {
        self.message_state.is_some()
    }

    /// The request body, as the gateway would give it to a plugin.
    pub(super) fn request_body(&self) -> Result<Body, BodyError> {
        let RequestHead { body, trailers, interrupted, bounds, .. } = &self.request;
        read(body, trailers, interrupted.as_ref(), bounds)
    }

    /// The response body, as the gateway would give it to a plugin.
    pub(super) fn response_body_to_read(&self) -> Result<Body, BodyError> {
        let ResponseHead { body, trailers, interrupted, bounds, .. } =
            self.response.as_ref().ok_or(BodyError::Unavailable)?;
        read(body, trailers, interrupted.as_ref(), bounds)
    }

    pub(super) fn begin_request_stream(&mut self, state: Vec<u8>) {
        self.request.headers.remove(CONTENT_LENGTH);
        self.request_state = Some(state);
    }

    pub(super) fn begin_response_stream(&mut self, state: Vec<u8>) {
        if let Some(response) = &mut self.response {
            response.headers.remove(CONTENT_LENGTH);
        }
        self.response_state = Some(state);
    }

    /// Takes the body, and clones the state, of a request that is streamed.
    pub(super) fn take_request_stream(&mut self) -> Option<(Body, Vec<u8>)> {
        if !self.streams_request_body() {
            return None;
        }
        let RequestHead { body, trailers, .. } = &mut self.request;
        let body = Body { bytes: std::mem::take(body), trailers: std::mem::take(trailers) };
        Some((body, self.request_state.clone()?))
    }

    /// Takes the body, and clones the state, of a response that is streamed.
    pub(super) fn take_response_stream(&mut self) -> Option<(Body, Vec<u8>)> {
        if !self.streams_response_body() {
            return None;
        }
        let ResponseHead { body, trailers, .. } = self.response.as_mut()?;
        let body = Body { bytes: std::mem::take(body), trailers: std::mem::take(trailers) };
        Some((body, self.response_state.clone()?))
    }

    pub(super) fn end_request_stream(&mut self, sent: Body, state: Vec<u8>) {
        (self.request.body, self.request.trailers) = (sent.bytes, sent.trailers);
        (self.request_next, self.request_state) = (Next::Nothing, Some(state));
    }

    pub(super) fn end_response_stream(&mut self, sent: Body, state: Vec<u8>) {
        if let Some(response) = &mut self.response {
            (response.body, response.trailers) = (sent.bytes, sent.trailers);
        }
        (self.response_next, self.response_state) = (Next::Nothing, Some(state));
    }

    /// The plugin gets the messages from here on.
    pub(super) fn begin_messages(&mut self, state: Vec<u8>) -> Result<(), Error> {
        self.message_stream().map_err(|why| Error::new(format!("it returned `stream-messages`, and {why}")))?;
        self.message_state = Some(state);
        Ok(())
    }

    pub(super) fn message_stream(&self) -> Result<MessageStream, &'static str> {
        let response = self.response.as_ref().ok_or("there is no response")?;
        messages::stream_of(response.status, &response.headers)
    }

    pub(super) fn message_state(&mut self) -> Option<&mut Vec<u8>> {
        self.message_state.as_mut()
    }

    pub(super) fn add_stream_states(&self, outcome: &mut Outcome) {
        if outcome.request_stream_state.is_none() {
            outcome.request_stream_state.clone_from(&self.request_state);
        }
        if outcome.response_stream_state.is_none() {
            outcome.response_stream_state.clone_from(&self.response_state);
        }
        if outcome.message_state.is_none() {
            outcome.message_state.clone_from(&self.message_state);
        }
    }

    /// Waits for a lock or a lease, while something happens.
    pub(super) fn wait(&mut self, host: &TestHost, happens: impl FnOnce()) -> Result<(), Error> {
        if let Some(wait) = self.holds.take_wait() {
            happens();
            wait.end(host);
            return Ok(());
        }
        if self.request.cache.lock != Waiting::Possible {
            return Err(Error::new("it returned `await-release`, but nothing let it wait"));
        }
        self.request.cache.lock = Waiting::Over;
        happens();
        Ok(())
    }

    pub(super) fn begin(request: TestRequest, now: Duration, bounds: Bounds) -> Self {
        let mut request = request.0;
        request.bounds = bounds;
        request.received_at.get_or_insert(crate::store::millis(now));
        Self {
            request,
            response: None,
            reply: None,
            request_next: Next::Nothing,
            response_next: Next::Nothing,
            request_state: None,
            response_state: None,
            message_state: None,
            holds: Holds::default(),
        }
    }

    pub(super) fn respond(&mut self, response: TestResponse) {
        self.request.phase = Phase::Response;
        let mut response = response.0;
        response.bounds.clone_from(&self.request.bounds);
        let room = Room::beyond(&response.headers, &response.bounds);
        while let Some(due) = self.request.plan.take_due(0) {
            for planned in due {
                // What the response has no room for is left out.
                let _ = planned.carry_out(&mut response.headers, room);
            }
        }
        response.room = Some(room);
        self.response = Some(response);
    }

    /// What the exchange holds ends with it.
    pub(super) fn release_leases(&mut self, host: &TestHost) {
        release_leases(host, self.holds.take_leases());
    }

    pub(super) fn finish(&mut self) {
        self.request.phase = Phase::Complete;
        if let Some(response) = &mut self.response {
            response.phase = Phase::Complete;
        }
    }

    /// Keeps the plugin's answer, once it has passed the gateway's checks.
    #[track_caller]
    pub(super) fn set_reply(&mut self, host: &TestHost, reply: Reply) {
        if let Err(why) = reply::reply(reply.status, reply.headers.clone().into_iter(), &self.request.bounds) {
            panic!("the gateway would refuse a reply: {why}");
        }
        let reply = self.request.cache.complete(host.granted_reply(reply));
        self.reply = Some(reply);
    }

    /// Lends request and response to a plugin for the length of a call, and keeps its edits. Leases that are acquired meanwhile belong
    /// to the exchange; if it is cancelled, they are released.
    pub(super) fn lend<T>(&mut self, host: &TestHost, call: impl FnOnce(&Request, Option<&Response>) -> T) -> T {
        let mut holds = std::mem::take(&mut self.holds);
        holds.is_request_phase = self.request.phase == Phase::Request;
        let lent = Lent { host, outer: host.0.borrow_mut().exchange_holds.replace(holds), is_over: false };
        let request = Request(RawRequest(RefCell::new(self.request.clone())));
        let response = self.response.clone().map(|response| Response(RawResponse::new(response)));
        let result = call(&request, response.as_ref());
        self.holds = lent.end();
        self.request = request.0.0.into_inner();
        self.response = response.map(|response| response.0.0.into_inner());
        result
    }
}

/// An exchange during a call. Another exchange may be lent within the call, where a test has it come meanwhile.
struct Lent<'a> {
    host: &'a TestHost,
    outer: Option<Holds>,
    is_over: bool,
}

impl Lent<'_> {
    fn end(mut self) -> Holds {
        self.is_over = true;
        self.swap()
    }

    fn swap(&mut self) -> Holds {
        let outer = self.outer.take();
        std::mem::replace(&mut self.host.0.borrow_mut().exchange_holds, outer).unwrap_or_default()
    }
}

impl Drop for Lent<'_> {
    /// The call was cancelled, or the plugin panicked.
    fn drop(&mut self) {
        if !self.is_over {
            let mut holds = self.swap();
            release_leases(self.host, holds.take_leases());
        }
    }
}
