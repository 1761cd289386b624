//! The stages of a route, and what runs them.

use std::{rc::Rc, time::Instant};

use gateway_core::error::Failure;
use gateway_http::deadline::Deadline;

use super::{
    entry::{Entry, Scope},
    stage::{Decision, ExchangeOutcome, ExchangeSlot, Phases, Reply, Stage},
    turn::{self, Limits, OnComplete, OnRequest, OnResponse, TurnEnd},
};

/// A route's stages, the global ones first.
#[derive(Default)]
pub struct Pipeline {
    scope: Scope,
    entries: Vec<Entry>,
    /// Positions of the stages that take part in each phase, in the order in which they do.
    request: Vec<usize>,
    response: Vec<usize>,
    complete: Vec<usize>,
    filters_messages: bool,
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
    Reply(Box<Reply>),
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

    pub fn new(scope: Scope, entries: Vec<Entry>) -> Self {
        let positions = |is_active: fn(Phases) -> bool| -> Vec<usize> {
            entries.iter().enumerate().filter(|(_, e)| is_active(e.stage().phases())).map(|(i, _)| i).collect()
        };
        let request = positions(|p| p.request);
        let mut response = positions(|p| p.response);
        response.reverse();
        let complete = positions(|p| p.complete);
        let filters_messages = entries.iter().any(|entry| entry.stage().filters_messages());
        Self { scope, entries, request, response, complete, filters_messages }
    }

    /// The worker begins to serve by it.
    pub fn start(&self) {
        self.entries.iter().for_each(|entry| entry.stage().start());
    }

    /// The stages that have something to do while the worker serves by it (`Stage::tick`).
    pub fn ticking(&self) -> impl Iterator<Item = &Rc<dyn Stage>> {
        self.entries.iter().map(Entry::stage).filter(|stage| stage.ticks())
    }

    /// No request begins with it any more.
    pub fn stop(&self) {
        self.entries.iter().for_each(|entry| entry.stage().stop());
    }

    /// Whether a stage may ask for messages.
    pub fn filters_messages(&self) -> bool {
        self.filters_messages
    }

    pub fn has_observers(&self) -> bool {
        !self.complete.is_empty()
    }

    /// Runs the request phase until a stage answers or fails. No stage waits beyond the deadline.
    pub async fn request(&self, slot: &mut ExchangeSlot, deadline: Deadline) -> Passed {
        self.request_from(0, slot, deadline).await
    }

    /// The same, without the stages before `first`.
    pub async fn request_from(&self, first: usize, slot: &mut ExchangeSlot, deadline: Deadline) -> Passed {
        if self.request.is_empty() {
            return Passed { ran: self.entries.len(), verdict: Verdict::Forward, micros: 0 };
        }
        let began = begin(slot);
        let traffic = slot.traffic.clone();
        for &position in self.request.iter().filter(|&&position| position >= first) {
            let entry = &self.entries[position];
            entry.begin(position, slot);
            let limits = Limits { deadline: &deadline, traffic: &traffic };
            let end = turn::run(&OnRequest, entry, &self.scope, slot, limits).await;
            let verdict = match end {
                TurnEnd::Failed(failure) => {
                    slot.skipped.push(position);
                    entry.failed(failure, slot).map(Verdict::Failed)
                }
                passed => {
                    let reply = match passed {
                        TurnEnd::Returned(Decision::Respond(reply)) => Some(Verdict::Reply(reply)),
                        TurnEnd::Returned(Decision::Filter(filter)) => {
                            slot.filter_request_body(|body| filter(body, entry.calls(&self.scope).clone()));
                            None
                        }
                        TurnEnd::Returned(Decision::Next) | TurnEnd::NotCalled | TurnEnd::Failed(_) => None,
                    };
                    entry.commit(slot);
                    reply
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
    pub async fn response(&self, ran: usize, slot: &mut ExchangeSlot, deadline: Deadline) -> Returned {
        self.response_between(0, ran, slot, deadline).await
    }

    /// The same, without the stages before `first`.
    pub async fn response_between(
        &self,
        first: usize,
        ran: usize,
        slot: &mut ExchangeSlot,
        deadline: Deadline,
    ) -> Returned {
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
            entry.begin(position, slot);
            let limits = Limits { deadline: &deadline, traffic: &traffic };
            let end = turn::run(&OnResponse, entry, &self.scope, slot, limits).await;
            match end {
                TurnEnd::Failed(failure) => {
                    if let Some(failure) = entry.failed(failure, slot) {
                        return Returned { failed: Some((position, failure)), micros: micros(began, slot) };
                    }
                }
                passed => {
                    if let TurnEnd::Returned(decision) = passed {
                        entry.carry_out(decision, &self.scope, slot);
                    }
                    entry.commit(slot);
                }
            }
        }
        slot.carry_out_plans(first);
        Returned { failed: None, micros: micros(began, slot) }
    }

    /// Tells every observing stage how the exchange ended. Failures are only logged. No stage
    /// waits beyond the deadline.
    pub async fn complete(&self, slot: &mut ExchangeSlot, outcome: &ExchangeOutcome, deadline: Deadline) {
        // The edits of a turn that was given up stay.
        slot.commit();
        slot.release_for_completion(&self.complete);
        let given_up = slot.in_turn.take();
        begin(slot);
        let traffic = slot.traffic.clone();
        for &position in &self.complete {
            let entry = &self.entries[position];
            entry.begin_completion(position, slot, given_up == Some(position));
            let limits = Limits { deadline: &deadline, traffic: &traffic };
            let end = turn::run(&OnComplete(outcome), entry, &self.scope, slot, limits).await;
            if let TurnEnd::Failed(failure) = end {
                entry.failed_at_end(&failure, slot);
            }
            slot.release_stage(position);
        }
    }
}

/// Begins a phase.
fn begin(slot: &mut ExchangeSlot) -> Instant {
    slot.mark = Instant::now();
    slot.mark
}

/// From a phase's beginning to the end of its last stage.
fn micros(began: Instant, slot: &ExchangeSlot) -> u64 {
    slot.mark.saturating_duration_since(began).as_micros() as u64
}
