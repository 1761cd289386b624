//! The stages of a route, and what runs them.

use std::{cell::RefCell, rc::Rc, time::Instant};

use gateway_core::error::{Failure, Responsible};
use gateway_http::{body::Traffic, deadline::Deadline};
use gateway_telemetry::trace::{Call, Entered};

use super::{
    exchange::{NoRoom, Phase},
    stage::{Decision, FailureKind, Outcome, Phases, Reply, Slot, Stage, StageFailure, Step},
    touched::OwnedHeaders,
};

/// A route's stages, the global ones first.
#[derive(Default)]
pub struct Pipeline {
    entries: Vec<Entry>,
    /// Positions of the stages that take part in each phase, in the order in which they do.
    request: Vec<usize>,
    response: Vec<usize>,
    complete: Vec<usize>,
}

/// A stage and what its failure means.
pub struct Entry {
    stage: Rc<dyn Stage>,
    /// The exchange goes on as if the stage were not there, but without values of the client's in headers that are the
    /// stage's.
    skip_on_error: bool,
    /// The headers that it has set or removed so far, where its failures are skipped.
    learned: RefCell<OwnedHeaders>,
}

impl Entry {
    pub fn new(stage: Rc<dyn Stage>, skip_on_error: bool) -> Self {
        Self { stage, skip_on_error, learned: RefCell::default() }
    }

    /// The stage's turn has ended without a failure, or with one that is not skipped: its edits stay.
    fn commit(&self, slot: &mut Slot) {
        if self.skip_on_error {
            slot.learn(&mut self.learned.borrow_mut());
            slot.commit();
        }
    }

    /// The stage has failed, and may have been given up while it ran. Returns what ends the exchange; `None` if the stage is skipped.
    fn failed(&self, mut failure: StageFailure, slot: &mut Slot) -> Option<Failure> {
        if matches!(failure.kind, FailureKind::Error | FailureKind::Trap) && slot.no_room().is_some() {
            // The client has sent so much that the plugin cannot do its work: skipped, that would be a way around it.
            failure.kind = FailureKind::TooLarge;
        }
        let skipped = self.skip_on_error && failure.kind != FailureKind::TooLarge;
        let ends_with = failure_of(failure.kind, slot);
        self.report(&failure, ends_with.responsible(), skipped, slot);
        slot.mark = Instant::now();
        if skipped {
            slot.roll_back();
            slot.withhold([self.stage.owned_headers(), &*self.learned.borrow()]);
            None
        } else {
            self.commit(slot);
            // A call that was given up has left open what it began.
            slot.commit();
            Some(ends_with)
        }
    }

    fn report(&self, failure: &StageFailure, responsible: Responsible, skipped: bool, slot: &Slot) {
        macro_rules! report {
            ($level:ident) => {
                tracing::$level!(
                    plugin = self.stage.name(),
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

/// What came of the request phase.
#[derive(Debug)]
pub struct Passed {
    /// Stages before this position ran: the response phase goes backwards over them.
    pub ran: usize,
    pub verdict: Verdict,
    /// Time in the stages, in microseconds.
    pub micros: u64,
}

#[derive(Debug)]
pub enum Verdict {
    /// On to the upstream.
    Forward,
    /// A stage answered.
    Reply(Reply),
    /// A stage failed, and not under `on-error: skip`: the exchange ends with this.
    Failed(Failure),
}

/// What came of the response phase.
#[derive(Debug)]
pub struct Returned {
    /// The position of the stage that failed, and what the exchange ends with.
    pub failed: Option<(usize, Failure)>,
    /// Time in the stages, in microseconds.
    pub micros: u64,
}

impl Pipeline {
    /// Whether there is no stage at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn new(entries: Vec<Entry>) -> Self {
        let positions = |wants: fn(Phases) -> bool| -> Vec<usize> {
            entries.iter().enumerate().filter(|(_, e)| wants(e.stage.phases())).map(|(i, _)| i).collect()
        };
        let request = positions(|p| p.request);
        let mut response = positions(|p| p.response);
        response.reverse();
        let complete = positions(|p| p.complete);
        Self { entries, request, response, complete }
    }

    pub fn has_observers(&self) -> bool {
        !self.complete.is_empty()
    }

    /// Runs the request phase until a stage answers or fails. No stage waits beyond the deadline.
    pub async fn request(&self, slot: &mut Slot, deadline: Deadline) -> Passed {
        self.request_from(0, slot, deadline).await
    }

    /// The same, without the stages before `first`.
    pub async fn request_from(&self, first: usize, slot: &mut Slot, deadline: Deadline) -> Passed {
        if self.request.is_empty() {
            return Passed { ran: self.entries.len(), verdict: Verdict::Forward, micros: 0 };
        }
        let began = begin(slot);
        let traffic = slot.traffic.clone();
        for &position in self.request.iter().filter(|&&position| position >= first) {
            let entry = &self.entries[position];
            slot.begin_stage(position);
            if entry.skip_on_error {
                slot.begin_transaction();
            }
            let entered = enter(slot);
            let result = finish(entry.stage.on_request(position, slot), deadline, &traffic).await;
            leave(entered, entry, "request", slot, matches!(result, Ok(Decision::Respond(_))), result.as_ref().err());
            if result.is_ok() {
                entry.commit(slot);
            }
            let verdict = match result {
                Ok(Decision::Next) => None,
                Ok(Decision::Respond(reply)) => Some(Verdict::Reply(reply)),
                Err(failure) => {
                    slot.skipped.push(position);
                    entry.failed(failure, slot).map(Verdict::Failed)
                }
            };
            if let Some(verdict) = verdict {
                return Passed { ran: position, verdict, micros: micros(began, slot) };
            }
        }
        slot.drop_other_spellings();
        Passed { ran: self.entries.len(), verdict: Verdict::Forward, micros: micros(began, slot) }
    }

    /// The position behind the last stage: `ran`, where the response is to pass all of them.
    pub fn end(&self) -> usize {
        self.entries.len()
    }

    /// Runs the response phase backwards over the stages before `ran`. A failure that is not skipped ends it; the response
    /// that takes this one's place then passes the stages before the one that failed. No stage waits beyond the deadline.
    pub async fn response(&self, ran: usize, slot: &mut Slot, deadline: Deadline) -> Returned {
        self.response_between(0, ran, slot, deadline).await
    }

    /// The same, without the stages before `first`.
    pub async fn response_between(&self, first: usize, ran: usize, slot: &mut Slot, deadline: Deadline) -> Returned {
        slot.forget_plans(ran);
        slot.begin_response();
        if self.response.is_empty() {
            slot.carry_out_plans(first);
            return Returned { failed: None, micros: 0 };
        }
        let began = begin(slot);
        let traffic = slot.traffic.clone();
        for &position in self.response.iter().filter(|&&position| (first..ran).contains(&position)) {
            if slot.skipped.contains(&position) {
                continue;
            }
            let entry = &self.entries[position];
            // Of the stages between, which have no response phase of their own.
            slot.carry_out_plans(position + 1);
            slot.begin_stage(position);
            if entry.skip_on_error {
                slot.begin_transaction();
            }
            slot.carry_out_plans(position);
            let entered = enter(slot);
            let result = finish(entry.stage.on_response(position, slot), deadline, &traffic).await;
            leave(entered, entry, "response", slot, false, result.as_ref().err());
            match result {
                Ok(()) => entry.commit(slot),
                Err(failure) => {
                    if let Some(failure) = entry.failed(failure, slot) {
                        return Returned { failed: Some((position, failure)), micros: micros(began, slot) };
                    }
                }
            }
        }
        slot.carry_out_plans(first);
        Returned { failed: None, micros: micros(began, slot) }
    }

    /// Tells every observing stage how the exchange ended. Failures are only logged. No stage
    /// waits beyond the deadline.
    pub async fn complete(&self, slot: &mut Slot, outcome: &Outcome, deadline: Deadline) {
        slot.phase = Phase::Complete;
        begin(slot);
        let traffic = slot.traffic.clone();
        for &position in &self.complete {
            let entry = &self.entries[position];
            let entered = enter(slot);
            let result = finish(entry.stage.on_complete(position, slot, outcome), deadline, &traffic).await;
            leave(entered, entry, "complete", slot, false, result.as_ref().err());
            if let Err(failure) = result {
                let responsible = failure_of(failure.kind, slot).responsible();
                entry.report(&failure, responsible, false, slot);
                slot.mark = Instant::now();
            }
        }
    }
}

/// What an exchange ends with if its stage fails so: this says who is responsible, and nothing derives it again.
fn failure_of(kind: FailureKind, slot: &Slot) -> Failure {
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

/// What a stage waits for has limits of its own where it is an upstream; a clock has none.
async fn finish<T>(
    step: Step<'_, Result<T, StageFailure>>,
    deadline: Deadline,
    traffic: &Traffic,
) -> Result<T, StageFailure> {
    match step {
        Step::Done(result) => result,
        Step::Wait(future) => {
            let late = |limit| StageFailure {
                kind: FailureKind::Timeout,
                detail: format!("it waited until {limit} was over"),
            };
            deadline.limit(traffic, future).await.map_err(late)?
        }
    }
}

/// Begins a phase.
fn begin(slot: &mut Slot) -> Instant {
    slot.mark = Instant::now();
    slot.mark
}

/// A stage's turn begins, where that is recorded: it did when the last one's ended.
fn enter(slot: &Slot) -> Option<(Entered, Instant)> {
    slot.trace.as_ref().map(|trace| (trace.enter(), slot.mark))
}

/// A stage's turn has ended.
fn leave(
    entered: Option<(Entered, Instant)>,
    entry: &Entry,
    phase: &'static str,
    slot: &Slot,
    answered: bool,
    failure: Option<&StageFailure>,
) {
    let (Some((entered, began)), Some(trace)) = (entered, &slot.trace) else { return };
    // One that was given up while it ran has not said when it ended.
    let ended = if failure.is_some() { Instant::now() } else { slot.mark };
    if ended == began && !answered {
        // It had no use for this phase, and was not called.
        return trace.pass(entered);
    }
    trace.leave(entered, began, ended, || Call {
        plugin: entry.stage.name().into(),
        phase,
        answered,
        failure: failure.map(|failure| failure.kind.counted().name()),
    });
}

/// From a phase's beginning to the end of its last stage.
fn micros(began: Instant, slot: &Slot) -> u64 {
    slot.mark.saturating_duration_since(began).as_micros() as u64
}
