//! The turn of a stage in a phase: its calls, each counted and timed, until the stage is no more pending; and its span in a trace.
//!
//! Counting is here and not in the stages, so that a stage cannot forget it, and a stage that was not called (`NotCalled`) costs no
//! reading of the clock. A pending stage waits in its turn and not in its call: it takes no shared instance meanwhile, and its edits are in
//! effect. Edits are undone for the whole turn at once. Were they undone for each call, a stage that fails after it waited would
//! leave those of its first call behind under `on-error: skip`.

use std::time::Instant;

use gateway_http::{
    body::Traffic,
    deadline::{Deadline, Limit},
};
use gateway_telemetry::{
    metrics::CallPhase,
    trace::{Call, Entered},
};

use super::{
    entry::{Entry, Scope},
    stage::{
        CallEnd, Decision, ExchangeOutcome, ExchangeSlot, FailureKind, ResponseDecision, Stage, StageFailure, Step,
        Turn,
    },
};

/// How often one stage may wait in one phase: for a body, for a lock, and for leases (`gateway-rules`, `lease::MAX_WAITS`), for which
/// others can be faster.
const MAX_PENDING: usize = 20;

/// What differs between the phases.
pub(super) trait Hook {
    const PHASE: CallPhase;
    type Value;

    fn call<'a>(&'a self, stage: &'a dyn Stage, slot: &'a mut ExchangeSlot) -> Step<'a, Self::Value>;

    /// Whether the request is answered with it.
    fn is_reply(_: &Self::Value) -> bool {
        false
    }
}

pub(super) struct OnRequest;

impl Hook for OnRequest {
    const PHASE: CallPhase = CallPhase::Request;
    type Value = Decision;

    fn call<'a>(&'a self, stage: &'a dyn Stage, slot: &'a mut ExchangeSlot) -> Step<'a, Decision> {
        stage.on_request(slot)
    }

    fn is_reply(decision: &Decision) -> bool {
        matches!(decision, Decision::Respond(_))
    }
}

pub(super) struct OnResponse;

impl Hook for OnResponse {
    const PHASE: CallPhase = CallPhase::Response;
    type Value = ResponseDecision;

    fn call<'a>(&'a self, stage: &'a dyn Stage, slot: &'a mut ExchangeSlot) -> Step<'a, ResponseDecision> {
        stage.on_response(slot)
    }
}

pub(super) struct OnComplete<'o>(pub(super) &'o ExchangeOutcome);

impl Hook for OnComplete<'_> {
    const PHASE: CallPhase = CallPhase::Complete;
    type Value = ();

    fn call<'a>(&'a self, stage: &'a dyn Stage, slot: &'a mut ExchangeSlot) -> Step<'a, ()> {
        stage.on_complete(slot, self.0)
    }
}

/// How a stage's turn ended.
pub(super) enum TurnEnd<T> {
    NotCalled,
    Returned(T),
    Failed(StageFailure),
}

/// How long a stage may wait. What it waits for has limits of its own where it is an upstream; a clock has none.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) deadline: &'a Deadline,
    pub(super) traffic: &'a Traffic,
}

/// Runs the turn of a stage that has begun (`Entry::begin`).
pub(super) async fn run<H: Hook>(
    hook: &H,
    entry: &Entry,
    scope: &Scope,
    slot: &mut ExchangeSlot,
    limits: Limits<'_>,
) -> TurnEnd<H::Value> {
    let span = Span::begin(slot);
    slot.in_turn = Some(slot.stage);
    let end = calls(hook, entry, scope, slot, limits).await;
    slot.in_turn = None;
    if let Some(span) = span {
        span.end::<H>(entry, slot, &end);
    }
    end
}

async fn calls<H: Hook>(
    hook: &H,
    entry: &Entry,
    scope: &Scope,
    slot: &mut ExchangeSlot,
    limits: Limits<'_>,
) -> TurnEnd<H::Value> {
    let Limits { deadline, traffic } = limits;
    let stage = &**entry.stage();
    let mut pending = 0;
    loop {
        let turn = match hook.call(stage, slot) {
            Step::Done(turn) => Ok(turn),
            Step::Wait(turn) => deadline.limit(traffic, turn).await,
        };
        let called = match turn {
            Err(limit) => return overdue(limit, stage, slot),
            Ok(Turn::NotCalled) => return TurnEnd::NotCalled,
            Ok(Turn::Pending) => None,
            Ok(Turn::Refused(failure)) => {
                entry.calls(scope).failed(failure.kind.counted());
                slot.mark = Instant::now();
                return TurnEnd::Failed(failure);
            }
            Ok(Turn::Called { end, ran }) => Some((end, ran)),
        };
        if let Some((end, ran)) = called {
            // Reading the clock costs a part of such a call, so one turn's end is the next one's beginning.
            let ended = Instant::now();
            let since_mark = ended.saturating_duration_since(std::mem::replace(&mut slot.mark, ended));
            let ran = ran.unwrap_or(since_mark);
            let calls = entry.calls(scope);
            calls.called(H::PHASE, u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX));
            match end {
                CallEnd::Returned(value) => {
                    if H::is_reply(&value) {
                        calls.answered();
                    }
                    return TurnEnd::Returned(value);
                }
                CallEnd::Failed(failure) => {
                    calls.failed(failure.kind.counted());
                    return TurnEnd::Failed(failure);
                }
                CallEnd::Pending => {}
            }
        }
        if pending == MAX_PENDING {
            entry.calls(scope).failed(FailureKind::Error.counted());
            stage.abandon(slot);
            let detail = "it waited for one thing after another".to_owned();
            return TurnEnd::Failed(StageFailure { kind: FailureKind::Error, detail });
        }
        pending += 1;
        let ready = deadline.limit(traffic, stage.ready(slot)).await;
        if let Err(limit) = ready {
            return overdue(limit, stage, slot);
        }
        // What it waited for is not the next call's doing.
        slot.mark = Instant::now();
    }
}

/// The exchange's time is over. That is no failure of the stage's own, so none is counted.
fn overdue<T>(limit: Limit, stage: &dyn Stage, slot: &mut ExchangeSlot) -> TurnEnd<T> {
    stage.abandon(slot);
    slot.mark = Instant::now();
    let detail = format!("it waited until {limit} was over");
    TurnEnd::Failed(StageFailure { kind: FailureKind::Timeout, detail })
}

/// A turn of an exchange that is recorded.
struct Span {
    entered: Entered,
    began: Instant,
}

impl Span {
    /// A turn begins when the one before has ended.
    fn begin(slot: &ExchangeSlot) -> Option<Self> {
        slot.trace.as_ref().map(|trace| Self { entered: trace.enter(), began: slot.mark })
    }

    fn end<H: Hook>(self, entry: &Entry, slot: &ExchangeSlot, end: &TurnEnd<H::Value>) {
        let Some(trace) = &slot.trace else { return };
        let (answered, failure) = match end {
            TurnEnd::NotCalled => return trace.pass(self.entered),
            TurnEnd::Returned(value) => (H::is_reply(value), None),
            TurnEnd::Failed(failure) => (false, Some(failure.kind.counted().name())),
        };
        trace.leave(self.entered, self.began, slot.mark, || Call {
            plugin: Box::from(&**entry.stage().name()),
            phase: H::PHASE.name(),
            answered,
            failure,
        });
    }
}
