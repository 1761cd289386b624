//! Requests and responses as tests write them.

use std::time::Duration;

use gateway_rules::{
    attributes::{Attributes, is_reserved},
    authority::is_authority,
    bounds::{Bounds, Received},
    edit,
    fields::{field, is_host},
    headers::ResponseEdits,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{
    cache::Hold,
    head::{self, Phase, RequestHead, ResponseHead},
};

/// A request as a client would send it.
#[derive(Debug, Clone)]
pub struct TestRequest(pub(super) RequestHead);

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
            upstream: None,
            parameters: Vec::new(),
            attributes: Attributes::default(),
            reserved: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            interrupted: None,
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

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.trailers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Lets the body end early, so that a plugin that reads it gets [`BodyError::Interrupted`](crate::BodyError::Interrupted).
    #[must_use]
    pub fn interrupted(mut self, why: &str) -> Self {
        self.0.interrupted = Some(why.to_owned());
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
pub struct TestResponse(pub(super) ResponseHead);

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
            interrupted: None,
            phase: Phase::Response,
            bounds: Bounds::new(Received::default()),
            room: None,
        })
    }

    /// The response that accepts a WebSocket handshake.
    pub fn websocket() -> Self {
        let mut response = Self::new(200);
        response.0.status = StatusCode::SWITCHING_PROTOCOLS;
        response
    }

    /// The beginning of an event stream.
    pub fn event_stream() -> Self {
        Self::new(200).header("content-type", "text/event-stream")
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

    /// Lets the body end early, so that a plugin that reads it gets [`BodyError::Interrupted`](crate::BodyError::Interrupted).
    #[must_use]
    pub fn interrupted(mut self, why: &str) -> Self {
        self.0.interrupted = Some(why.to_owned());
        self
    }
}

#[track_caller]
fn add(headers: &mut HeaderMap, name: &str, value: &[u8]) {
    let (name, value) = field(name, value).unwrap_or_else(|_| panic!("`{name}` or its value is not valid"));
    headers.append(name, value);
}
