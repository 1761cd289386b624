//! When a request is sent again, and when not even once.

use gateway_core::model;

use super::{report::Report, settings::range};
use crate::{
    file::{CircuitBreaker, PlainRetryCondition, Retry, RetryCondition},
    units::Span,
    yaml::join,
};

pub(super) fn retry(typed: &Retry, place: &str, report: &mut Report<'_>) -> model::Retry {
    range(typed.backoff, (Span::millis(0), Span::secs(60)), &join(place, "backoff"), report);
    range(typed.backoff_at_most, (Span::millis(0), Span::secs(60)), &join(place, "backoff-at-most"), report);
    if typed.budget.0.0 == 0 && typed.budget_floor == 0 {
        report
            .value(&join(place, "budget"), "a budget of nothing allows no retry; leave `retry` out, or write a share");
    }
    let mut on = model::RetryOn::default();
    for (_, condition) in report.parts(&typed.on, &join(place, "on")) {
        match condition {
            RetryCondition::Plain(PlainRetryCondition::ConnectFailure) => on.connect_failure = true,
            RetryCondition::Plain(PlainRetryCondition::Reset) => on.reset = true,
            RetryCondition::Plain(PlainRetryCondition::Timeout) => on.timeout = true,
            RetryCondition::Status(status) => on.statuses.push(*status),
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    model::Retry {
        attempts: typed.attempts,
        on,
        budget: typed.budget.0,
        budget_floor: typed.budget_floor,
        backoff: typed.backoff.0,
        backoff_at_most: typed.backoff_at_most.0.max(typed.backoff.0),
    }
}

pub(super) fn breaker(typed: &CircuitBreaker, place: &str, report: &mut Report<'_>) -> model::CircuitBreaker {
    range(typed.window, (Span::millis(100), Span::secs(3600)), &join(place, "window"), report);
    range(typed.open_for, (Span::millis(1), Span::secs(3600)), &join(place, "open-for"), report);
    if typed.failure_rate.0.0 == 0 {
        report.value(&join(place, "failure-rate"), "at `0%` a single failure opens the circuit; write at least `1%`");
    }
    model::CircuitBreaker {
        failure_rate: typed.failure_rate.0,
        minimum_requests: typed.minimum_requests,
        window: typed.window.0,
        open_for: typed.open_for.0,
        probes: typed.probes,
    }
}
