//! How long a call has been running, which is not how long ago it began: a call that waits for the network, or for a CPU,
//! uses nobody's time.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::epoch::Running;

/// Counts the time in which a call is polled. Shared between the call and the epoch callback in its store,
/// both on one thread; atomic because a store's callbacks have to be `Send`.
pub(crate) struct RunClock {
    base: Instant,
    /// Nanoseconds in polls that have ended.
    ran: AtomicU64,
    /// When the present poll began, in nanoseconds from `base`.
    since: AtomicU64,
    /// Whether CPU time counts from here on. Reading it is a system call, so most calls never do.
    watched: AtomicBool,
    /// Nanoseconds of CPU in polls that have ended, since it counts.
    used: AtomicU64,
    /// The thread's CPU time when the present poll began, or when it began to count.
    used_since: AtomicU64,
}

/// The CPU time of this thread.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn thread_cpu_nanos() -> u64 {
    thread_cpu_time().as_nanos() as u64
}

impl RunClock {
    pub(crate) fn new() -> Self {
        Self {
            base: Instant::now(),
            ran: AtomicU64::new(0),
            since: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            used: AtomicU64::new(0),
            used_since: AtomicU64::new(0),
        }
    }

    /// Whether the call has run for longer than it may; for use within a poll. Half of the time passes on the wall, the rest
    /// is CPU time: on a machine that is short of CPUs, a call that did not get to run is not at fault.
    pub(crate) fn is_over(&self, limit: Duration) -> bool {
        if self.watched.load(Relaxed) {
            let present = thread_cpu_nanos().saturating_sub(self.used_since.load(Relaxed));
            return Duration::from_nanos(self.used.load(Relaxed) + present) >= limit / 2;
        }
        if self.running() >= limit / 2 {
            self.used_since.store(thread_cpu_nanos(), Relaxed);
            self.watched.store(true, Relaxed);
        }
        false
    }

    /// The running time so far; for use within a poll.
    fn running(&self) -> Duration {
        let present = self.now().saturating_sub(self.since.load(Relaxed));
        Duration::from_nanos(self.ran.load(Relaxed) + present)
    }

    /// The running time of the last future, once it has ended.
    pub(crate) fn ran(&self) -> Duration {
        Duration::from_nanos(self.ran.load(Relaxed))
    }

    /// Runs a future to its end, counting from zero.
    pub(crate) async fn run<F: Future>(&self, future: F) -> F::Output {
        self.ran.store(0, Relaxed);
        self.used.store(0, Relaxed);
        self.watched.store(false, Relaxed);
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            let _running = Running::begin();
            self.since.store(self.now(), Relaxed);
            if self.watched.load(Relaxed) {
                self.used_since.store(thread_cpu_nanos(), Relaxed);
            }
            let poll = future.as_mut().poll(cx);
            let ran = self.now().saturating_sub(self.since.load(Relaxed));
            self.ran.fetch_add(ran, Relaxed);
            if self.watched.load(Relaxed) {
                let used = thread_cpu_nanos().saturating_sub(self.used_since.load(Relaxed));
                self.used.fetch_add(used, Relaxed);
            }
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

    #[test]
    fn time_without_a_cpu_does_not_count_against_a_call() {
        let clock = RunClock::new();
        let limit = Duration::from_millis(40);
        let mut polls = 0;
        let starved = std::future::poll_fn(|_| {
            polls += 1;
            match polls {
                // As a thread that does not get to run.
                1 | 2 => {
                    std::thread::sleep(limit * 2);
                    assert!(!clock.is_over(limit), "in poll {polls}");
                    Poll::Pending
                }
                _ => {
                    let began = thread_cpu_time();
                    while !clock.is_over(limit) {}
                    Poll::Ready(thread_cpu_time() - began)
                }
            }
        });
        let mut run = pin!(clock.run(starved));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(run.as_mut().poll(&mut cx).is_pending());
        assert!(run.as_mut().poll(&mut cx).is_pending());
        let Poll::Ready(used) = run.as_mut().poll(&mut cx) else { panic!("the third poll ends it") };
        assert!(used <= limit, "{used:?}");
        assert!(used >= limit / 4, "{used:?}");
    }
}
