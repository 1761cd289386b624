//! The clock behind every time limit: one thread that advances the epoch of all engines while guests run, and sleeps while
//! none does.
//!
//! Each thread that calls guests counts its calls in a cell of its own, so that a call costs two plain stores and a load of
//! a flag that seldom changes. The clock reads those cells.

use std::{
    cell::OnceCell,
    io,
    marker::PhantomData,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
        },
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{Engine, EngineWeak};

/// One epoch: the unit of every time limit.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// Epochs that the clock advances by at a time.
pub(crate) const COARSE: u64 = 5;
/// While a call runs for longer than that, the clock advances by single epochs, so that the call gives way more often.
/// For so many steps after one was last seen.
const FINE_STEPS: u32 = 20;
/// Epochs without a call after which the clock stops.
const LINGER: u64 = 100;
/// A call that begins while the clock stops could be missed only if its stores took longer than a step to become visible.
/// This bounds the delay even then.
const BACKSTOP: Duration = Duration::from_secs(60);

struct Clock {
    engines: Mutex<Vec<EngineWeak>>,
    callers: Mutex<Vec<Weak<Caller>>>,
    thread: Mutex<Option<Thread>>,
    asleep: AtomicBool,
}

static CLOCK: Clock = Clock {
    engines: Mutex::new(Vec::new()),
    callers: Mutex::new(Vec::new()),
    thread: Mutex::new(None),
    asleep: AtomicBool::new(false),
};

/// What one thread says about its calls. Only that thread writes the counters, so they need no atomic addition.
///
/// There are two counters and not one flag because the clock samples them. A flag would miss a call that begins and ends between
/// two samples, and a thread that makes many short calls would look idle: the epoch would stop, and the first call that loops
/// would meet a clock that stands still. `begun` differs from its last value in that case. `look` reads `ended` before `begun`.
/// The other order could see a call's end but not its beginning, take a thread that is in a guest for one that is not, and stop
/// the clock under a running call. An error in the order that is used only makes the clock tick a little longer.
///
/// The alignment keeps each thread's cell on cache lines of its own. Without it the counters of different workers would share
/// lines, and every call would wait for another core's write.
#[derive(Default)]
#[repr(align(128))]
struct Caller {
    begun: AtomicU64,
    ended: AtomicU64,
    /// A call has run for longer than a step of the clock.
    long: AtomicBool,
}

thread_local! {
    static CALLER: OnceCell<Arc<Caller>> = const { OnceCell::new() };
}

/// A guest runs on this thread until this is dropped.
pub(crate) struct Running(PhantomData<*const ()>);

impl Running {
    pub(crate) fn begin() -> Self {
        with_caller(|caller| caller.begun.store(caller.begun.load(Relaxed) + 1, Release));
        if CLOCK.asleep.load(Relaxed) {
            CLOCK.wake();
        }
        Self(PhantomData)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        with_caller(|caller| caller.ended.store(caller.ended.load(Relaxed) + 1, Release));
    }
}

/// A call on this thread has run for longer than a step of the clock.
pub(crate) fn runs_long() {
    with_caller(|caller| caller.long.store(true, Relaxed));
}

fn with_caller(use_it: impl FnOnce(&Caller)) {
    // A thread that is ending calls no guests, but drops what it holds.
    let _ = CALLER.try_with(|own| {
        use_it(own.get_or_init(|| {
            let caller = Arc::<Caller>::default();
            lock(&CLOCK.callers).push(Arc::downgrade(&caller));
            caller
        }));
    });
}

/// Advances the engine's epoch from now on. The engine is held weakly.
pub(crate) fn follow(engine: &Engine) -> io::Result<()> {
    lock(&CLOCK.engines).push(engine.weak());
    let mut thread = lock(&CLOCK.thread);
    if thread.is_none() {
        let started = thread::Builder::new().name("plugin-clock".to_owned()).spawn(|| CLOCK.run())?;
        *thread = Some(started.thread().clone());
    }
    Ok(())
}

impl Clock {
    fn run(&self) {
        let mut seen = 0;
        loop {
            self.tick_while_guests_run(&mut seen);
            self.asleep.store(true, SeqCst);
            // A call that began before its thread could see the flag does not wake the clock, so its cell is read once more.
            // There is no fence between the caller's store and its load of the flag, which would cost every call; a pause of
            // one step is enough for the store to become visible, and `BACKSTOP` bounds the delay if it is not.
            thread::sleep(TICK * COARSE as u32);
            if self.look(&mut seen).is_busy {
                self.asleep.store(false, SeqCst);
            }
            while self.asleep.load(Acquire) {
                thread::park_timeout(BACKSTOP);
                if self.look(&mut seen).is_busy {
                    self.asleep.store(false, SeqCst);
                }
            }
        }
    }

    /// Ends when no guest has run for a while.
    fn tick_while_guests_run(&self, seen: &mut u64) {
        let (mut quiet, mut fine) = (0, 0_u32);
        while quiet < LINGER {
            let step = if fine > 0 { 1 } else { COARSE };
            thread::sleep(TICK * step as u32);
            lock(&self.engines).retain(|engine| {
                let Some(engine) = engine.upgrade() else { return false };
                (0..step).for_each(|_| engine.increment_epoch());
                true
            });
            let Seen { is_busy, is_long } = self.look(seen);
            fine = if is_long { FINE_STEPS } else { fine.saturating_sub(1) };
            quiet = if is_busy { 0 } else { quiet + step };
        }
    }

    /// Whether guests run, or have run since the last look.
    fn look(&self, seen: &mut u64) -> Seen {
        let (mut begun, mut ended, mut is_long) = (0_u64, 0_u64, false);
        lock(&self.callers).retain(|caller| {
            let Some(caller) = caller.upgrade() else { return false };
            // In this order a call that ends in between looks as if it were still running, never the other way.
            ended = ended.wrapping_add(caller.ended.load(Acquire));
            begun = begun.wrapping_add(caller.begun.load(Acquire));
            is_long |= caller.long.swap(false, Relaxed);
            true
        });
        let is_busy = begun != ended || begun != *seen;
        *seen = begun;
        Seen { is_busy, is_long }
    }

    #[cold]
    fn wake(&self) {
        if self.asleep.swap(false, SeqCst)
            && let Some(thread) = &*lock(&self.thread)
        {
            thread.unpark();
        }
    }
}

struct Seen {
    is_busy: bool,
    is_long: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The lists are whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_advances_while_a_guest_runs_and_the_engine_is_let_go() {
        let engine = Engine::default();
        follow(&engine).unwrap();
        let running = Running::begin();
        let weak = engine.weak();
        // An epoch cannot be read: that the clock ticks shows in its cells.
        assert!(CALLER.with(|own| own.get().is_some_and(|own| own.begun.load(Relaxed) > own.ended.load(Relaxed))));
        drop(running);
        drop(engine);
        while weak.upgrade().is_some() {
            thread::yield_now();
        }
    }
}
