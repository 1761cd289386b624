//! How long a call has been running, which is not how long ago it began: a call that waits for the network
//! uses nobody's time.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Counts the time in which a call is polled. Shared between the call and the epoch callback in its store,
/// both on one thread; atomic because a store's callbacks have to be `Send`.
pub(super) struct RunClock {
    base: Instant,
    /// Nanoseconds in polls that have ended.
    ran: AtomicU64,
    /// When the present poll began, in nanoseconds from `base`.
    since: AtomicU64,
}

impl RunClock {
    pub(super) fn new() -> Self {
        Self { base: Instant::now(), ran: AtomicU64::new(0), since: AtomicU64::new(0) }
    }

    /// The running time so far; for use within a poll.
    pub(super) fn running(&self) -> Duration {
        let present = self.now().saturating_sub(self.since.load(Relaxed));
        Duration::from_nanos(self.ran.load(Relaxed) + present)
    }

    /// The running time of the last future, once it has ended.
    pub(super) fn ran(&self) -> Duration {
        Duration::from_nanos(self.ran.load(Relaxed))
    }

    /// Runs a future to its end, counting from zero.
    pub(super) async fn run<F: Future>(&self, future: F) -> F::Output {
        self.ran.store(0, Relaxed);
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            self.since.store(self.now(), Relaxed);
            let poll = future.as_mut().poll(cx);
            let ran = self.now().saturating_sub(self.since.load(Relaxed));
            self.ran.fetch_add(ran, Relaxed);
            poll
        })
        .await
    }

    fn now(&self) -> u64 {
        // Five hundred years fit.
        self.base.elapsed().as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[test]
    fn time_spent_waiting_does_not_count() {
        let clock = RunClock::new();
        let wait = Duration::from_millis(300);
        let mut waited = false;
        let waiting = std::future::poll_fn(|_| {
            if std::mem::replace(&mut waited, true) { Poll::Ready(clock.running()) } else { Poll::Pending }
        });
        let mut run = pin!(clock.run(waiting));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(run.as_mut().poll(&mut cx).is_pending());
        std::thread::sleep(wait);
        let Poll::Ready(running) = run.as_mut().poll(&mut cx) else { panic!("the second poll ends it") };
        assert!(running < wait, "{running:?}");
    }
}
