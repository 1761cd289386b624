//! Sending a request again, where that is safe: it is idempotent and its body at hand, or nothing of it was sent; no
//! response has begun; and the budget allows it.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use gateway_core::{
    error::Failure,
    model::{Retry, RetryOn},
    timers::Timer,
};
use gateway_http::body::Traffic;
use smallvec::SmallVec;

use super::{
    attempt::{ReceivedHead, attempt},
    request::{Deadlines, Outgoing},
};
use crate::{
    refused::Refused,
    worker::{Endpoint, InFlight, Upstream},
};

/// Makes attempts until one succeeds or none may follow.
///
/// The body for the next attempt is set aside before the present one, because the attempt consumes it and may be dropped anywhere.
/// It is used only if this attempt sent something: after an attempt that sent nothing the body in `outgoing` is the original,
/// possibly one that cannot be copied, and replacing it by a copy that does not exist would lose the request's body.
///
/// The deadline belongs to the exchange and covers all attempts with the pauses between them; no attempt may extend it. The result
/// of a failed attempt is dropped before the pause and not after: a response with a body holds its connection and its place among
/// the connections of the upstream, and requests that all wait with such a place in hand could keep each other from getting one.
pub(crate) async fn until_done(
    upstream: &Upstream,
    policy: &Retry,
    endpoint: &mut InFlight,
    outgoing: &mut Outgoing<'_>,
    traffic: &Traffic,
    deadlines: &Deadlines,
    timer: &Timer,
) -> Result<ReceivedHead, Refused> {
    upstream.budget.deposit();
    let deadline = deadlines.response;
    let mut began = deadlines.since;
    let mut tried: SmallVec<[Rc<Endpoint>; 4]> = SmallVec::new();
    for attempts_left in (0..=policy.attempts).rev() {
        let spare = if attempts_left > 0 { outgoing.spare() } else { None };
        let result = attempt(upstream, endpoint, outgoing, traffic, timer, deadline, began).await;
        if attempts_left == 0 || !is_retried(&policy.on, &result) {
            return result;
        }
        let unsent = matches!(&result, Err(refused) if refused.unsent);
        if !unsent && spare.is_none() {
            return result;
        }
        let now = Instant::now();
        let wait = backoff(policy, policy.attempts - attempts_left);
        if wait >= deadline.left(traffic, now) {
            return result;
        }
        let allowed = upstream.budget.withdraw(now);
        upstream.metrics.retried(allowed);
        if !allowed {
            return result;
        }
        // A response that is not wanted takes its connection with it.
        drop(result);
        if let Some(body) = spare
            && !unsent
        {
            outgoing.body = body;
        }
        tokio::time::sleep(wait).await;
        tried.push(endpoint.endpoint().clone());
        began = Instant::now();
        let other = upstream.another(&tried).or_else(|| upstream.pick(None, outgoing.key, began));
        *endpoint = other.ok_or_else(|| Refused::new(Failure::NoEndpoint, "no endpoint is known"))?;
    }
    Err(Refused::new(Failure::Internal, "the last attempt returns"))
}

/// Up to `backoff` before the first retry, up to twice as long before each further one: spread, so that requests that
/// failed together do not come again together.
fn backoff(policy: &Retry, retries: u32) -> Duration {
    let most = policy.backoff.saturating_mul(1 << retries.min(16)).min(policy.max_backoff);
    most.mul_f64(fastrand::f64())
}

fn is_retried(on: &RetryOn, result: &Result<ReceivedHead, Refused>) -> bool {
    match result {
        Ok(answer) => on.statuses.binary_search(&answer.head.status.as_u16()).is_ok(),
        Err(refused) => match refused.failure {
            Failure::UpstreamUnreachable | Failure::UpstreamConnectTimeout => on.connect_failure,
            Failure::UpstreamClosed => on.reset,
            Failure::UpstreamTimeout => on.timeout,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::model::Percent;

    #[test]
    fn the_wait_grows_to_the_longest_and_is_spread() {
        fastrand::seed(7);
        let policy = Retry {
            attempts: 5,
            on: RetryOn::default(),
            budget: Percent(20),
            min_retries_per_second: 0,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(300),
        };
        for (retries, most) in [(0, 100), (1, 200), (2, 300), (9, 300)] {
            let waits: Vec<u128> = (0..1000).map(|_| backoff(&policy, retries).as_millis()).collect();
            assert!(waits.iter().all(|wait| *wait <= most));
            assert!(waits.iter().any(|wait| *wait > most * 9 / 10) && waits.iter().any(|wait| *wait < most / 10));
        }
    }
}
