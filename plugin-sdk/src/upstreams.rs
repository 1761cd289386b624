//! Choosing the upstream of a request: canaries by user, tenants, models.

use std::fmt;

use crate::{Request, host};

/// In the request phase: sends the request to this upstream of the gateway's configuration in place of the route's. The operator
/// grants it by name. The route stays the same. The last selection counts, also that of a later plugin.
///
/// ```
/// use plugin_sdk::{Decision, Error, Request, upstreams};
///
/// fn on_request(request: &Request) -> Result<Decision, Error> {
///     if request.header("x-beta").is_some() {
///         upstreams::select(request, "canary")?;
///     }
///     Ok(Decision::Next)
/// }
/// ```
///
/// # Errors
///
/// See [`UpstreamError`].
pub fn select(request: &Request, name: &str) -> Result<(), UpstreamError> {
    host::select_upstream(&request.0, name)
}

/// Why an upstream was not selected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamError {
    /// No such upstream, not granted, or one with TCP endpoints; the text names it.
    Denied(String),
    /// Not in the request phase, or the route does not lead to an upstream.
    Unavailable,
    /// Another error; the text says which.
    Other(String),
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(name) => write!(
                f,
                "no upstream `{name}` with HTTP endpoints, or it is not granted: add `grants: {{ upstreams: [{name}] }}` to the plugin"
            ),
            Self::Unavailable => {
                f.write_str("an upstream can be selected in the request phase, on routes that have one")
            }
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for UpstreamError {}
