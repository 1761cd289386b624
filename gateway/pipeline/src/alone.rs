//! One stage without a pipeline around it: for measurements, and for tests of what a stage does by itself.

use std::{rc::Rc, time::Instant};

use gateway_http::deadline::Deadline;

use super::{
    entry::{Entry, Scope},
    stage::{Decision, ExchangeOutcome, ExchangeSlot, Stage, StageFailure},
    turn::{self, Hook, Limits, OnComplete, OnRequest, OnResponse, TurnEnd},
};

/// A stage that is called as a pipeline calls it. Its failures are returned, and nothing is undone.
pub struct Alone {
    entry: Entry,
    scope: Scope,
}

impl Alone {
    pub fn new(stage: Rc<dyn Stage>, scope: Scope) -> Self {
        Self { entry: Entry::new(stage, false), scope }
    }

    /// Runs the request phase; a stage that has none lets the request pass.
    ///
    /// # Errors
    ///
    /// The stage failed.
    pub async fn request(&self, slot: &mut ExchangeSlot) -> Result<Decision, StageFailure> {
        Ok(match self.run(&OnRequest, slot).await?.unwrap_or(Decision::Next) {
            Decision::Filter(filter) => {
                slot.filter_request_body(|body| filter(body, self.entry.calls(&self.scope).clone()));
                Decision::Next
            }
            decision => decision,
        })
    }

    /// Runs the response phase.
    ///
    /// # Errors
    ///
    /// The stage failed.
    pub async fn response(&self, slot: &mut ExchangeSlot) -> Result<(), StageFailure> {
        let decision = self.run(&OnResponse, slot).await?.unwrap_or_default();
        self.entry.carry_out(decision, &self.scope, slot);
        Ok(())
    }

    /// Runs the completion phase.
    ///
    /// # Errors
    ///
    /// The stage failed.
    pub async fn complete(&self, slot: &mut ExchangeSlot, outcome: &ExchangeOutcome) -> Result<(), StageFailure> {
        self.run(&OnComplete(outcome), slot).await.map(Option::unwrap_or_default)
    }

    async fn run<H: Hook>(&self, hook: &H, slot: &mut ExchangeSlot) -> Result<Option<H::Value>, StageFailure> {
        self.entry.begin(slot.stage, slot);
        slot.begin_call();
        let traffic = slot.traffic.clone();
        let deadline = Deadline::new(Instant::now(), None);
        let limits = Limits { deadline: &deadline, traffic: &traffic };
        let end = turn::run(hook, &self.entry, &self.scope, slot, limits).await;
        self.entry.commit(slot);
        match end {
            TurnEnd::NotCalled => Ok(None),
            TurnEnd::Returned(value) => Ok(Some(value)),
            TurnEnd::Failed(failure) => Err(failure),
        }
    }
}
