//! Bodies with their trailers, and bodies that are changed as they pass: for plugins that turn one protocol into another.
//!
//! Nothing here waits. What is not there yet is [`StreamError::Later`]: fail then, before you have changed anything, and the
//! phase is called again. With `?` that is what happens. So a plugin that reads bodies this way, and not with
//! [`Request::read_body`], costs less.

use std::fmt;

use crate::{Error, Plugin, Request, Response, host};

/// Names and values, one entry for each field line.
pub type Fields = Vec<(String, Vec<u8>)>;

/// A whole body and what came behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The bytes.
    pub body: Vec<u8>,
    /// The trailers (RFC 9110 §6.5).
    pub trailers: Fields,
}

/// The request's body, in the request phase.
///
/// # Errors
///
/// See [`StreamError`].
pub fn read_request(request: &Request) -> Result<Content, StreamError> {
    host::stream_read_request(&request.0)
}

/// Replaces the request's body, in the request phase.
///
/// # Errors
///
/// See [`StreamError`].
pub fn replace_request(request: &Request, body: &[u8]) -> Result<(), StreamError> {
    host::stream_replace_request(&request.0, body)
}

/// The response's body, in the response phase.
///
/// # Errors
///
/// See [`StreamError`].
pub fn read_response(response: &Response) -> Result<Content, StreamError> {
    host::stream_read_response(&response.0)
}

/// Replaces the response's body and trailers, in the response phase.
///
/// # Errors
///
/// See [`StreamError`].
pub fn replace_response(response: &Response, content: &Content) -> Result<(), StreamError> {
    host::stream_replace_response(&response.0, content)
}

/// In the response phase: from here on the body passes through [`ResponseStream::on_part`]. The memo comes with each call,
/// and is 64 KiB at most.
///
/// # Errors
///
/// See [`StreamError`].
pub fn follow_response(response: &Response, memo: &[u8]) -> Result<(), StreamError> {
    host::stream_follow_response(&response.0, memo)
}

/// Changes the bodies of responses as they pass, where [`follow_response`] was called. Exported as `stream`.
pub trait ResponseStream: Plugin {
    /// Called with what there is of the body. Keep nothing of it in the instance: another one may be called for the next part.
    /// There is no request to ask about.
    ///
    /// # Errors
    ///
    /// An error breaks the response off, and its text goes to the gateway's log.
    fn on_part(&mut self, part: Part) -> Result<Passage, Error>;
}

/// A part of a response's body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// What [`follow_response`] was given, or the last call gave.
    pub memo: Vec<u8>,
    /// What was not taken before, and what has come since.
    pub bytes: Vec<u8>,
    /// The body's trailers, with the last part.
    pub end: Option<Fields>,
}

/// What becomes of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passage {
    /// So many of the bytes are done with; all of them in the end.
    pub taken: usize,
    /// What the client gets for them.
    pub output: Vec<u8>,
    /// No call is made before so many bytes are there, or the end. They may not be more than the route's limit for bodies that
    /// plugins read.
    pub wants: usize,
    /// Another memo from here on.
    pub memo: Option<Vec<u8>>,
    /// With the last part: what the client gets for the trailers.
    pub trailers: Fields,
}

/// Why a body could not be read, replaced or followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamError {
    /// Over the limit of so many bytes.
    TooLarge(u64),
    /// The sender stopped, or the connection broke.
    Interrupted(String),
    /// A trailer is not valid; the text names it.
    Invalid(String),
    /// Not in this phase.
    Unavailable,
    /// It is on its way: fail, and be called again.
    Later,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the body is over the limit of {limit} bytes"),
            Self::Interrupted(cause) => write!(f, "the body ended early: {cause}"),
            Self::Invalid(why) => write!(f, "not to be sent behind a body: {why}"),
            Self::Unavailable => f.write_str("the body cannot be had in this phase"),
            Self::Later => f.write_str("the body is on its way"),
        }
    }
}

impl std::error::Error for StreamError {}
