//! The instance that belongs to one exchange (`isolation: request`): its stage calls it in all phases, and the exchange's body
//! filters call it with chunks. A request body can still pass while the response phase begins, so one waits for the other.
//!
//! The instance is lent rather than moved from phase to phase, because neither side knows whether the other one will need it again:
//! a request without a body has no chunks, and a response may come before the request has been sent. A loan ends by being dropped,
//! so that a call that is cancelled, which is never told, does not keep the other side waiting; its instance is lost then, as after
//! a trap. The two sides may be in different tasks, but always on one worker.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::instance::Instance;

/// An instance that is kept from one call of an exchange to the next.
pub(super) struct Tenant {
    pub(super) instance: Box<Instance>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// Clones stand for the same instance.
#[derive(Clone, Default)]
pub(super) struct OwnInstance(Rc<Shared>);

#[derive(Default)]
struct Shared {
    tenant: RefCell<Option<Tenant>>,
    is_on_loan: Cell<bool>,
    returned: Notify,
}

/// The right to call the instance. If it is dropped without [`Loan::end`], the instance is lost, and the next call gets another one.
pub(super) struct Loan(Rc<Shared>);

impl OwnInstance {
    /// `None` while a call is in progress; otherwise the instance, if there is one.
    pub(super) fn try_borrow(&self) -> Option<(Loan, Option<Tenant>)> {
        (!self.0.is_on_loan.replace(true)).then(|| (Loan(self.0.clone()), self.0.tenant.take()))
    }

    /// Waits for the end of a call that is in progress.
    pub(super) async fn borrow(&self) -> (Loan, Option<Tenant>) {
        loop {
            match self.try_borrow() {
                Some(loan) => return loan,
                // All of this is on one thread: nothing is returned between the attempt and this.
                None => self.0.returned.notified().await,
            }
        }
    }
}

impl Loan {
    /// The call has ended, and the instance serves the next one, unless it is worn out.
    pub(super) fn end(self, tenant: Option<Tenant>) {
        self.0.tenant.replace(tenant);
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.0.is_on_loan.set(false);
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    #[test]
    fn a_call_waits_for_one_in_progress_however_that_ends() {
        let own = OwnInstance::default();
        let (loan, tenant) = own.try_borrow().unwrap();
        assert!(tenant.is_none() && own.clone().try_borrow().is_none());
        let mut waiting = pin!(own.borrow());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        drop(loan);
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
        assert!(own.try_borrow().is_some());
    }
}
