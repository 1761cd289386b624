//! A stage in its pipeline: where its calls are counted, and what its failures mean.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
};

use gateway_core::error::{Failure, Responsible};
use gateway_telemetry::metrics::{CallMetrics, Metrics};

use super::{
    exchange::{NoRoom, Phase},
    stage::{ExchangeSlot, FailureKind, ResponseDecision, Stage, StageFailure},
    touched::OwnedHeaders,
};

/// A stage and what its failure means.
pub struct Entry {
    stage: Rc<dyn Stage>,
    /// The exchange goes on as if the stage were not there, but without values of the client's in headers that are the
    /// stage's.
    skip_on_error: bool,
    /// The headers that it has set or removed so far, where its failures are skipped.
    learned: RefCell<OwnedHeaders>,
    /// Found when it is first needed: most routes of a large configuration have no requests.
    calls: OnceCell<Arc<CallMetrics>>,
}

/// Where a pipeline's calls are counted.
#[derive(Default)]
pub struct Scope {
    pub metrics: Metrics,
    pub worker: usize,
    pub route: Arc<str>,
}

impl Entry {
    pub fn new(stage: Rc<dyn Stage>, skip_on_error: bool) -> Self {
        Self { stage, skip_on_error, learned: RefCell::default(), calls: OnceCell::new() }
    }

    pub(super) fn stage(&self) -> &Rc<dyn Stage> {
        &self.stage
    }

    /// Where its calls are counted.
    pub(super) fn calls(&self, scope: &Scope) -> &Arc<CallMetrics> {
        let Scope { metrics, worker, route } = scope;
        self.calls.get_or_init(|| metrics.calls(*worker, self.stage.name(), route))
    }

    /// The stage's turn begins, with the edits of the response that it has planned: a failure that is skipped undoes them as well.
    pub(super) fn begin(&self, position: usize, slot: &mut ExchangeSlot) {
        slot.begin_stage(position);
        if self.skip_on_error {
            slot.begin_transaction();
        }
        if slot.phase == Phase::Response {
            slot.carry_out_plans(position);
        }
    }

    /// The completion phase of the stage begins. `was_given_up`: the client left during a turn of the stage.
    pub(super) fn begin_completion(&self, position: usize, slot: &mut ExchangeSlot, was_given_up: bool) {
        slot.begin_stage(position);
        if was_given_up {
            self.stage.abandon(slot);
        }
    }

    /// Does what the stage has decided about the response.
    pub(super) fn carry_out(&self, decision: ResponseDecision, scope: &Scope, slot: &mut ExchangeSlot) {
        let calls = || Arc::clone(self.calls(scope));
        match decision {
            ResponseDecision::Next => {}
            ResponseDecision::Filter(filter) => slot.filter_response_body(|body| filter(body, calls())),
            ResponseDecision::Messages(filter) => {
                let position = slot.stage;
                slot.message_filters.add(position, filter(calls()));
            }
        }
    }

    /// The stage's turn has ended without a failure, or with one that is not skipped: its edits stay.
    pub(super) fn commit(&self, slot: &mut ExchangeSlot) {
        if self.skip_on_error {
            slot.learn(&mut self.learned.borrow_mut());
            slot.commit();
        }
    }

    /// The stage has failed, and may have been given up while it ran. Returns what ends the exchange; `None` if the stage is skipped.
    pub(super) fn failed(&self, mut failure: StageFailure, slot: &mut ExchangeSlot) -> Option<Failure> {
        if matches!(failure.kind, FailureKind::Error | FailureKind::Trap) && slot.no_room().is_some() {
            // The client has sent so much that the plugin cannot do its work: skipped, that would be a way around it.
            failure.kind = FailureKind::TooLarge;
        }
        let skipped = self.skip_on_error && failure.kind != FailureKind::TooLarge;
        let ends_with = failure_of(failure.kind, slot);
        self.report(&failure, ends_with.responsible(), skipped, slot);
        if skipped {
            slot.roll_back();
            slot.withhold([self.stage.owned_headers(), &*self.learned.borrow()]);
            None
        } else {
            self.commit(slot);
            Some(ends_with)
        }
    }

    /// The stage has failed when nothing depended on it any more.
    pub(super) fn failed_at_end(&self, failure: &StageFailure, slot: &ExchangeSlot) {
        self.report(failure, failure_of(failure.kind, slot).responsible(), false, slot);
    }

    fn report(&self, failure: &StageFailure, responsible: Responsible, skipped: bool, slot: &ExchangeSlot) {
        macro_rules! report {
            ($level:ident) => {
                tracing::$level!(
                    plugin = &**self.stage.name(),
                    request = slot.id.to_str().unwrap_or_default(),
                    route = &*slot.route,
                    kind = ?failure.kind,
                    skipped,
                    "plugin failed: {}",
                    failure.detail,
                )
            };
        }
        // A client that leaves, or sends too much, is no defect of the plugin.
        if responsible == Responsible::Client {
            report!(debug);
        } else {
            report!(warn);
        }
    }
}

/// What an exchange ends with if its stage fails so: this says who is responsible, and nothing derives it again.
fn failure_of(kind: FailureKind, slot: &ExchangeSlot) -> Failure {
    let noticed = match kind {
        // It waited for a body that kept coming, too slowly.
        FailureKind::Timeout if slot.traffic.awaited.get() => Failure::BodyTimeout,
        FailureKind::Busy => Failure::PluginBusy,
        FailureKind::TooLarge => match slot.no_room() {
            Some(NoRoom::Target) => Failure::UriTooLong,
            Some(NoRoom::Head) | None => Failure::HeadTooLarge,
        },
        FailureKind::CircuitOpen => Failure::PluginCircuitOpen,
        FailureKind::Error | FailureKind::Trap | FailureKind::Timeout | FailureKind::Memory => Failure::PluginFailed,
    };
    slot.traffic.failure_behind(noticed)
}
