//! How long an exchange may take until its response begins. The time is the service's and the plugins', not the client's: as
//! long as the client sends its body, each part of that has a time of its own (`Traffic::patience`), and the deadline counts
//! from the last part. Envoy and nginx count the same way.

use std::time::{Duration, Instant};

use super::body::Traffic;
use crate::config::model::RequestTimeout;

/// A deadline that the client's body puts off.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// When the exchange began.
    pub since: Instant,
    /// Counted from `since`, or from the last part of the client's body.
    pub limit: Duration,
    /// Counted from `since`, whatever the client sends: what it has asked for itself, or the route's `whole`.
    pub at_most: Option<Duration>,
}

/// For no limit. Added to the present it is still a point in time.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// A client that is awaited for too long is noticed by what waits for its body; only where nothing does, this late.
const NOTICE: Duration = Duration::from_secs(1);

impl Deadline {
    /// As it is configured, for a client that may have said how long it waits (gRPC's `grpc-timeout`). A default is for
    /// clients that do not say.
    pub fn of(since: Instant, configured: RequestTimeout, asked: Option<Duration>) -> Self {
        let limit = configured.limit.filter(|_| asked.is_none() || !configured.is_default);
        Self { at_most: asked, ..Self::new(since, limit) }
    }

    pub fn new(since: Instant, limit: Option<Duration>) -> Self {
        Self { since, limit: limit.map_or(FOREVER, |limit| limit.min(FOREVER)), at_most: None }
    }

    /// How long nothing need be done, as things are: when that has passed, it can be more. It is nothing when it is over.
    pub fn left(self, traffic: &Traffic, now: Instant) -> Duration {
        let since = traffic.moved.get().map_or(self.since, |moved| moved.max(self.since));
        let left = match traffic.awaited.get() {
            // It may come the next moment, and then the limit counts from there.
            true => {
                let longest = self.limit.max(traffic.patience.get() + NOTICE);
                (since + longest).saturating_duration_since(now).min(self.limit)
            }
            false => (since + self.limit).saturating_duration_since(now),
        };
        self.at_most.map_or(left, |most| left.min((self.since + most.min(FOREVER)).saturating_duration_since(now)))
    }

    /// Runs a future until the deadline; `None` if that came first.
    pub async fn limit<F: Future>(self, traffic: &Traffic, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        loop {
            let left = self.left(traffic, Instant::now());
            if left.is_zero() {
                return None;
            }
            if let Ok(output) = tokio::time::timeout(left, future.as_mut()).await {
                return Some(output);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_body_that_moves_puts_the_deadline_off_and_one_that_has_ended_does_not() {
        let (traffic, since) = (Traffic::default(), Instant::now());
        traffic.patience.set(60 * SECOND);
        let deadline = Deadline::new(since, Some(5 * SECOND));
        assert_eq!(deadline.left(&traffic, since + 4 * SECOND), SECOND);
        assert!(deadline.left(&traffic, since + 6 * SECOND).is_zero());
        traffic.moved.set(Some(since + 3 * SECOND));
        assert_eq!(deadline.left(&traffic, since + 4 * SECOND), 4 * SECOND);
        // The client has the time that each part of a body has.
        traffic.awaited.set(true);
        assert_eq!(deadline.left(&traffic, since + 63 * SECOND), SECOND);
        assert_eq!(deadline.left(&traffic, since + 30 * SECOND), 5 * SECOND);
        assert!(deadline.left(&traffic, since + 64 * SECOND).is_zero());
        traffic.awaited.set(false);
        assert!(deadline.left(&traffic, since + 9 * SECOND).is_zero());
    }

    #[test]
    fn a_client_that_says_how_long_it_waits_needs_no_default_and_cannot_prolong_what_is_configured() {
        let (traffic, since) = (Traffic::default(), Instant::now());
        let configured = RequestTimeout { limit: Some(5 * SECOND), is_default: false };
        let left = |configured, asked| Deadline::of(since, configured, asked).left(&traffic, since);
        assert_eq!(left(RequestTimeout::default(), None), 60 * SECOND);
        assert_eq!(left(RequestTimeout::default(), Some(3600 * SECOND)), 3600 * SECOND);
        assert_eq!(left(configured, Some(3600 * SECOND)), 5 * SECOND);
        assert_eq!(left(configured, Some(SECOND)), SECOND);
        assert!(left(RequestTimeout { limit: None, is_default: false }, None) > 1_000_000 * SECOND);
    }

    #[test]
    fn what_the_client_asked_for_is_not_put_off_and_no_limit_is_none() {
        let (traffic, since) = (Traffic::default(), Instant::now());
        let own = Deadline { at_most: Some(5 * SECOND), ..Deadline::new(since, None) };
        traffic.moved.set(Some(since + 4 * SECOND));
        assert_eq!(own.left(&traffic, since + 4 * SECOND), SECOND);
        assert!(Deadline::new(since, None).left(&traffic, since) > 1_000_000 * SECOND);
        let far = Deadline { at_most: Some(Duration::MAX), ..Deadline::new(since, Some(Duration::MAX)) };
        assert!(far.left(&traffic, since) > 1_000_000 * SECOND);
    }
}
