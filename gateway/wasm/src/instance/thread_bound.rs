//! A value that stays on its thread, within a type that has to be `Send`.
//!
//! Each call of a plugin accesses such a value several times. `ThreadId` would be asked for each time, which means a reference to the
//! thread's handle that is taken and given back atomically; the address of a variable that each thread has for itself says the same for
//! a tenth of that.

use std::{
    cell::Cell,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
};

thread_local! {
    static HERE: Cell<u8> = const { Cell::new(0) };
}

/// Differs between threads that exist at the same time.
fn here() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

pub(super) struct ThreadBound<T> {
    value: ManuallyDrop<T>,
    home: usize,
}

// SAFETY: `value` is reached by `deref`, `deref_mut` and `drop` alone, which all check that they run where it was made. A thread whose variable
// has the address of one that has ended may pass for that one. By then no other thread can have a part of the value: it could only have
// got one from the thread that has ended, by a type that is `Send` for a reason of its own.
unsafe impl<T> Send for ThreadBound<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for ThreadBound<T> {}

impl<T> ThreadBound<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), home: here() }
    }

    fn check(&self) {
        assert!(self.home == here(), "a store's data was reached from another thread than its own");
    }
}

impl<T> Deref for ThreadBound<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.check();
        &self.value
    }
}

impl<T> DerefMut for ThreadBound<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.check();
        &mut self.value
    }
}

impl<T> Drop for ThreadBound<T> {
    fn drop(&mut self) {
        // Elsewhere it can only be left as it is.
        if self.home == here() {
            // SAFETY: this is the only place that drops it, and it is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::AssertUnwindSafe, rc::Rc, thread};

    use super::*;

    #[test]
    fn a_value_is_reached_and_dropped_on_its_own_thread_only() {
        let shared = Rc::new(Cell::new(1));
        let mut bound = ThreadBound::new(shared.clone());
        bound.set(2);
        *bound = shared.clone();
        let bound = thread::scope(|scope| {
            let elsewhere = scope.spawn(move || {
                let reached = std::panic::catch_unwind(AssertUnwindSafe(|| bound.get()));
                assert!(reached.is_err());
                bound
            });
            elsewhere.join().unwrap()
        });
        assert_eq!((bound.get(), Rc::strong_count(&shared)), (2, 2));
        drop(bound);
        assert_eq!(Rc::strong_count(&shared), 1);
        let left = ThreadBound::new(shared.clone());
        thread::scope(|scope| scope.spawn(move || drop(left)).join()).unwrap();
        assert_eq!(Rc::strong_count(&shared), 2, "it is not dropped on another thread");
    }
}
