//! Edits of a head, as far as they are not about its fields.

use http::{Method, StatusCode, uri::PathAndQuery};

/// Where an exchange is, which decides what may still be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The request may be edited, and edits of the response be planned.
    Request,
    /// The response may be edited.
    Response,
    /// Nothing may be edited.
    Complete,
}

/// Why an edit was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditError {
    /// Not a valid method, target, status, name or value.
    InvalidSyntax,
    /// The gateway's own, or made in a phase in which it cannot be changed.
    Forbidden,
    /// Over the limits.
    TooLarge,
}

/// What `http` can hold as path and query.
const MAX_TARGET_BYTES: usize = 65_534;

/// A method that plugins may set.
///
/// # Errors
///
/// It is none, or one that the gateway does not carry.
pub fn method(method: &str) -> Result<Method, EditError> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| EditError::InvalidSyntax)?;
    if method == Method::CONNECT { Err(EditError::Forbidden) } else { Ok(method) }
}

/// A status that plugins may set: 200 to 599.
///
/// # Errors
///
/// It is another one.
pub fn status(status: u16) -> Result<StatusCode, EditError> {
    let status = StatusCode::from_u16(status).ok().filter(|status| (200..600).contains(&status.as_u16()));
    status.ok_or(EditError::InvalidSyntax)
}

/// Path and query that plugins may set. The path must be in the normalised form that the gateway promises to upstreams: from the
/// root, without dot segments. `received` is how long they were when they came, and `added` what plugins may add.
///
/// # Errors
///
/// Too long, or not in that form.
pub fn target(value: &str, received: usize, added: usize) -> Result<PathAndQuery, EditError> {
    if value.len() > (received + added).min(MAX_TARGET_BYTES) {
        return Err(EditError::TooLarge);
    }
    // Of a query only what no parser takes is refused: clients send backslashes and more, and what came in may go out.
    let (path, query) = value.split_once('?').unwrap_or((value, ""));
    let is_path = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\');
    if !is_path || query.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#') {
        return Err(EditError::InvalidSyntax);
    }
    if path.split('/').any(is_dot_segment) {
        return Err(EditError::InvalidSyntax);
    }
    PathAndQuery::try_from(value).map_err(|_| EditError::InvalidSyntax)
}

fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}
