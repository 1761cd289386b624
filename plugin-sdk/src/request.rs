//! The request, as plugins see it.

use crate::{Body, BodyError, EditError, host, query};

/// The request, lent to the plugin for the length of one call.
///
/// It is a handle: nothing is copied into the plugin until it is asked for, so ask for what you need. Edits go
/// through a shared reference for the same reason. Header names are case-insensitive and read back in lower case.
#[repr(transparent)]
pub struct Request(pub(crate) host::RawRequest);

impl Request {
    /// The gateway's identifier of this exchange, as in its logs and in `x-request-id`.
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// `http` or `https`, as the client used it.
    pub fn scheme(&self) -> String {
        self.0.scheme()
    }

    /// Host and optional port that the client asked for.
    pub fn authority(&self) -> String {
        self.0.authority()
    }

    /// The normalised path, still percent-encoded, as the upstream will see it.
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// What follows `?`, without it; `None` where there is no `?`.
    pub fn query(&self) -> Option<String> {
        self.0.query()
    }

    /// The first value of a query parameter, percent-decoded and with `+` read as a space. Octets that are
    /// not UTF-8 then are replaced by U+FFFD.
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        let query = self.query()?;
        query::pairs(&query)
            .find_map(|(key, value)| (query::decode(key) == name).then(|| query::decode(value).into_owned()))
    }

    /// Path and query as they were when the request phase began, before any plugin's edit.
    pub fn original_target(&self) -> String {
        self.0.original_target()
    }

    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`, as the client spoke it.
    pub fn protocol(&self) -> String {
        self.0.protocol()
    }

    /// The client's IP address, without port; behind a trusted proxy, the address that the proxy reported.
    pub fn client_address(&self) -> String {
        self.0.client_address()
    }

    /// When the head of the request had arrived, in milliseconds since the Unix epoch.
    pub fn received_at(&self) -> u64 {
        self.0.received_at()
    }

    /// The first value of a header as text. Octets that are not UTF-8 are replaced by U+FFFD, so that a header
    /// that is there never looks absent; [`header_bytes`](Self::header_bytes) has them as they are.
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.header(name).map(text)
    }

    /// The first value of a header, as it is.
    pub fn header_bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.0.header(name)
    }

    /// Every value of a header, in order.
    pub fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        self.0.header_values(name)
    }

    /// Every header, one entry for each field line. This copies them all: prefer to ask by name.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.0.headers()
    }

    /// Sets the method. `CONNECT` is refused.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn set_method(&self, method: &str) -> Result<(), EditError> {
        host::edited(self.0.set_method(method))
    }

    /// Sets path and query: from the root, percent-encoded, without dot segments.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn set_path_with_query(&self, target: &str) -> Result<(), EditError> {
        host::edited(self.0.set_path_with_query(target))
    }

    /// Replaces every value of a header by this one. `host` sets the authority that the upstream sees.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn set_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), EditError> {
        host::edited(self.0.set_header(name, value.as_ref()))
    }

    /// Adds a value to those that a header has.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn append_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), EditError> {
        host::edited(self.0.append_header(name, value.as_ref()))
    }

    /// Removes every value of a header; it is no error if there is none.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn remove_header(&self, name: &str) -> Result<(), EditError> {
        host::edited(self.0.remove_header(name))
    }

    /// The name of the route that matched; empty where none did.
    pub fn route(&self) -> String {
        self.0.route()
    }

    /// What the route's path pattern captured, percent-decoded.
    pub fn path_parameter(&self, name: &str) -> Option<String> {
        self.0.path_parameter(name)
    }

    /// A note on the exchange that an earlier plugin left: `jwt.sub`, `cache.status`, …
    pub fn attribute(&self, key: &str) -> Option<String> {
        self.0.attribute(key)
    }

    /// Leaves a note on the exchange for later plugins, load balancing and the access log.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn set_attribute(&self, key: &str, value: &str) -> Result<(), EditError> {
        host::edited(self.0.set_attribute(key, value))
    }

    /// Removes an attribute; it is no error if there is none. One that says who the client is still keeps stored responses apart.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn remove_attribute(&self, key: &str) -> Result<(), EditError> {
        host::edited(self.0.remove_attribute(key))
    }

    /// The trace that the request belongs to, as a value of `traceparent` (W3C Trace Context §3.2). The upstream gets the same trace
    /// identifier. If the trace is recorded by the gateway, the parent identifier is that of the span of the present call, and each
    /// request to an upstream has a span of its own. `None` if tracing is off and the client sent no valid `traceparent`.
    pub fn trace_parent(&self) -> Option<String> {
        self.0.trace_parent()
    }

    /// Replaces the body and its trailers, in the request phase. The gateway sets `content-length`. To read the body, return
    /// [`Decision::ReadBody`](crate::Decision::ReadBody).
    ///
    /// # Errors
    ///
    /// See [`BodyError`].
    pub fn replace_body(&self, body: impl Into<Body>) -> Result<(), BodyError> {
        host::replace_request_body(&self.0, body.into())
    }
}

/// Valid UTF-8 costs no copy.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
