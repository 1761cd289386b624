use std::{rc::Rc, sync::Arc};

use gateway_http::{forwarded::Peer, known_headers::KnownHeaders, request_headers::RequestHeaders};
use http::{HeaderMap, HeaderValue, StatusCode, header::VARY};

use super::{super::*, *};
use crate::tests::{slot, soon};

/// Plans a line of the response with its name; in its response phase, if it has one, it adds another.
struct Planner {
    name: Arc<str>,
    deed: Deed,
    responds: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Pass,
    /// It waits after its first call in the response phase, and is called again.
    Wait,
    Answer,
    Fail,
}

fn line(text: &str) -> (HeaderName, Change) {
    (HeaderName::from_static("x-a"), Change::Append(HeaderValue::from_str(text).unwrap()))
}

impl Stage for Planner {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn phases(&self) -> Phases {
        Phases { request: true, response: self.responds, complete: false }
    }

    fn on_request<'a>(&'a self, slot: &'a mut ExchangeSlot) -> Step<'a, Decision> {
        let (name, change) = line(&self.name);
        slot.change_response_header(name, change).unwrap();
        Step::Done(Turn::called(match self.deed {
            Deed::Pass | Deed::Wait => Ok(Decision::Next),
            Deed::Answer => {
                let (status, headers) = (StatusCode::IM_A_TEAPOT, HeaderMap::new());
                Ok(Decision::Respond(Box::new(Reply { status, headers, body: Default::default() })))
            }
            Deed::Fail => Err(StageFailure { kind: FailureKind::Error, detail: "on purpose".to_owned() }),
        }))
    }

    fn on_response<'a>(&'a self, slot: &'a mut ExchangeSlot) -> Step<'a, ResponseDecision> {
        let (name, change) = line(&format!("{}!", self.name));
        slot.change_response_header(name, change).unwrap();
        let is_first = !std::mem::replace(slot.state_or_default::<bool>(), true);
        if self.deed == Deed::Wait && is_first {
            return Step::Done(Turn::Called { end: CallEnd::Pending, ran: None });
        }
        Step::Done(Turn::called(Ok(ResponseDecision::Next)))
    }

    fn on_complete<'a>(&'a self, _: &'a mut ExchangeSlot, _: &'a ExchangeOutcome) -> Step<'a, ()> {
        Step::Done(Turn::NotCalled)
    }
}

fn answered(slot: &mut ExchangeSlot, headers: HeaderMap) {
    slot.phase = Phase::Response;
    slot.response = Some(ResponseHead { status: StatusCode::OK, headers });
}

fn lines(slot: &ExchangeSlot, name: &str) -> Vec<String> {
    let values = slot.response.as_ref().unwrap().headers.get_all(name);
    values.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// What the response has after all phases of a pipeline, of which some are skipped on error.
async fn told(stages: &[(&'static str, Deed, bool, bool)]) -> Vec<String> {
    let entry = |&(name, deed, responds, skip_on_error): &(&'static str, Deed, bool, bool)| {
        Entry::new(Rc::new(Planner { name: name.into(), deed, responds }), skip_on_error)
    };
    let pipeline = Pipeline::new(Scope::default(), stages.iter().map(entry).collect());
    let mut slot = slot();
    let passed = pipeline.request(&mut slot, soon()).await;
    answered(&mut slot, HeaderMap::new());
    assert_eq!(pipeline.response(passed.ran, &mut slot, soon()).await.failed, None);
    assert!(!slot.plan.has_any(0), "nothing is left over");
    lines(&slot, "x-a")
}

#[tokio::test]
async fn what_stages_planned_is_done_backwards_each_before_its_own_response_phase() {
    let pass = |name, responds| (name, Deed::Pass, responds, false);
    assert_eq!(told(&[pass("a", false), pass("b", false)]).await, ["b", "a"]);
    assert_eq!(told(&[pass("a", true), pass("b", true)]).await, ["b", "b!", "a", "a!"]);
    let mixed = [pass("a", false), pass("b", true), pass("c", false)];
    assert_eq!(told(&mixed).await, ["c", "b", "b!", "a"]);
    assert_eq!(told(&[pass("a", true), pass("b", false)]).await, ["b", "a", "a!"]);
}

#[tokio::test]
async fn what_a_stage_planned_and_did_stays_when_it_waits_in_the_response_phase() {
    for skip_on_error in [false, true] {
        assert_eq!(told(&[("a", Deed::Wait, true, skip_on_error)]).await, ["a", "a!", "a!"]);
    }
}

#[tokio::test]
async fn what_a_stage_planned_that_answered_then_is_not_done() {
    for responds in [false, true] {
        let stages =
            [("a", Deed::Pass, false, false), ("b", Deed::Answer, responds, false), ("c", Deed::Pass, true, false)];
        assert_eq!(told(&stages).await, ["a"]);
        assert_eq!(told(&[("a", Deed::Pass, false, false), ("b", Deed::Fail, responds, false)]).await, ["a"]);
    }
}

#[tokio::test]
async fn what_a_stage_planned_that_was_skipped_is_not_done() {
    let stages = [("a", Deed::Pass, false, true), ("b", Deed::Fail, true, true), ("c", Deed::Pass, false, false)];
    assert_eq!(told(&stages).await, ["c", "a"]);
}

#[test]
fn a_plan_is_bounded_and_keeps_the_rules_at_once() {
    let mut exchange = slot();
    let value = |length| HeaderValue::from_str(&"v".repeat(length)).unwrap();
    let name = HeaderName::from_static("x-a");
    for owned in ["connection", "content-length"] {
        let result = exchange.change_response_header(HeaderName::from_static(owned), Change::Remove);
        assert_eq!(result, Err(EditError::Forbidden), "{owned}");
    }
    assert_eq!(exchange.change_response_header(name.clone(), Change::Set(value(200))), Err(EditError::TooLarge));
    for _ in 0..10 {
        exchange.begin_transaction();
        exchange.change_response_header(name.clone(), Change::Set(value(150))).unwrap();
        exchange.roll_back();
    }
    for _ in 0..56 {
        exchange.change_response_header(name.clone(), Change::Remove).unwrap();
    }
    assert_eq!(exchange.change_response_header(name.clone(), Change::Remove), Err(EditError::TooLarge));
    exchange.phase = Phase::Complete;
    assert_eq!(exchange.change_response_header(name, Change::Remove), Err(EditError::Forbidden));
}

#[test]
fn what_a_response_has_no_room_for_is_left_out_and_what_it_would_have_replaced_goes() {
    let mut exchange = slot();
    let name = HeaderName::from_static("x-a");
    for field in ["x-b", "x-c", "x-d", "x-e"] {
        let change = Change::Append(HeaderValue::from_static("b"));
        exchange.change_response_header(HeaderName::from_static(field), change).unwrap();
    }
    exchange.change_response_header(name, Change::Set(HeaderValue::from_static("longer than the upstream's"))).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("the upstream's"));
    answered(&mut exchange, headers);
    exchange.bounds = Rc::new(Bounds { added_bytes: 30, ..Bounds::clone(&exchange.bounds) });
    exchange.carry_out_plans(0);
    assert_eq!(lines(&exchange, "x-a"), [""; 0]);
    assert_eq!(lines(&exchange, "x-b"), ["b"]);
}

#[test]
fn a_default_gives_way_and_a_member_is_joined_once() {
    let mut exchange = slot();
    answered(&mut exchange, HeaderMap::new());
    let default = |text| Change::Default(HeaderValue::from_static(text));
    exchange.change_response_header(HeaderName::from_static("x-a"), default("1")).unwrap();
    exchange.change_response_header(HeaderName::from_static("x-a"), default("2")).unwrap();
    assert_eq!(lines(&exchange, "x-a"), ["1"]);

    let join = |exchange: &mut ExchangeSlot, text| {
        exchange.change_response_header(VARY, Change::Join(HeaderValue::from_static(text))).unwrap();
    };
    join(&mut exchange, "Origin");
    exchange.set_response_header("vary", b"accept ,ORIGIN").unwrap();
    join(&mut exchange, "origin");
    assert_eq!(lines(&exchange, "vary"), ["accept ,ORIGIN"]);
    join(&mut exchange, "x");
    assert_eq!(lines(&exchange, "vary"), ["accept ,ORIGIN", "x"]);
    exchange.set_response_header("vary", b"*").unwrap();
    join(&mut exchange, "y");
    assert_eq!(lines(&exchange, "vary"), ["*"]);
}

/// A request with the gateway's own forwarding headers.
fn forwarded() -> ExchangeSlot {
    let (mut headers, authority) = (HeaderMap::new(), HeaderValue::from_static("example.com"));
    let peer = Peer::new([192, 0, 2, 1].into(), false, &[]);
    let (_, forwarding) = peer.announce(&mut headers, KnownHeaders::of(&HeaderMap::new()), &authority, &[]);
    let mut slot = slot();
    slot.request.headers = RequestHeaders::new(headers, forwarding);
    slot
}

#[test]
fn forwarding_headers_take_no_room_from_stages_wherever_they_are() {
    for first in ["x-a", "x-forwarded-prefix"] {
        let mut exchange = forwarded();
        for name in [first, "x-b", "x-real-ip", "x-c", "x-d"] {
            exchange.set_request_header(name, b"1").unwrap();
        }
        assert_eq!(exchange.set_request_header("x-e", b"1"), Err(EditError::TooLarge), "four fields may be added");
    }
    let mut exchange = forwarded();
    for name in ["x-a", "x-b", "x-c", "x-d"] {
        exchange.set_request_header(name, b"1").unwrap();
    }
    assert_eq!(exchange.set_request_header("x-e", b"1"), Err(EditError::TooLarge));
}

#[test]
fn an_edit_of_a_forwarding_header_is_undone_and_the_others_stay() {
    let mut exchange = forwarded();
    exchange.begin_transaction();
    exchange.remove_request_header("x-real-ip").unwrap();
    assert!(!exchange.request.headers.contains_key("x-real-ip"));
    exchange.roll_back();
    assert_eq!(exchange.request.headers["x-real-ip"], "192.0.2.1");
    assert_eq!(exchange.request.headers.get_all("x-forwarded-for").iter().count(), 1);
}

#[test]
fn what_a_skipped_stage_owns_is_gone_among_forwarding_headers_too() {
    let mut exchange = forwarded();
    let owned = OwnedHeaders { request: vec![HeaderName::from_static("x-real-ip")], response: Vec::new() };
    exchange.withhold([&owned]);
    assert!(!exchange.request.headers.contains_key("x-real-ip"));
    assert!(exchange.request.headers.contains_key("x-forwarded-for"));
}

#[test]
fn another_spelling_of_a_forwarding_header_that_a_stage_reads_goes() {
    let mut exchange = forwarded();
    exchange.note_read("X_Real_IP");
    exchange.drop_other_spellings();
    assert!(!exchange.request.headers.contains_key("x-real-ip"));
    assert!(exchange.request.headers.contains_key("x-forwarded-for"));
}
