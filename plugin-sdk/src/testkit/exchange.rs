//! Requests, responses and exchanges as tests write and read them.

use std::{cell::RefCell, time::Duration};

use gateway_rules::{
    attributes::{Attributes, is_reserved},
    authority::is_authority,
    bounds::{Bounds, Received, Room},
    edit,
    fields::{field, is_host, request_values},
    headers::ResponseEdits,
    reply,
};
use http::{HeaderMap, HeaderValue, Method};

use super::{
    cache::Hold,
    head::{self, Phase, RawRequest, RawResponse, RequestHead, ResponseHead},
};
use crate::{Reply, Request, Response, streams::Fields};

/// A request as a client would send it.
#[derive(Debug, Clone)]
pub struct TestRequest(RequestHead);

impl TestRequest {
    /// A request over HTTP/1.1 from 192.0.2.1 to `example.com`, on the route `test`.
    ///
    /// # Panics
    ///
    /// The method or the target is one that the gateway would refuse. A path is brought into the form in which plugins see it.
    #[track_caller]
    pub fn new(method: &str, target: &str) -> Self {
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_else(|_| panic!("`{method}` is no method"));
        let target =
            head::target(target, &method).unwrap_or_else(|| panic!("the gateway would refuse the target `{target}`"));
        Self(RequestHead {
            id: "test-request".to_owned(),
            method,
            scheme: "http",
            authority: HeaderValue::from_static("example.com"),
            original_target: target.clone(),
            target,
            protocol: "HTTP/1.1",
            client: "192.0.2.1".to_owned(),
            received_at: None,
            trace_parent: None,
            headers: HeaderMap::new(),
            route: "test".to_owned(),
            parameters: Vec::new(),
            attributes: Attributes::default(),
            reserved: Vec::new(),
            body: Vec::new(),
            phase: Phase::Request,
            cache: Hold::default(),
            plan: ResponseEdits::default(),
            bounds: Bounds::new(Received::default()),
            room: None,
        })
    }

    /// A `GET`.
    #[track_caller]
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A `POST`.
    #[track_caller]
    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// Adds a header line; `host` is the [`authority`](Self::authority).
    ///
    /// # Panics
    ///
    /// Name or value are not valid HTTP.
    #[must_use]
    #[track_caller]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if is_host(name) {
            return self.authority(std::str::from_utf8(value.as_ref()).unwrap_or_default());
        }
        add(&mut self.0.headers, name, value.as_ref());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// Sets the host, and optionally port, that the client asked for.
    ///
    /// # Panics
    ///
    /// It is none.
    #[must_use]
    #[track_caller]
    pub fn authority(mut self, authority: &str) -> Self {
        let value = HeaderValue::from_str(authority).ok();
        let valid = value.filter(|value| is_authority(value.as_bytes()));
        self.0.authority = valid.unwrap_or_else(|| panic!("the gateway would refuse the authority `{authority}`"));
        self
    }

    /// Makes it a request over TLS.
    #[must_use]
    pub fn https(mut self) -> Self {
        self.0.scheme = "https";
        self
    }

    /// Makes it a request over HTTP/2.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.0.protocol = "HTTP/2.0";
        self
    }

    /// Sets the client's address.
    #[must_use]
    pub fn client(mut self, address: &str) -> Self {
        address.clone_into(&mut self.0.client);
        self
    }

    /// Sets the gateway's identifier of the exchange.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.0.id);
        self
    }

    /// Sets the name of the route that matched; empty for none.
    #[must_use]
    pub fn route(mut self, route: &str) -> Self {
        route.clone_into(&mut self.0.route);
        self
    }

    /// Adds what the path pattern captured.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.0.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an attribute, as an earlier plugin would, or, where only the gateway sets it (`tls.…`, `gateway.…`), the gateway.
    #[must_use]
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        if is_reserved(key) {
            self.0.reserved.push((key.to_owned(), value.to_owned()));
        } else {
            self.0.attributes.set(key, value, None);
        }
        self
    }

    /// Makes it a request that [`Cache::renew`](crate::cache::Cache::renew) made.
    #[must_use]
    pub fn renewal(mut self) -> Self {
        self.0.cache.renewal = true;
        self
    }

    /// What [`Request::trace_parent`](crate::Request::trace_parent) returns; nothing if left out.
    #[must_use]
    pub fn trace_parent(mut self, value: &str) -> Self {
        self.0.trace_parent = Some(value.to_owned());
        self
    }

    /// Sets when the request's head arrived, as time since the Unix epoch; the host's time if left out.
    #[must_use]
    pub fn received_at(mut self, since_epoch: Duration) -> Self {
        self.0.received_at = Some(crate::store::millis(since_epoch));
        self
    }
}

/// A response as an upstream would send it.
#[derive(Debug, Clone)]
pub struct TestResponse(ResponseHead);

impl TestResponse {
    /// A response without headers and body.
    ///
    /// # Panics
    ///
    /// The status is not one of 200 to 599.
    #[track_caller]
    pub fn new(status: u16) -> Self {
        let status = edit::status(status).unwrap_or_else(|_| panic!("{status} is no final status"));
        Self(ResponseHead {
            status,
            headers: HeaderMap::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            followed: None,
            phase: Phase::Response,
            bounds: Bounds::new(Received::default()),
            room: None,
        })
    }

    /// Adds a header line.
    ///
    /// # Panics
    ///
    /// Name or value are not valid HTTP.
    #[must_use]
    #[track_caller]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        add(&mut self.0.headers, name, value.as_ref());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.trailers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }
}

#[track_caller]
fn add(headers: &mut HeaderMap, name: &str, value: &[u8]) {
    let (name, value) = field(name, value).unwrap_or_else(|_| panic!("`{name}` or its value is not valid"));
    headers.append(name, value);
}

/// A request and what became of it.
#[derive(Debug, Clone)]
pub struct TestExchange {
    request: RequestHead,
    response: Option<ResponseHead>,
    reply: Option<Reply>,
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

    /// Whether the plugin wants to change the response's body as it passes.
    pub fn is_followed(&self) -> bool {
        self.response.as_ref().is_some_and(|response| response.followed.is_some())
    }

    /// Takes memo, body and trailers of a response that is followed.
    pub(super) fn take_followed(&mut self) -> Option<(Vec<u8>, Vec<u8>, Fields)> {
        let response = self.response.as_mut()?;
        let memo = response.followed.take()?;
        Some((memo, std::mem::take(&mut response.body), std::mem::take(&mut response.trailers)))
    }

    pub(super) fn set_passed(&mut self, body: Vec<u8>, trailers: Fields) {
        if let Some(response) = &mut self.response {
            (response.body, response.trailers) = (body, trailers);
        }
    }

    pub(super) fn begin(request: TestRequest, now: Duration, bounds: Bounds) -> Self {
        let mut request = request.0;
        request.bounds = bounds;
        request.received_at.get_or_insert(crate::store::millis(now));
        Self { request, response: None, reply: None }
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

    pub(super) fn finish(&mut self) {
        self.request.phase = Phase::Complete;
        if let Some(response) = &mut self.response {
            response.phase = Phase::Complete;
        }
    }

    /// Keeps the plugin's answer, once it has passed the gateway's checks.
    #[track_caller]
    pub(super) fn set_reply(&mut self, reply: Reply) {
        let reply = self.request.cache.complete(reply);
        if let Err(why) = reply::reply(reply.status, reply.headers.clone().into_iter(), &self.request.bounds) {
            panic!("the gateway would refuse a reply: {why}");
        }
        self.reply = Some(reply);
    }

    /// Lends request and response to a plugin for the length of a call, and keeps its edits.
    pub(super) fn lend<T>(&mut self, call: impl FnOnce(&Request, Option<&Response>) -> T) -> T {
        let request = Request(RawRequest(RefCell::new(self.request.clone())));
        let response = self.response.clone().map(|response| Response(RawResponse::new(response)));
        let result = call(&request, response.as_ref());
        self.request = request.0.0.into_inner();
        self.response = response.map(|response| response.0.0.into_inner());
        result
    }
}
