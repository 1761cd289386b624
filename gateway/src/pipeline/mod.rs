//! The ordered list of stages that a route's exchanges go through: forwards for the request, backwards for
//! the response over the stages that ran, and once more when all is over.
//!
//! Invariant: this room does not know WebAssembly exists.

mod attributes;
pub mod caller;
pub mod exchange;
mod fields;
mod headers;
pub mod stage;

use std::{rc::Rc, time::Instant};

use crate::{
    http::{body::Traffic, deadline::Deadline},
    telemetry::trace::{Call, Entered},
};
pub use caller::{Trait, TraitSource, UnknownCaller};
pub use exchange::{Bounds, EditError, Exchange, Phase, RequestHead, ResponseHead, Start};
pub use fields::is_owned_by_the_gateway;
pub use headers::Change;
pub use stage::{Decision, FailureKind, Outcome, Phases, Reply, Slot, Stage, StageFailure, Step};

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
    pub stage: Rc<dyn Stage>,
    /// The exchange goes on as if the stage were not there.
    pub skip_on_error: bool,
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
    /// A stage failed, and not under `on-error: skip`.
    Failed(FailureKind),
}

/// What came of the response phase.
#[derive(Debug)]
pub struct Returned {
    pub failed: Option<FailureKind>,
    /// Time in the stages, in microseconds.
    pub micros: u64,
}

impl Pipeline {
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
            slot.stage = position;
            if entry.skip_on_error {
                slot.begin_transaction();
            }
            let entered = enter(slot);
            let result = finish(entry.stage.on_request(position, slot), deadline, &traffic).await;
            leave(entered, entry, "request", slot, matches!(result, Ok(Decision::Respond(_))), result.as_ref().err());
            let verdict = match result {
                Ok(Decision::Next) => None,
                Ok(Decision::Respond(reply)) => Some(Verdict::Reply(reply)),
                Err(failure) => {
                    report(entry, &failure, slot);
                    slot.skipped.push(position);
                    (!entry.skip_on_error).then_some(Verdict::Failed(failure.kind))
                }
            };
            if entry.skip_on_error && verdict.is_none() {
                slot.commit();
            }
            if let Some(verdict) = verdict {
                return Passed { ran: position, verdict, micros: micros(began, slot) };
            }
        }
        Passed { ran: self.entries.len(), verdict: Verdict::Forward, micros: micros(began, slot) }
    }

    /// Runs the response phase backwards over the stages before `ran`. A failure that is not skipped ends it.
    /// No stage waits beyond the deadline.
    pub async fn response(&self, ran: usize, slot: &mut Slot, deadline: Deadline) -> Returned {
        self.response_between(0, ran, slot, deadline).await
    }

    /// The same, without the stages before `first`.
    pub async fn response_between(&self, first: usize, ran: usize, slot: &mut Slot, deadline: Deadline) -> Returned {
        slot.forget_plans(ran);
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
            slot.stage = position;
            if entry.skip_on_error {
                slot.begin_transaction();
            }
            slot.carry_out_plans(position);
            let entered = enter(slot);
            let result = finish(entry.stage.on_response(position, slot), deadline, &traffic).await;
            leave(entered, entry, "response", slot, false, result.as_ref().err());
            if let Err(failure) = result {
                report(entry, &failure, slot);
                if !entry.skip_on_error {
                    return Returned { failed: Some(failure.kind), micros: micros(began, slot) };
                }
            }
            if entry.skip_on_error {
                slot.commit();
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
                report(entry, &failure, slot);
            }
        }
    }
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
            let late = || StageFailure { kind: FailureKind::Timeout, detail: "it waited for too long".to_owned() };
            deadline.limit(traffic, future).await.ok_or_else(late)?
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

/// Logs a failure, whose stage may have been given up while it ran, and, where it is skipped, undoes the stage's edits.
fn report(entry: &Entry, failure: &StageFailure, slot: &mut Slot) {
    tracing::warn!(
        plugin = entry.stage.name(),
        request = slot.id.to_str().unwrap_or_default(),
        route = &*slot.route,
        kind = ?failure.kind,
        skipped = entry.skip_on_error,
        "plugin failed: {}",
        failure.detail,
    );
    slot.mark = Instant::now();
    if entry.skip_on_error {
        slot.roll_back();
    }
}

#[cfg(test)]
mod tests;
