//! The gateway's own response to an exchange that failed: why, and which fields it has because of that.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use gateway_core::error::Failure;
use gateway_http::reply;
use gateway_pipeline::ResponseHead;
use gateway_upstream::Refused;
use http::{HeaderValue, Method, header};

pub(super) struct FailureResponse {
    pub(super) failure: Failure,
    /// For the log only; empty where there is nothing to say.
    pub(super) cause: Cow<'static, str>,
    /// The methods of the resource, where the client's is not one of them (RFC 9110 §15.5.6).
    allow: Option<HeaderValue>,
    /// When it is worth asking again (RFC 9110 §10.2.3).
    retry_after: Option<Duration>,
}

impl FailureResponse {
    pub(super) fn new(failure: Failure, cause: &'static str) -> Self {
        Self { failure, cause: Cow::Borrowed(cause), allow: None, retry_after: None }
    }

    pub(super) fn method_not_allowed(methods: &[Method]) -> Self {
        let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
        Self { allow: HeaderValue::from_str(&names.join(", ")).ok(), ..Failure::MethodNotAllowed.into() }
    }

    /// What the client gets.
    pub(super) fn response(&self, id: &HeaderValue) -> (ResponseHead, Bytes) {
        // A client that closed only its own direction may still read that its request was not whole.
        let told = if self.failure == Failure::ClientClosed { Failure::MalformedRequest } else { self.failure };
        let (problem, body) = reply::problem(told, id).into_parts();
        let mut headers = problem.headers;
        if let Some(allow) = &self.allow {
            headers.insert(header::ALLOW, allow.clone());
        }
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
        }
        (ResponseHead { status: problem.status, headers }, body)
    }
}

impl From<Failure> for FailureResponse {
    fn from(failure: Failure) -> Self {
        Self::new(failure, "")
    }
}

impl From<Refused> for FailureResponse {
    fn from(refused: Refused) -> Self {
        let Refused { failure, cause, retry_after, .. } = refused;
        Self { failure, cause: Cow::Owned(cause), allow: None, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: HeaderValue = HeaderValue::from_static("1");

    #[test]
    fn a_response_says_what_its_failure_brought_along() {
        let (head, _) = FailureResponse::method_not_allowed(&[Method::GET, Method::PUT]).response(&ID);
        assert_eq!((head.status.as_u16(), &head.headers["allow"]), (405, &HeaderValue::from_static("GET, PUT")));
        let busy = FailureResponse { retry_after: Some(Duration::from_millis(1001)), ..Failure::UpstreamBusy.into() };
        assert_eq!(busy.response(&ID).0.headers["retry-after"], "2");
        let (head, _) = FailureResponse::from(Failure::ClientClosed).response(&ID);
        assert_eq!(head.status, 400, "499 is never sent");
        assert!(!head.headers.contains_key("allow") && !head.headers.contains_key("retry-after"));
    }
}
