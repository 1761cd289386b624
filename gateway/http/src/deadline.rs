//! How long an exchange may take until its response begins. The time is the service's and the plugins', not the client's: as
//! long as the client sends its body, each part of that has a time of its own (`Traffic::body_timeout`), and the deadline counts
//! from the last part. Envoy and nginx count the same way.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    task::{Poll, ready},
    time::{Duration, Instant},
};

use gateway_core::model::RequestTimeout;

use super::body::Traffic;

/// A deadline that the client's body puts off.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// When the exchange began.
    pub since: Instant,
    /// Counted from `since`, or from the last part of the client's body.
    pub limit: Duration,
    /// What `limit` is.
    pub name: Limit,
    /// Counted from `since`, whatever the client sends: what the client has asked for itself.
    pub asked: Option<Duration>,
    /// Counted from `since`, whatever the client sends: the route's `timeouts.total`.
    pub total: Option<Duration>,
}

/// A limit that a deadline can run into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Request,
    /// Of a request that is no client's.
    Call,
    Asked,
    Total,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "`timeouts.request`",
            Self::Call => "the call's time limit",
            Self::Asked => "the client's `grpc-timeout`",
            Self::Total => "`timeouts.total`",
        })
    }
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
        Self { asked, ..Self::new(since, limit) }
    }

    pub fn new(since: Instant, limit: Option<Duration>) -> Self {
        Self {
            since,
            limit: limit.map_or(FOREVER, |limit| limit.min(FOREVER)),
            name: Limit::Request,
            asked: None,
            total: None,
        }
    }

    /// How long nothing need be done, as things are: when that has passed, it can be more. It is nothing when it is over. While
    /// the client's body is awaited, it can also become less: at its next part, from which the limit counts (`Traffic::watch`).
    pub fn left(self, traffic: &Traffic, now: Instant) -> Duration {
        let since = traffic.moved.get().map_or(self.since, |moved| moved.max(self.since));
        let left = match traffic.awaited.get() {
            true => {
                let longest = self.limit.max(traffic.body_timeout.get() + NOTICE);
                (since + longest).saturating_duration_since(now)
            }
            false => (since + self.limit).saturating_duration_since(now),
        };
        self.most().map_or(left, |(most, _)| left.min((self.since + most).saturating_duration_since(now)))
    }

    /// The limit that was hit, when nothing is left.
    pub fn hit(self, now: Instant) -> Limit {
        match self.most() {
            Some((most, limit)) if now >= self.since + most => limit,
            _ => self.name,
        }
    }

    /// The shorter one of the limits that nothing puts off.
    fn most(self) -> Option<(Duration, Limit)> {
        let total = self.total.map(|total| (total.min(FOREVER), Limit::Total));
        let asked = self.asked.map(|asked| (asked.min(FOREVER), Limit::Asked));
        total.into_iter().chain(asked).min_by_key(|(limit, _)| *limit)
    }

    /// Runs a future until the deadline, or returns the limit that was hit.
    pub async fn limit<F: Future>(self, traffic: &Traffic, future: F) -> Result<F::Output, Limit> {
        let now = Instant::now();
        let mut left = self.left(traffic, now);
        if left.is_zero() {
            return Err(self.hit(now));
        }
        let mut future = pin!(future);
        let mut over = pin!(tokio::time::sleep(left));
        poll_fn(|cx| {
            let (polled, moved) = traffic.watch(cx, |cx| future.as_mut().poll(cx));
            if let Poll::Ready(output) = polled {
                return Poll::Ready(Ok(output));
            }
            if moved {
                left = self.left(traffic, Instant::now());
                over.as_mut().reset(tokio::time::Instant::now() + left);
            }
            loop {
                ready!(over.as_mut().poll(cx));
                let now = Instant::now();
                left = self.left(traffic, now);
                if left.is_zero() {
                    return Poll::Ready(Err(self.hit(now)));
                }
                over.as_mut().reset(tokio::time::Instant::now() + left);
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_body_that_moves_puts_the_deadline_off_and_one_that_has_ended_does_not() {
        let (traffic, since) = (Traffic::default(), Instant::now());
        traffic.body_timeout.set(60 * SECOND);
        let deadline = Deadline::new(since, Some(5 * SECOND));
        assert_eq!(deadline.left(&traffic, since + 4 * SECOND), SECOND);
        assert!(deadline.left(&traffic, since + 6 * SECOND).is_zero());
        traffic.moved.set(Some(since + 3 * SECOND));
        assert_eq!(deadline.left(&traffic, since + 4 * SECOND), 4 * SECOND);
        // The client has the time that each part of a body has.
        traffic.awaited.set(true);
        assert_eq!(deadline.left(&traffic, since + 63 * SECOND), SECOND);
        assert_eq!(deadline.left(&traffic, since + 30 * SECOND), 34 * SECOND);
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
        let own = Deadline { asked: Some(5 * SECOND), ..Deadline::new(since, None) };
        traffic.moved.set(Some(since + 4 * SECOND));
        assert_eq!(own.left(&traffic, since + 4 * SECOND), SECOND);
        assert!(Deadline::new(since, None).left(&traffic, since) > 1_000_000 * SECOND);
        let far = Deadline { total: Some(Duration::MAX), ..Deadline::new(since, Some(Duration::MAX)) };
        assert!(far.left(&traffic, since) > 1_000_000 * SECOND);
    }

    #[test]
    fn a_deadline_names_the_limit_that_was_hit() {
        let since = Instant::now();
        let hit = |asked: Option<u32>, total: Option<u32>| {
            let (asked, total) = (asked.map(|asked| asked * SECOND), total.map(|total| total * SECOND));
            Deadline { asked, total, ..Deadline::new(since, Some(5 * SECOND)) }.hit(since + 5 * SECOND)
        };
        assert_eq!(hit(None, None), Limit::Request);
        assert_eq!(hit(Some(9), Some(8)), Limit::Request);
        assert_eq!(hit(Some(3), Some(4)), Limit::Asked);
        assert_eq!(hit(Some(4), Some(3)), Limit::Total);
    }

    /// A short limit, and a client that may take long for its body.
    fn awaited() -> (Deadline, Traffic) {
        let traffic = Traffic::default();
        traffic.body_timeout.set(60 * SECOND);
        traffic.awaited.set(true);
        (Deadline::new(Instant::now(), Some(Duration::from_millis(1))), traffic)
    }

    #[tokio::test]
    async fn a_short_limit_costs_no_polls_while_the_client_is_awaited() {
        let (deadline, traffic) = awaited();
        // Long beside the limit of a millisecond, so that a busy loop would be polled often. `Deadline` reads the real clock.
        let (mut polls, mut waiting) = (0, pin!(tokio::time::sleep(Duration::from_millis(200))));
        let counted = poll_fn(|cx| {
            polls += 1;
            waiting.as_mut().poll(cx)
        });
        assert_eq!(deadline.limit(&traffic, counted).await, Ok(()));
        assert!(polls < 10, "{polls}");
    }

    #[tokio::test]
    async fn the_limit_counts_from_the_part_that_comes_whichever_task_reads_it() {
        let (deadline, traffic) = awaited();
        let client = async {
            // Later than the limit, which counts from what comes then.
            tokio::time::sleep(Duration::from_millis(20)).await;
            traffic.has_come();
            std::future::pending::<()>().await;
        };
        let limited = async {
            let began = Instant::now();
            assert_eq!(deadline.limit(&traffic, std::future::pending::<()>()).await, Err(Limit::Request));
            assert!(began.elapsed() >= Duration::from_millis(20), "{:?}", began.elapsed());
        };
        let limited = tokio::time::timeout(30 * SECOND, limited);
        tokio::select! {
            biased;
            limited = limited => limited.expect("well before the client's time is over"),
            () = client => {}
        }
    }
}
