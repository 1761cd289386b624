//! Calls observers when an exchange has ended. Only a drain waits for them.

use std::{
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

use gateway_http::deadline::Deadline;
use gateway_pipeline::{ExchangeOutcome, ExchangeSlot};

use super::{Site, Worker};

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
        let task = worker.observing.begin();
        tokio::task::spawn_local(async move {
            observing.await;
            drop(task);
        });
    }
}
