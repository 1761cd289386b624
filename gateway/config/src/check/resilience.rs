//! When a request is sent again, and when not even once: what no schema says.

use gateway_core::model::{CircuitBreaker, PassiveHealth, Percent, Retry};

use super::report::Report;
use crate::yaml::join;

pub(super) fn retry(mut retry: Retry, place: &str, report: &mut Report<'_>) -> Retry {
    if retry.budget == Percent(0) && retry.min_retries_per_second == 0 {
        report
            .value(&join(place, "budget"), "a budget of nothing allows no retry; leave `retry` out, or write a share");
    }
    retry.max_backoff = retry.max_backoff.max(retry.backoff);
    retry
}

pub(super) fn breaker(breaker: CircuitBreaker, place: &str, report: &mut Report<'_>) -> CircuitBreaker {
    if breaker.failure_rate == Percent(0) {
        report.value(&join(place, "failure-rate"), "at `0%` a single failure opens the circuit; write at least `1%`");
    }
    breaker
}

pub(super) fn passive(mut passive: PassiveHealth, place: &str, report: &mut Report<'_>) -> PassiveHealth {
    if passive.consecutive_failures == 0 && passive.failure_rate.is_none() {
        let cure = "give `consecutive-failures` or `failure-rate`, or leave `passive` out";
        report.key(place, format!("nothing here ever ejects an endpoint; {cure}"));
    }
    if passive.failure_rate == Some(Percent(0)) {
        report.value(&join(place, "failure-rate"), "`0%` is always reached; leave it out, or write a share");
    }
    passive.max_ejection_time = passive.max_ejection_time.max(passive.ejection_time);
    passive
}
