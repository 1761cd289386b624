//! The response, as plugins see it.

use crate::{Body, BodyError, EditError, host, request::text};

/// The response, lent to the plugin for the length of one call; a handle like [`Request`](crate::Request).
#[repr(transparent)]
pub struct Response(pub(crate) host::RawResponse);

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.0.status()
    }

    /// Sets the status code: 200 to 599.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn set_status(&self, status: u16) -> Result<(), EditError> {
        host::edited(self.0.set_status(status))
    }

    /// The first value of a header as text, as [`Request::header`](crate::Request::header).
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

    /// Every header, one entry for each field line.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.0.headers()
    }

    /// Replaces every value of a header by this one.
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

    /// Replaces the body and its trailers, in the response phase. The gateway sets `content-length`. To read the body, return
    /// [`ResponseDecision::ReadBody`](crate::ResponseDecision::ReadBody).
    ///
    /// # Errors
    ///
    /// See [`BodyError`].
    pub fn replace_body(&self, body: impl Into<Body>) -> Result<(), BodyError> {
        host::replace_response_body(&self.0, body.into())
    }
}
