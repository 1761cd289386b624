//! Message bodies with their trailers, and the chunks of a body that passes through a plugin.
//!
//! A plugin never waits for a body. It returns [`Decision::ReadBody`](crate::Decision::ReadBody) and is called with the whole body,
//! or [`Decision::StreamBody`](crate::Decision::StreamBody) and is called with each chunk. A body that no plugin reads or streams is
//! not copied into a plugin.
//!
//! ```
//! use plugin_sdk::{Body, BodyError, Decision, Error, NoConfig, Plugin, Problem, Problems, Request, RequestBodyFilter, RequestFilter};
//! use plugin_sdk::testkit::{TestHost, TestRequest};
//! use serde_json::json;
//!
//! /// Converts JSON bodies to upper case.
//! struct Upper;
//!
//! impl Plugin for Upper {
//!     type Config = NoConfig;
//!     fn new(_: NoConfig) -> Result<Self, Problems> {
//!         Ok(Self)
//!     }
//! }
//!
//! impl RequestFilter for Upper {
//!     fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
//!         let is_json = request.header("content-type").is_some_and(|value| value == "application/json");
//!         Ok(if is_json { Decision::ReadBody } else { Decision::Next })
//!     }
//! }
//!
//! impl RequestBodyFilter for Upper {
//!     fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
//!         match body {
//!             Ok(body) => request.replace_body(body.bytes.to_ascii_uppercase())?,
//!             Err(BodyError::TooLarge(_)) => return Ok(Problem::new(413).into()),
//!             Err(error) => return Err(error.into()),
//!         }
//!         Ok(Decision::Next)
//!     }
//! }
//!
//! let mut plugin = TestHost::new().plugin::<Upper>(json!({})).unwrap();
//! let request = TestRequest::post("/").header("content-type", "application/json").body("{}a");
//! assert_eq!(plugin.request_with_body(request).body(), b"{}A");
//! ```

use std::fmt;

/// Names and values, one entry for each field line.
pub type Fields = Vec<(String, Vec<u8>)>;

/// A whole body and its trailers (RFC 9110 §6.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The trailers.
    pub trailers: Fields,
}

impl Body {
    /// A body without trailers.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), trailers: Vec::new() }
    }

    /// Adds a trailer.
    #[must_use]
    pub fn with_trailer(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.into(), value.as_ref().to_vec()));
        self
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<const N: usize> From<&[u8; N]> for Body {
    fn from(bytes: &[u8; N]) -> Self {
        Self::new(bytes)
    }
}

/// Part of a body that passes through a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The state that the decision to stream the body, or the previous chunk result, gave.
    pub state: Vec<u8>,
    /// The bytes that were not consumed before, and those that have arrived since.
    pub bytes: Vec<u8>,
    /// The body's trailers, with the last chunk; `None` before it.
    pub end: Option<Fields>,
}

impl Chunk {
    /// Whether this is the last chunk.
    pub fn is_last(&self) -> bool {
        self.end.is_some()
    }

    /// A result that sends these bytes in place of the whole chunk and keeps state and trailers.
    ///
    /// ```
    /// use plugin_sdk::body::{Chunk, ChunkResult};
    ///
    /// fn on_request_chunk(chunk: Chunk) -> ChunkResult {
    ///     let output = chunk.bytes.to_ascii_uppercase();
    ///     chunk.replaced(output)
    /// }
    ///
    /// let result = on_request_chunk(Chunk { bytes: b"ab".to_vec(), ..Chunk::default() });
    /// assert_eq!((result.consumed, &*result.output), (2, b"AB".as_slice()));
    /// ```
    pub fn replaced(self, output: impl Into<Vec<u8>>) -> ChunkResult {
        ChunkResult {
            consumed: self.bytes.len(),
            output: output.into(),
            trailers: self.end.unwrap_or_default(),
            ..ChunkResult::default()
        }
    }
}

/// The result of a call with a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkResult {
    /// How many of the chunk's bytes are done with. With the last chunk it has to be all of them.
    pub consumed: usize,
    /// The bytes that are sent on in their place.
    pub output: Vec<u8>,
    /// The next call is made when at least this many bytes are there, or at the end of the body. At most the route's limit for
    /// buffered bodies (`buffer-bytes`).
    pub min_bytes: usize,
    /// The new state, up to 64 KiB; `None` keeps the present one.
    pub state: Option<Vec<u8>>,
    /// With the last chunk: the trailers to send.
    pub trailers: Fields,
}

impl ChunkResult {
    /// Sets how many bytes have to be there for the next call.
    #[must_use]
    pub fn with_min_bytes(mut self, bytes: usize) -> Self {
        self.min_bytes = bytes;
        self
    }

    /// Sets the new state.
    #[must_use]
    pub fn with_state(mut self, state: impl Into<Vec<u8>>) -> Self {
        self.state = Some(state.into());
        self
    }
}

/// Why a body could not be read or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// Larger than the limit, in bytes.
    TooLarge(u64),
    /// The sender stopped, or the connection was lost.
    Interrupted(String),
    /// A trailer is not valid; the text names it.
    Invalid(String),
    /// A request body can be replaced in the request phase only, a response body in the response phase only; or it
    /// is not granted.
    Unavailable,
    /// Another error; the text says which.
    Other(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the body is over the limit of {limit} bytes"),
            Self::Interrupted(cause) => write!(f, "the body ended early: {cause}"),
            Self::Invalid(why) => write!(f, "invalid trailer: {why}"),
            Self::Unavailable => f.write_str("the body cannot be replaced in this phase, or is not granted"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BodyError {}
