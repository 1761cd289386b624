//! Tasks of a worker that outlive the exchange that started them. They are counted, so that their number can be limited and a
//! drain can wait for them.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Notify;

/// The running tasks of one kind on one worker.
#[derive(Default)]
pub struct Tasks(Rc<Running>);

#[derive(Default)]
struct Running {
    number: Cell<usize>,
    at_rest: Notify,
}

impl Tasks {
    /// Returns when no task is running.
    pub async fn at_rest(&self) {
        while self.running() > 0 {
            self.0.at_rest.notified().await;
        }
    }

    pub(super) fn running(&self) -> usize {
        self.0.number.get()
    }

    /// Counts a task until the guard is dropped.
    pub(super) fn begin(&self) -> TaskGuard {
        self.0.number.set(self.running() + 1);
        TaskGuard(self.0.clone())
    }
}

pub(super) struct TaskGuard(Rc<Running>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        let left = self.0.number.get() - 1;
        self.0.number.set(left);
        if left == 0 {
            self.0.at_rest.notify_one();
        }
    }
}
