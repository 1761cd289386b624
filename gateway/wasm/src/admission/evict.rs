//! How an instance that needs memory in the middle of a call reaches the idle instances of its worker.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

/// A worker's idle instances.
pub(crate) trait Evict {
    /// Drops an idle instance of a configuration with this share or a larger one, or one that was idle for long; false if there is none.
    fn evict(&self, floor: u64) -> bool;
}

thread_local! {
    /// Those of the worker that this thread is. A guest asks for memory in the middle of a call, where nothing else is at hand.
    static HERE: RefCell<Option<Weak<dyn Evict>>> = const { RefCell::new(None) };
}

/// From now on, instances of this thread that need memory evict these idle ones.
pub(crate) fn evict_with(idle: &Rc<impl Evict + 'static>) {
    let idle: Weak<dyn Evict> = Rc::downgrade(idle) as Weak<dyn Evict>;
    HERE.with(|here| here.replace(Some(idle)));
}

pub(super) fn evict_here(floor: u64) -> bool {
    let idle = HERE.with(|here| here.borrow().as_ref().and_then(Weak::upgrade));
    idle.is_some_and(|idle| idle.evict(floor))
}
