//! Deadlines of one worker: thousands of them, armed and disarmed at every request, nearly none of which
//! ever passes. A timer here costs a store to a slab; one sweep every `TICK` finds the few that are due.
//!
//! Deadlines are therefore late by up to two ticks, and never early. What must be exact uses tokio.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

/// How often due timers are looked for.
pub const TICK: Duration = Duration::from_millis(20);

const NEVER: u64 = u64::MAX;

/// The timers of one worker.
#[derive(Clone, Default)]
pub struct Timers(Rc<Shared>);

#[derive(Default)]
struct Shared {
    slab: RefCell<Slab>,
    /// Ticks since the sweeper first ran, as of its last sweep.
    now: Cell<u64>,
    sweeping: Cell<bool>,
}

#[derive(Default)]
struct Slab {
    entries: Vec<Entry>,
    free: Vec<usize>,
    armed: usize,
}

struct Entry {
    due: u64,
    waker: Option<Waker>,
}

/// One deadline that can be moved at almost no cost. Not armed at first.
pub struct Timer {
    shared: Rc<Shared>,
    index: usize,
}

impl Timers {
    pub fn timer(&self) -> Timer {
        let mut slab = self.0.slab.borrow_mut();
        let entry = Entry { due: NEVER, waker: None };
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
        let ticks = after.as_nanos().div_ceil(TICK.as_nanos());
        // The current tick has partly passed already, hence one more.
        let due = self.shared.now.get().saturating_add(u64::try_from(ticks).unwrap_or(NEVER)).saturating_add(1);
        self.set(due.min(NEVER - 1));
    }

    pub fn disarm(&self) {
        self.set(NEVER);
    }

    pub fn is_armed(&self) -> bool {
        self.shared.slab.borrow().entries[self.index].due != NEVER
    }

    fn set(&self, due: u64) {
        let mut slab = self.shared.slab.borrow_mut();
        let old = std::mem::replace(&mut slab.entries[self.index].due, due);
        slab.armed = slab.armed + usize::from(due != NEVER) - usize::from(old != NEVER);
    }

    /// Ready once the deadline has passed, and until it is moved.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut slab = self.shared.slab.borrow_mut();
        let entry = &mut slab.entries[self.index];
        if entry.due == NEVER {
            return Poll::Pending;
        }
        if entry.due <= self.shared.now.get() {
            return Poll::Ready(());
        }
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Runs a future until the deadline; `None` if that came first.
    pub async fn limit<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            self.poll_expired(cx).map(|()| None)
        })
        .await
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.set(NEVER);
        let waker = {
            let mut slab = self.shared.slab.borrow_mut();
            slab.free.push(self.index);
            slab.entries[self.index].waker.take()
        };
        // Outside the borrow: the last reference to a task may own timers.
        drop(waker);
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
            let origin = Instant::now();
            let first = shared.now.get();
            let mut due = Vec::new();
            loop {
                tokio::time::sleep(TICK).await;
                let now = first + u64::try_from(origin.elapsed().as_nanos() / TICK.as_nanos()).unwrap_or(0);
                shared.now.set(now);
                let armed = {
                    let mut slab = shared.slab.borrow_mut();
                    due.extend(slab.entries.iter_mut().filter(|e| e.due <= now).filter_map(|e| e.waker.take()));
                    slab.armed
                };
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
            assert!(timer.limit(std::future::pending::<()>()).await.is_none());
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(500) && took <= Duration::from_millis(560), "{took:?}");
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
            assert_eq!(timer.limit(slow).await, Some(7));
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
            assert!(timer.limit(std::future::ready(())).await.is_some());
            let began = Instant::now();
            timer.limit(std::future::pending::<()>()).await;
            assert!(began.elapsed() >= Duration::from_millis(100));
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
            assert!(timer.limit(std::future::pending::<()>()).await.is_none());
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
