//! Calls observers when an exchange has ended. Only a drain waits for them.

use std::{
    cell::Cell,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

use gateway_http::deadline::Deadline;
use gateway_pipeline::{ExchangeOutcome, ExchangeSlot};
use tokio::sync::Notify;

use super::{Site, Worker};

/// The observers of one worker that wait for something.
#[derive(Default)]
pub struct Observing {
    tasks: Cell<usize>,
    at_rest: Notify,
}

impl Observing {
    /// Ends when none is left.
    pub async fn at_rest(&self) {
        while self.tasks.get() > 0 {
            self.at_rest.notified().await;
        }
    }
}

/// Runs the observers: at once as far as they do not wait, the rest as a task. Must be called within the
/// worker's `LocalSet`; when that is being dropped, the rest is dropped as well.
pub(super) fn observe(
    worker: &Rc<Worker>,
    site: Rc<Site>,
    route: Option<usize>,
    mut slot: ExchangeSlot,
    outcome: ExchangeOutcome,
) {
    let ended = slot.started + Duration::from_micros(outcome.duration_us);
    let deadline = Deadline::new(ended, Some(site.config.timeouts.request.bounded()));
    let mut observing = Box::pin(async move {
        let pipeline = route.map_or(&site.unrouted.pipeline, |index| &site.routes[index].pipeline);
        pipeline.complete(&mut slot, &outcome, deadline).await;
    });
    if observing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        let task = Task::of(worker.clone());
        tokio::task::spawn_local(async move {
            observing.await;
            drop(task);
        });
    }
}

/// Counts as long as it lives.
struct Task(Rc<Worker>);

impl Task {
    fn of(worker: Rc<Worker>) -> Self {
        worker.observing.tasks.set(worker.observing.tasks.get() + 1);
        Self(worker)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let observing = &self.0.observing;
        observing.tasks.set(observing.tasks.get() - 1);
        if observing.tasks.get() == 0 {
            observing.at_rest.notify_one();
        }
    }
}
