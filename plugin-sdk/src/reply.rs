//! Decisions of a plugin, and responses that it makes.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::request::text;

/// What the request phase decides. All edits that were made before it are in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Continue with the next plugin, and after the last one with the upstream.
    Next,
    /// Respond to the client now. The plugins before this one still see the response; those after it are not called.
    Respond(Reply),
    /// Call [`RequestBodyFilter`](crate::RequestBodyFilter) when the whole body has arrived.
    ReadBody,
    /// Continue, and pass the body through [`RequestStream`](crate::RequestStream), which gets this state (up to 64 KiB) with the
    /// first chunk.
    StreamBody(Vec<u8>),
    /// Call [`RequestFilter`](crate::RequestFilter) again when the lock that [`Cache::lock`](crate::cache::Cache::lock) found held is
    /// released, when the key that [`Bucket::wait_for_lease`](crate::store::Bucket::wait_for_lease) named has room for another holder, or
    /// when the time to wait is over. No instance is held meanwhile.
    AwaitRelease,
}

/// What the response phase decides. All edits that were made before it are in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseDecision {
    /// Continue with the plugin before, and after the first one with the client.
    Next,
    /// Call [`ResponseBodyFilter`](crate::ResponseBodyFilter) when the whole body has arrived.
    ReadBody,
    /// Continue, and pass the body through [`ResponseStream`](crate::ResponseStream), which gets this state (up to 64 KiB) with the
    /// first chunk.
    StreamBody(Vec<u8>),
    /// Continue, and pass each message through [`MessageFilter`](crate::MessageFilter), which gets this state (up to 64 KiB) with the
    /// first one. Valid for a 101 that accepts a WebSocket handshake, and for a response with `content-type: text/event-stream` and
    /// without `content-encoding`.
    StreamMessages(Vec<u8>),
}

impl From<Reply> for Decision {
    fn from(reply: Reply) -> Self {
        Self::Respond(reply)
    }
}

impl From<Problem> for Decision {
    fn from(problem: Problem) -> Self {
        Self::Respond(problem.into())
    }
}

/// A whole response. `content-length` is set by the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code; a reply to a client has 200 to 599.
    pub status: u16,
    /// Name and value, one entry for each field line.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply without headers and body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A redirect that no cache stores.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::new(status).with_header("location", location).with_header("cache-control", "no-store")
    }

    /// Adds a header line.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body, and `content-type` to plain text.
    #[must_use]
    pub fn with_text(self, body: impl Into<String>) -> Self {
        self.with_body("text/plain; charset=utf-8", body.into())
    }

    /// Sets the body to a value as JSON, and `content-type` accordingly.
    ///
    /// # Errors
    ///
    /// Fails only for what JSON cannot express, such as a map whose keys are not strings.
    pub fn with_json(self, body: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(self.with_body("application/json", serde_json::to_vec(body)?))
    }

    /// Sets the body and `content-type`.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        self.body = body.into();
        self.with_header("content-type", content_type)
    }

    /// The first value of a header as text, with U+FFFD for what is not UTF-8.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(value))
    }

    /// The body as text, with U+FFFD for what is not UTF-8.
    pub fn into_text(self) -> String {
        text(self.body)
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// The body is not JSON, or not of that shape.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// An error for the client in the common form of HTTP APIs, `application/problem+json` (RFC 9457).
///
/// ```
/// use plugin_sdk::{Problem, Reply};
///
/// let reply: Reply = Problem::new(403).detail("the token lacks a scope").member("scope", "orders:read").into();
/// assert_eq!(
///     reply.into_text(),
///     r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"the token lacks a scope","scope":"orders:read"}"#,
/// );
/// ```
#[derive(Debug, Clone)]
pub struct Problem {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    /// In the order in which they were first set, which is the one that people read best.
    members: Vec<(String, Value)>,
}

impl Problem {
    /// A problem of type `about:blank`, whose title is the status code's phrase (RFC 9457 §4.2.1).
    pub fn new(status: u16) -> Self {
        let problem = Self { status, headers: Vec::new(), members: Vec::new() };
        problem.member("type", "about:blank").member("title", phrase(status)).member("status", status)
    }

    /// A URI that identifies the type of problem.
    #[must_use]
    pub fn kind(self, uri: &str) -> Self {
        self.member("type", uri)
    }

    /// A summary of the type of problem.
    #[must_use]
    pub fn title(self, title: &str) -> Self {
        self.member("title", title)
    }

    /// What the client should know about this occurrence. It must not leak what only the operator should know.
    #[must_use]
    pub fn detail(self, detail: &str) -> Self {
        self.member("detail", detail)
    }

    /// Any other member.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
        self
    }

    /// A header of the reply, such as `www-authenticate` or `retry-after`.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let mut body = String::from("{");
        for (name, value) in problem.members {
            let comma = if body.len() > 1 { "," } else { "" };
            body.push_str(&format!("{comma}{}:{value}", Value::String(name)));
        }
        body.push('}');
        Self { status: problem.status, headers: problem.headers, body: Vec::new() }
            .with_body("application/problem+json", body)
    }
}

/// RFC 9110 §15, RFC 6585.
fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => match status / 100 {
            2 | 3 => "OK",
            4 => "Client Error",
            _ => "Server Error",
        },
    }
}
