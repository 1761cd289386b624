//! Every failure by which the gateway itself ends an exchange, and the response that the client gets.
//!
//! A failure is named where it happens; its status is chosen here, once. What the client reads never says
//! more than the title and the fixed detail: causes go to the log.

use std::error::Error;

use gateway_rules::path::Rejected;
use http::StatusCode;

/// An error with its causes, for a log or a message: each level once, since some errors print their cause themselves.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let told = cause.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
    }
    text
}

/// Why the gateway answered instead of an upstream or a plugin, or gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The bytes are not an HTTP request, or an ambiguous one (RFC 9112 §6.3).
    MalformedRequest,
    /// The path breaks the normalisation rule.
    PathRejected,
    /// The request's head did not arrive in time.
    HeadTimeout,
    /// The request's body stalled.
    BodyTimeout,
    /// The request's body is over the route's limit.
    BodyTooLarge,
    /// The request target is over the limit.
    UriTooLong,
    /// `Expect` asks for something else than `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed,
    /// The header section is over the limit in bytes or in field lines (RFC 6585 §5).
    HeadTooLarge,
    /// The request has passed this gateway so often that it would for ever (RFC 5842 §7.2).
    LoopDetected,
    /// `CONNECT` and other methods that the gateway does not carry.
    MethodNotImplemented,
    /// No route matches.
    NoRoute,
    /// A route matches but for the method (RFC 9110 §15.5.6).
    MethodNotAllowed,
    /// A plugin trapped, ran out of time or memory, or reported that it failed.
    PluginFailed,
    /// All instances of a plugin are busy and the queue for them is full.
    PluginBusy,
    /// A plugin is not called for a while, since it ran into its time limit too often.
    PluginCircuitOpen,
    /// Over the limit of concurrent connections.
    TooManyConnections,
    /// The gateway is going down.
    Draining,
    /// No endpoint of the upstream can be used.
    NoEndpoint,
    /// The upstream's circuit is open: too many requests failed.
    CircuitOpen,
    /// Over the upstream's limits of requests or connections.
    UpstreamBusy,
    /// No connection to the upstream, or its TLS handshake failed.
    UpstreamUnreachable,
    /// Connecting to the upstream took too long.
    UpstreamConnectTimeout,
    /// The upstream's response did not begin in time, or its body stalled.
    UpstreamTimeout,
    /// The exchange was not over within the route's `timeouts.total`.
    TotalTimeout,
    /// The upstream closed before its response was whole.
    UpstreamClosed,
    /// The upstream's bytes are not an HTTP response.
    UpstreamProtocol,
    /// The client took nothing of the response for `timeouts.body`.
    ClientTimeout,
    /// The client went away before the response was whole.
    ClientClosed,
    /// A defect of the gateway.
    Internal,
}

/// Who has to answer for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responsible {
    /// What the client sent, or that it left.
    Client,
    /// The service.
    Upstream,
    /// A plugin.
    Plugin,
    /// The gateway, or how it is configured.
    Gateway,
}

impl Failure {
    /// Every failure, in the order of declaration: `ALL[failure as usize] == failure`.
    pub const ALL: [Self; 29] = [
        Self::MalformedRequest,
        Self::PathRejected,
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::ExpectationFailed,
        Self::HeadTooLarge,
        Self::LoopDetected,
        Self::MethodNotImplemented,
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::PluginFailed,
        Self::PluginBusy,
        Self::PluginCircuitOpen,
        Self::TooManyConnections,
        Self::Draining,
        Self::NoEndpoint,
        Self::CircuitOpen,
        Self::UpstreamBusy,
        Self::UpstreamUnreachable,
        Self::UpstreamConnectTimeout,
        Self::UpstreamTimeout,
        Self::TotalTimeout,
        Self::UpstreamClosed,
        Self::UpstreamProtocol,
        Self::ClientTimeout,
        Self::ClientClosed,
        Self::Internal,
    ];

    /// The name in logs, metrics and `outcome.failure`.
    pub fn reason(self) -> &'static str {
        self.facts().0
    }

    /// The status of the reply. `ClientClosed` has nginx's 499, which is logged and never sent. `ClientTimeout` has none to send
    /// either, since the response has begun.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.facts().1).expect("the table below holds valid codes")
    }

    /// One sentence for the client.
    pub fn detail(self) -> &'static str {
        self.facts().2
    }

    /// Whether it is unknown, or not worth reading on to find out, where the next request on the connection
    /// would begin (RFC 9112 §9.6).
    pub fn ends_connection(self) -> bool {
        matches!(self, Self::MalformedRequest | Self::BodyTimeout | Self::BodyTooLarge)
    }

    /// Who has to answer for it.
    pub fn responsible(self) -> Responsible {
        match self {
            Self::MalformedRequest
            | Self::PathRejected
            | Self::HeadTimeout
            | Self::BodyTimeout
            | Self::BodyTooLarge
            | Self::UriTooLong
            | Self::ExpectationFailed
            | Self::HeadTooLarge
            | Self::MethodNotImplemented
            | Self::NoRoute
            | Self::MethodNotAllowed
            | Self::ClientTimeout
            | Self::ClientClosed => Responsible::Client,
            Self::NoEndpoint
            | Self::CircuitOpen
            | Self::UpstreamBusy
            | Self::UpstreamUnreachable
            | Self::UpstreamConnectTimeout
            | Self::UpstreamTimeout
            | Self::TotalTimeout
            | Self::UpstreamClosed
            | Self::UpstreamProtocol => Responsible::Upstream,
            Self::PluginFailed | Self::PluginBusy | Self::PluginCircuitOpen => Responsible::Plugin,
            Self::LoopDetected | Self::TooManyConnections | Self::Draining | Self::Internal => Responsible::Gateway,
        }
    }

    /// Whether the client has brought it about: nothing that an operator has to look into.
    pub fn is_the_clients(self) -> bool {
        self.responsible() == Responsible::Client
    }

    /// Whether it speaks against the endpoint that was asked. That none could be reached is said where it is
    /// known of each.
    pub fn is_the_endpoints(self) -> bool {
        matches!(self, Self::UpstreamTimeout | Self::TotalTimeout | Self::UpstreamClosed | Self::UpstreamProtocol)
    }

    /// Whether it speaks against the upstream as a whole.
    pub fn is_the_upstreams(self) -> bool {
        self.is_the_endpoints()
            || matches!(self, Self::UpstreamUnreachable | Self::UpstreamConnectTimeout | Self::NoEndpoint)
    }

    fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::MalformedRequest => ("malformed-request", 400, "the request is not valid HTTP"),
            Self::PathRejected => ("path-rejected", 400, "the path of the request is not acceptable"),
            Self::HeadTimeout => ("head-timeout", 408, "the head of the request did not arrive in time"),
            Self::BodyTimeout => ("body-timeout", 408, "the body of the request did not arrive in time"),
            Self::BodyTooLarge => ("body-too-large", 413, "the body of the request is too large"),
            Self::UriTooLong => ("uri-too-long", 414, "the target of the request is too long"),
            Self::ExpectationFailed => ("expectation-failed", 417, "only 100-continue can be expected"),
            Self::HeadTooLarge => ("head-too-large", 431, "the header section of the request is too large"),
            Self::LoopDetected => ("loop-detected", 508, "the request has come back to the gateway too often"),
            Self::MethodNotImplemented => ("method-not-implemented", 501, "the method is not supported"),
            Self::NoRoute => ("no-route", 404, "no route matches the request"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "the method is not allowed here"),
            Self::PluginFailed => ("plugin-failed", 500, "the request could not be processed"),
            Self::PluginBusy => ("plugin-busy", 503, "the gateway is too busy"),
            Self::PluginCircuitOpen => ("plugin-circuit-open", 503, "the request could not be processed"),
            Self::TooManyConnections => ("too-many-connections", 503, "the gateway is too busy"),
            Self::Draining => ("draining", 503, "the gateway is shutting down"),
            Self::NoEndpoint => ("no-endpoint", 503, "the service is not available"),
            Self::CircuitOpen => ("circuit-open", 503, "the service is not available"),
            Self::UpstreamBusy => ("upstream-busy", 503, "the service is too busy"),
            Self::UpstreamUnreachable => ("upstream-unreachable", 502, "the service could not be reached"),
            Self::UpstreamConnectTimeout => ("upstream-connect-timeout", 504, "the service did not answer in time"),
            Self::UpstreamTimeout => ("upstream-timeout", 504, "the service did not answer in time"),
            Self::TotalTimeout => ("total-timeout", 504, "the request took too long"),
            Self::UpstreamClosed => ("upstream-closed", 502, "the service closed the connection"),
            Self::UpstreamProtocol => ("upstream-protocol", 502, "the service sent an invalid response"),
            Self::ClientTimeout => ("client-timeout", 408, "the client did not take the response in time"),
            Self::ClientClosed => ("client-closed", 499, "the client closed the connection"),
            Self::Internal => ("internal", 500, "the request could not be processed"),
        }
    }
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::TooLong => Self::UriTooLong,
            _ => Self::PathRejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_has_each_level_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outside")]
        struct Outside(#[source] Between);
        #[derive(Debug, thiserror::Error)]
        #[error("between: {0}")]
        struct Between(#[source] std::io::Error);
        let error = Outside(Between(std::io::Error::other("inside")));
        assert_eq!(chain(&error), "outside: between: inside");
    }

    #[test]
    fn all_failures_are_listed_in_order() {
        for (index, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, index);
        }
        assert_eq!(Failure::Internal as usize, Failure::ALL.len() - 1, "`Internal` stays the last one");
    }

    #[test]
    fn the_client_is_responsible_for_every_failure_with_a_status_of_its_class() {
        for failure in Failure::ALL.into_iter().filter(|failure| failure.status().is_client_error()) {
            assert_eq!(failure.responsible(), Responsible::Client, "{failure:?}");
        }
    }

    #[test]
    fn every_failure_has_a_valid_status_and_a_reason_of_its_own() {
        let reasons: std::collections::BTreeSet<_> = Failure::ALL.map(Failure::reason).into();
        assert_eq!(reasons.len(), Failure::ALL.len());
        assert!(Failure::ALL.into_iter().all(|failure| failure.status().as_u16() >= 400));
    }
}
