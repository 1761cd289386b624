//! What can go wrong for a plugin.

use std::fmt;

/// The plugin itself failed. Made from any [`std::error::Error`] by `?`, or from a text by [`Error::new`].
///
/// Like `anyhow::Error` it does not implement [`std::error::Error`] itself: that is what makes `?` work.
pub struct Error(String);

impl Error {
    /// An error with a text for the gateway's log. Clients never see it.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "read by the exports of a component"))]
    pub(crate) fn into_message(self) -> String {
        self.0
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an edit was refused. The message is as it was before the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// Not a valid method, target, status, header name or header value.
    InvalidSyntax,
    /// Owned by the gateway (hop-by-hop and framing headers, `host` but by [`Request::set_header`](crate::Request::set_header)), not
    /// granted, or made in a phase in which nothing can change any more.
    Forbidden,
    /// Over the gateway's limits on header bytes or count, target length, or attributes.
    TooLarge,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidSyntax => "the edit is not valid HTTP",
            Self::Forbidden => {
                "the edit is not allowed: the field belongs to the gateway or is not granted, or the phase is over"
            }
            Self::TooLarge => "the edit exceeds the gateway's limits",
        })
    }
}

impl std::error::Error for EditError {}
