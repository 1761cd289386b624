//! What an upstream is spared, and what it is forgiven: its timeouts and limits, passive health, retries and the circuit breaker, as the
//! file writes them and as the gateway uses them. The doc comments of the fields are what editors show.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    Percent, Wait,
    units::{HOUR, HumanDuration, MINUTE, Optional},
};

/// A time over which shares are counted.
type Window = HumanDuration<100, HOUR>;
/// A pause between two attempts.
type Backoff = HumanDuration<0, MINUTE>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct UpstreamTimeouts {
    /// TCP and TLS.
    #[serde(with = "HumanDuration::<1, { 5 * MINUTE }>")]
    pub connect: Duration,
    /// From sending a request to the head of its response, for each attempt; the route's `request` limits all
    /// attempts together.
    #[serde(with = "Optional::<Wait>", skip_serializing_if = "Option::is_none")]
    pub response: Option<Duration>,
    /// Time between two chunks of a response body; the global `body` by default.
    #[serde(with = "Optional::<Wait>", skip_serializing_if = "Option::is_none")]
    pub body: Option<Duration>,
    /// How long idle connections are kept.
    #[serde(with = "Wait")]
    pub idle: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), response: None, body: None, idle: Duration::from_secs(60) }
    }
}

/// Limits for the whole process. Requests over a limit get 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct UpstreamLimits {
    /// Maximum connections; a worker without a connection can always open one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<usize>,
    /// Maximum requests that wait for a connection.
    #[schemars(range(max = 1_000_000))]
    pub pending: usize,
    /// Maximum active requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: Option<usize>,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self { connections: None, pending: 1024, requests: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct PassiveHealth {
    /// Consecutive failures that eject an endpoint: statuses of 500 and above, and requests without a
    /// response. 0 disables it.
    #[schemars(range(max = 1_000_000))]
    pub consecutive_failures: u32,
    /// Failure rate that ejects an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<Percent>,
    /// Minimum number of requests to an endpoint within the window for `failure-rate` to apply.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: u32,
    /// The time window of `failure-rate`.
    #[serde(with = "Window")]
    pub window: Duration,
    /// How long an endpoint is ejected; doubled for each further ejection in short order.
    #[serde(with = "Wait")]
    pub ejection_time: Duration,
    /// Maximum ejection time.
    #[serde(with = "Wait")]
    pub max_ejection_time: Duration,
    /// Maximum share of endpoints that are ejected at a time.
    pub max_ejected: Percent,
}

impl Default for PassiveHealth {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_rate: None,
            minimum_requests: 20,
            window: Duration::from_secs(10),
            ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejected: Percent(50),
        }
    }
}

/// Only idempotent requests whose body is buffered are retried, and those of which nothing was sent; never
/// after the response has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Retry {
    /// Maximum number of retries of a request.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
    /// `connect-failure`: no endpoint could be reached; `reset`: the connection broke before the response began;
    /// `timeout`: the response did not begin within `timeouts.response`; and statuses.
    pub on: RetryOn,
    /// Retry budget: the share of requests that can be retried.
    pub budget: Percent,
    /// Retries per second and worker that are allowed in any case.
    #[schemars(range(max = 10_000))]
    pub min_retries_per_second: u32,
    /// Maximum delay of the first retry; doubled for each further one. The delay is random.
    #[serde(with = "Backoff")]
    pub backoff: Duration,
    /// Maximum delay of a retry.
    #[serde(with = "Backoff")]
    pub max_backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        let on = RetryOn { connect_failure: true, reset: true, timeout: false, statuses: vec![502, 503, 504] };
        Self {
            attempts: 1,
            on,
            budget: Percent(20),
            min_retries_per_second: 3,
            backoff: Duration::from_millis(25),
            max_backoff: Duration::from_millis(250),
        }
    }
}

/// What a request is sent again for: written as a list, of which the order does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// No endpoint could be reached.
    pub connect_failure: bool,
    /// The connection broke before the response began.
    pub reset: bool,
    /// The response did not begin in time.
    pub timeout: bool,
    /// Sorted.
    pub statuses: Vec<u16>,
}

/// An item of the list.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum RetryCondition {
    Failure(RetryFailure),
    Status(#[schemars(range(min = 400, max = 599))] u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum RetryFailure {
    ConnectFailure,
    Reset,
    Timeout,
}

impl Serialize for RetryOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let failures = [
            (self.connect_failure, RetryFailure::ConnectFailure),
            (self.reset, RetryFailure::Reset),
            (self.timeout, RetryFailure::Timeout),
        ];
        let failures = failures.into_iter().filter_map(|(is_in, failure)| is_in.then_some(failure));
        let failures = failures.map(RetryCondition::Failure);
        serializer.collect_seq(failures.chain(self.statuses.iter().copied().map(RetryCondition::Status)))
    }
}

impl<'de> Deserialize<'de> for RetryOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let conditions = Vec::<RetryCondition>::deserialize(deserializer)?;
        if conditions.is_empty() {
            return Err(de::Error::invalid_length(0, &"at least one condition"));
        }
        let mut on = Self::default();
        for condition in conditions {
            match condition {
                RetryCondition::Failure(RetryFailure::ConnectFailure) => on.connect_failure = true,
                RetryCondition::Failure(RetryFailure::Reset) => on.reset = true,
                RetryCondition::Failure(RetryFailure::Timeout) => on.timeout = true,
                RetryCondition::Status(status @ 400..=599) => on.statuses.push(status),
                RetryCondition::Status(status) => {
                    return Err(de::Error::custom(format_args!("expected a status of 400 to 599, found {status}")));
                }
            }
        }
        on.statuses.sort_unstable();
        on.statuses.dedup();
        Ok(on)
    }
}

impl JsonSchema for RetryOn {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RetryOn".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Vec::<RetryCondition>::json_schema(generator);
        schema.insert("minItems".to_owned(), 1.into());
        schema
    }
}

/// Failures are statuses of 500 and above, and requests without a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Failure rate that opens the circuit: requests then get 503 immediately.
    pub failure_rate: Percent,
    /// Minimum number of requests within the window for `failure-rate` to apply.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: u32,
    /// The time window of `failure-rate`.
    #[serde(with = "Window")]
    pub window: Duration,
    /// How long the circuit stays open before it is half-open.
    #[serde(with = "HumanDuration::<1, HOUR>")]
    pub open_duration: Duration,
    /// Concurrent requests while half-open; the circuit closes when as many succeed, and opens again when one
    /// fails.
    #[schemars(range(min = 1, max = 1_000))]
    pub half_open_requests: u32,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            failure_rate: Percent(50),
            minimum_requests: 20,
            window: Duration::from_secs(10),
            open_duration: Duration::from_secs(5),
            half_open_requests: 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn conditions_of_retries_are_read_and_written() {
        let list = json!(["connect-failure", "timeout", 429, 503]);
        let on: RetryOn = from_value(list.clone()).unwrap();
        assert_eq!(on, RetryOn { connect_failure: true, reset: false, timeout: true, statuses: vec![429, 503] });
        assert_eq!(to_value(&on).unwrap(), list);
        assert_eq!(from_value::<RetryOn>(json!([503, "timeout", 429, 503, "connect-failure"])).unwrap(), on);
        for wrong in [json!([]), json!([200]), json!([600]), json!(["never"]), json!(503)] {
            assert!(from_value::<RetryOn>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
