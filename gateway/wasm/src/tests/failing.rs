//! Guests that misbehave: each costs its own call and nothing else.

use gateway_pipeline::{ExchangeOutcome, FailureKind, Pipeline, Verdict};

use super::*;

fn failure(stage: &Alone, slot: &mut ExchangeSlot) -> StageFailure {
    at_once(stage, slot).expect_err("it fails")
}

/// A stage that does its deed for requests with `x-deed`, and the same stage's way with one without.
fn deed_and_after(used: Use) -> (StageFailure, Alone) {
    let stage = used.stage();
    let mut bad = slot();
    bad.request.headers.insert("x-deed", HeaderValue::from_static("1"));
    let failure = failure(&stage, &mut bad);
    assert!(bad.0.is_some(), "the exchange is back");
    (failure, stage)
}

fn when_told(deed: &str) -> Use {
    naughty_with(json!({ "do": deed, "when": "x-deed" }))
}

#[test]
fn a_trap_costs_one_call() {
    let (failure, stage) = deed_and_after(when_told("trap"));
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(failure.detail.contains("unreachable"), "{}", failure.detail);
    at_once(&stage, &mut slot()).unwrap();
}

#[test]
fn a_panic_is_told_in_its_own_words() {
    let (failure, stage) = deed_and_after(when_told("panic"));
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(failure.detail.contains("the plugin's own words"), "{}", failure.detail);
    at_once(&stage, &mut slot()).unwrap();
}

#[test]
fn a_guest_cannot_end_the_process() {
    let (failure, stage) = deed_and_after(when_told("exit"));
    assert_eq!(failure.kind, FailureKind::Trap);
    at_once(&stage, &mut slot()).unwrap();
}

#[tokio::test]
async fn the_end_of_the_stack_is_a_trap() {
    let (failure, stage) = deed_and_after(when_told("recurse"));
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(failure.detail.contains("call stack exhausted"), "{}", failure.detail);
    at_once(&stage, &mut slot()).unwrap();
}

#[test]
fn an_error_is_not_a_trap() {
    let (failure, _) = deed_and_after(when_told("err"));
    assert_eq!((failure.kind, &*failure.detail), (FailureKind::Error, "failed on purpose"));
}

#[test]
fn memory_without_end_ends_at_the_limit() {
    let mut used = when_told("grow");
    used.limits.memory = 16 << 20;
    let (failure, stage) = deed_and_after(used);
    assert_eq!(failure.kind, FailureKind::Memory, "{}", failure.detail);
    at_once(&stage, &mut slot()).unwrap();
}

#[test]
fn illegal_edits_are_refused_and_change_nothing() {
    for deed in ["illegal-header", "owned-header"] {
        let stage = naughty(deed).stage();
        let mut slot = slot();
        assert_eq!(failure(&stage, &mut slot).kind, FailureKind::Error);
        assert_eq!(slot.request.headers.len(), 1);
    }
}

#[test]
fn headers_are_bounded() {
    let stage = naughty("many-headers").stage();
    let mut slot = slot();
    assert_eq!(failure(&stage, &mut slot).kind, FailureKind::Error);
    assert!(slot.request.headers.len() <= 101);
}

#[test]
fn an_illegal_reply_is_a_failure() {
    let failure = failure(&naughty("illegal-reply").stage(), &mut slot());
    assert_eq!(failure.kind, FailureKind::Trap);
    assert_eq!(failure.detail, "its reply is illegal: field x-out has an invalid value");
}

#[test]
fn a_huge_reply_is_not_taken() {
    let failure = failure(&naughty("huge-reply").stage(), &mut slot());
    assert_eq!(failure.kind, FailureKind::Trap, "{}", failure.detail);
}

#[test]
fn logging_without_end_is_bounded() {
    let stage = naughty("log-forever").time(50).stage();
    let log = logged(|| assert_eq!(failure(&stage, &mut slot()).kind, FailureKind::Timeout));
    assert_eq!(log.lines().filter(|line| line.contains("again")).count(), 100);
    assert!(log.contains("exceeded its output limits"), "{log}");
}

#[test]
fn printing_without_end_is_bounded() {
    let stage = naughty("print-forever").time(50).stage();
    let log = logged(|| assert_eq!(failure(&stage, &mut slot()).kind, FailureKind::Timeout));
    assert!(log.len() < 1 << 20, "{}", log.len());
    assert!(log.contains("exceeded its output limits"));
}

#[test]
fn what_a_guest_prints_is_logged_with_its_name_and_the_request() {
    let stage = naughty("print").stage();
    let log = logged(|| drop(at_once(&stage, &mut slot()).unwrap()));
    let line = |text: &str| log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {log}"));
    assert!(line("printed to stdout").contains("plugin=\"tested\" request=\"id-1\""));
    assert!(line("printed to stderr").contains("WARN"));
}

#[tokio::test]
async fn a_runaway_is_stopped_and_then_watched() {
    let world = naughty_with(json!({ "do": "loop", "when": "x-deed" })).time(200).world();
    let stage = world.stage();
    let bad = || {
        let mut slot = slot();
        slot.request.headers.insert("x-deed", HeaderValue::from_static("1"));
        slot
    };
    let mut first = bad();
    assert_eq!(failure(&stage, &mut first).kind, FailureKind::Timeout);
    assert!(first.0.is_some());

    // From now on it makes room for others while it runs.
    let mut second = bad();
    let future = begun(&stage, &mut second);
    let others = std::cell::Cell::new(0);
    let other_work = async {
        loop {
            others.set(others.get() + 1);
            tokio::task::yield_now().await;
        }
    };
    let result = tokio::select! { result = future => result, () = other_work => unreachable!("it never ends") };
    assert_eq!(result.unwrap_err().kind, FailureKind::Timeout);
    assert!(others.get() > 1, "nothing else ran");
    assert!(second.0.is_some());
    in_time(&stage, &mut slot()).await.unwrap();
    assert_eq!(world.metric("gateway_wasm_failures_total{plugin=\"tested\",route=\"test\",kind=\"timeout\"}"), "2");
}

#[tokio::test]
async fn a_runaway_among_those_that_can_wait_is_stopped() {
    let stage = Use::of(test_guests::waiter(), json!({ "do": "loop" })).time(30).stage();
    let mut slot = slot();
    assert_eq!(in_time(&stage, &mut slot).await.unwrap_err().kind, FailureKind::Timeout);
    assert!(slot.0.is_some());
}

#[tokio::test]
async fn time_spent_waiting_is_not_running_time() {
    let stage = Use::of(test_guests::waiter(), json!({ "do": "sleep", "timeout-ms": 600 })).time(300).stage();
    in_time(&stage, &mut slot()).await.unwrap();
}

#[tokio::test]
async fn a_skipped_plugin_leaves_no_trace() {
    for deed in ["edit-then-trap", "edit-then-err"] {
        let entry = gateway_pipeline::Entry::new(naughty(deed).in_pipeline(), true);
        let pipeline = Pipeline::new(Scope::default(), vec![entry]);
        let mut slot = slot();
        let passed = pipeline.request(&mut slot, later()).await;
        assert!(matches!(passed.verdict, Verdict::Forward));
        assert_eq!(slot.request.target, "/path?query");
        assert_eq!(slot.attribute("naughty"), None);
        assert_eq!(header(&slot, "x-out"), "");
    }
}

#[tokio::test]
async fn a_trap_in_the_response_phase_leaves_the_response_alone() {
    let stage = naughty_with(json!({ "do": "edit-then-trap", "phase": "response" })).in_pipeline();
    let pipeline = Pipeline::new(Scope::default(), vec![gateway_pipeline::Entry::new(stage, true)]);
    let mut slot = answered(slot(), full("body"));
    assert!(pipeline.response(1, &mut slot, later()).await.failed.is_none());
    let response = slot.response.as_ref().unwrap();
    assert_eq!(response.status, 200);
    assert!(response.headers.is_empty());
}

#[tokio::test]
async fn a_failing_observer_is_only_logged() {
    let stage = naughty_with(json!({ "do": "trap", "phase": "complete" })).in_pipeline();
    let pipeline = Pipeline::new(Scope::default(), vec![gateway_pipeline::Entry::new(stage, false)]);
    let outcome = ExchangeOutcome {
        status: None,
        failure: Some("client-closed"),
        upstream: None,
        request_bytes: 0,
        response_bytes: 0,
        duration_us: 0,
        upstream_us: None,
        plugins_us: 0,
    };
    let mut slot = slot();
    pipeline.complete(&mut slot, &outcome, later()).await;
    assert!(slot.0.is_some());
}
