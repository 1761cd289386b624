//! What is known of the client beside the attributes: what it sent to identify itself, and which headers stages have set since.

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use smallvec::SmallVec;

/// Headers that plugins of others may set before it is given up to know what they mean.
const MAX_ADDED: usize = 64;

/// Headers that tell requests apart, and say nothing of who sent them.
fn tells_requests_apart(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "x-request-id" | "x-correlation-id" | "traceparent" | "tracestate" | "baggage" | "b3" | "x-amzn-trace-id"
    ) || name.as_str().starts_with("x-b3-")
}

/// What is known of the client beside the attributes.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// `Authorization` as it came.
    pub(super) authorization: SmallVec<[HeaderValue; 1]>,
    /// Headers that stages which are not the gateway's own have set: such as the name of a user.
    pub(super) added: SmallVec<[HeaderName; 0]>,
    /// There were more of them than are remembered.
    pub(super) unknown: bool,
}

impl Caller {
    /// Keeps the credentials of a request that has just come.
    pub fn remember(&mut self, headers: &HeaderMap) {
        self.authorization = headers.get_all(AUTHORIZATION).iter().cloned().collect();
    }

    /// Notes that a stage has set a header.
    pub(super) fn note(&mut self, name: &HeaderName) {
        if tells_requests_apart(name) || self.added.contains(name) {
            return;
        }
        if self.added.len() < MAX_ADDED {
            self.added.push(name.clone());
        } else {
            self.unknown = true;
        }
    }
}
