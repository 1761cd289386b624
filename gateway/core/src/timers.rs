//! Deadlines of one worker: thousands of them, armed and disarmed at every request, nearly none of which
//! ever passes. A timer here costs a store to a slab; one sweep every `TICK` finds the few that are due.
//!
//! Deadlines are therefore late by up to two ticks, and never early: the time counts from the first sweep after
//! a timer was armed, however late that sweep comes. What must be exact uses tokio.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::time::Instant;

/// How often due timers are looked for.
pub const TICK: Duration = Duration::from_millis(20);

/// The timers of one worker.
#[derive(Clone, Default)]
pub struct Timers(Rc<Shared>);

#[derive(Default)]
struct Shared {
    slab: RefCell<Slab>,
    sweeping: Cell<bool>,
}

#[derive(Default)]
struct Slab {
    entries: Vec<Entry>,
    free: Vec<usize>,
    armed: usize,
}

struct Entry {
    due: Due,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Never,
    /// So long after the next sweep.
    After(Duration),
    /// So long after the sweeper began.
    At(Duration),
    Passed,
}

/// One deadline that can be moved at almost no cost. Not armed at first.
pub struct Timer {
    shared: Rc<Shared>,
    index: usize,
}

impl Timers {
    pub fn timer(&self) -> Timer {
        let mut slab = self.0.slab.borrow_mut();
        let entry = Entry { due: Due::Never, waker: None };
        let index = match slab.free.pop() {
            Some(index) => {
                slab.entries[index] = entry;
                index
            }
            None => {
                slab.entries.push(entry);
                slab.entries.len() - 1
            }
        };
        Timer { shared: self.0.clone(), index }
    }
}

impl Timer {
    /// Sets the deadline, counted from now. Must be called within the worker's `LocalSet`.
    pub fn arm(&self, after: Duration) {
        self.shared.ensure_sweeper();
        self.set(Due::After(after));
    }

    pub fn disarm(&self) {
        self.set(Due::Never);
    }

    pub fn is_armed(&self) -> bool {
        self.shared.slab.borrow().entries[self.index].due != Due::Never
    }

    /// Whether the deadline has passed since it was set.
    pub fn has_passed(&self) -> bool {
        self.shared.slab.borrow().entries[self.index].due == Due::Passed
    }

    fn set(&self, due: Due) {
        let mut slab = self.shared.slab.borrow_mut();
        let old = std::mem::replace(&mut slab.entries[self.index].due, due);
        slab.armed = slab.armed + usize::from(due.is_counted()) - usize::from(old.is_counted());
    }

    /// Ready once the deadline has passed, and until it is moved.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let old = {
            let mut slab = self.shared.slab.borrow_mut();
            let entry = &mut slab.entries[self.index];
            match entry.due {
                Due::Never => return Poll::Pending,
                Due::Passed => return Poll::Ready(()),
                Due::After(_) | Due::At(_) => {}
            }
            if entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            entry.waker.replace(cx.waker().clone())
        };
        // Outside the borrow: the last reference to a task may own timers.
        drop(old);
        Poll::Pending
    }

    /// Runs a future until the deadline; `None` if that came first. When it has passed, `more` may put it off.
    pub async fn limit<F: Future>(&self, future: F, more: impl Fn() -> Option<Duration>) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            loop {
                ready!(self.poll_expired(cx));
                match more() {
                    Some(more) => self.arm(more),
                    None => return Poll::Ready(None),
                }
            }
        })
        .await
    }
}

impl Due {
    /// Whether a sweep has to look at it.
    fn is_counted(self) -> bool {
        matches!(self, Self::After(_) | Self::At(_))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.set(Due::Never);
        let waker = {
            let mut slab = self.shared.slab.borrow_mut();
            slab.free.push(self.index);
            slab.entries[self.index].waker.take()
        };
        // Outside the borrow: the last reference to a task may own timers.
        drop(waker);
    }
}

impl Slab {
    /// Collects the wakers of those that are due, and says how many are left.
    fn sweep(&mut self, now: Duration, due: &mut Vec<Waker>) -> usize {
        for entry in &mut self.entries {
            match entry.due {
                Due::After(after) => entry.due = Due::At(now.saturating_add(after)),
                Due::At(at) if at <= now => {
                    entry.due = Due::Passed;
                    self.armed -= 1;
                    due.extend(entry.waker.take());
                }
                Due::At(_) | Due::Passed | Due::Never => {}
            }
        }
        self.armed
    }
}

impl Shared {
    /// The sweeper runs only while some timer is armed, so that an idle worker sleeps.
    fn ensure_sweeper(self: &Rc<Self>) {
        if self.sweeping.replace(true) {
            return;
        }
        let shared = self.clone();
        tokio::task::spawn_local(async move {
            let began = Instant::now();
            let mut due = Vec::new();
            loop {
                tokio::time::sleep(TICK).await;
                let armed = shared.slab.borrow_mut().sweep(began.elapsed(), &mut due);
                due.drain(..).for_each(Waker::wake);
                if armed == 0 {
                    shared.sweeping.set(false);
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_paused_clock<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    #[test]
    fn a_future_that_never_ends_is_cut_off_after_the_deadline_and_not_before() {
        on_a_paused_clock(async {
            let timer = Timers::default().timer();
            let began = Instant::now();
            timer.arm(Duration::from_millis(500));
            assert!(timer.limit(std::future::pending::<()>(), || None).await.is_none());
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(500) && took <= Duration::from_millis(560), "{took:?}");
        });
    }

    #[test]
    fn a_deadline_that_has_passed_can_be_put_off() {
        on_a_paused_clock(async {
            let timer = Timers::default().timer();
            let (began, times) = (Instant::now(), Cell::new(0));
            timer.arm(Duration::from_millis(100));
            let more = || {
                times.set(times.get() + 1);
                (times.get() < 3).then_some(Duration::from_millis(100))
            };
            assert!(timer.limit(std::future::pending::<()>(), more).await.is_none());
            assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        });
    }

    #[test]
    fn a_future_that_ends_in_time_gives_its_output() {
        on_a_paused_clock(async {
            let timer = Timers::default().timer();
            timer.arm(Duration::from_millis(500));
            let slow = async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                7
            };
            assert_eq!(timer.limit(slow, || None).await, Some(7));
        });
    }

    #[test]
    fn a_deadline_that_is_moved_on_does_not_pass() {
        on_a_paused_clock(async {
            let timer = Timers::default().timer();
            timer.arm(Duration::from_millis(100));
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(60)).await;
                timer.arm(Duration::from_millis(100));
            }
            assert!(timer.limit(std::future::ready(()), || None).await.is_some());
            let began = Instant::now();
            timer.limit(std::future::pending::<()>(), || None).await;
            assert!(began.elapsed() >= Duration::from_millis(100));
        });
    }

    #[test]
    fn a_deadline_is_not_early_where_the_sweeper_was_held_up() {
        on_a_paused_clock(async {
            let timers = Timers::default();
            let other = timers.timer();
            other.arm(Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(50)).await;
            // As a guest does that keeps its worker for so long: time goes on, and nothing else runs.
            let held_up = std::pin::pin!(tokio::time::advance(Duration::from_millis(400)));
            let _ = held_up.poll(&mut Context::from_waker(Waker::noop()));
            let timer = timers.timer();
            timer.arm(Duration::from_millis(300));
            let began = Instant::now();
            timer.limit(std::future::pending::<()>(), || None).await;
            assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        });
    }

    #[test]
    fn the_sweeper_rests_when_nothing_is_armed_and_starts_again() {
        on_a_paused_clock(async {
            let timers = Timers::default();
            let timer = timers.timer();
            timer.arm(Duration::from_millis(20));
            timer.disarm();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!timers.0.sweeping.get());
            timer.arm(Duration::from_millis(20));
            assert!(timer.limit(std::future::pending::<()>(), || None).await.is_none());
        });
    }

    #[test]
    fn slots_of_dropped_timers_are_used_again() {
        on_a_paused_clock(async {
            let timers = Timers::default();
            for _ in 0..100 {
                let timer = timers.timer();
                timer.arm(Duration::from_secs(1));
            }
            assert_eq!(timers.0.slab.borrow().entries.len(), 1);
            assert_eq!(timers.0.slab.borrow().armed, 0);
        });
    }
}
