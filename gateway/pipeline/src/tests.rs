use std::{
    cell::RefCell,
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use gateway_core::error::Failure;
use gateway_http::{body::Body, deadline::Deadline};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, uri::PathAndQuery};

use super::*;

/// What the fake stages were asked, in order.
type Story = Rc<RefCell<Vec<String>>>;

/// Says what it is asked, marks the request, and does as told.
struct Fake {
    name: &'static str,
    deed: Deed,
    story: Story,
}

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Pass,
    Answer,
    Fail,
    /// Waits, and never comes back.
    Hang,
}

impl Fake {
    fn told(&self, phase: &str) {
        self.story.borrow_mut().push(format!("{} {phase}", self.name));
    }
}

fn failure() -> StageFailure {
    StageFailure { kind: FailureKind::Trap, detail: "on purpose".to_owned() }
}

impl Stage for Fake {
    fn name(&self) -> &str {
        self.name
    }

    fn phases(&self) -> Phases {
        Phases { request: true, response: true, complete: true }
    }

    fn on_request<'a>(&'a self, _: usize, slot: &'a mut Slot) -> Step<'a, Result<Decision, StageFailure>> {
        self.told("request");
        slot.append_request_header("x-seen-by", self.name.as_bytes()).unwrap();
        match self.deed {
            Deed::Pass => Step::Done(Ok(Decision::Next)),
            Deed::Answer => Step::Done(Ok(Decision::Respond(Reply {
                status: StatusCode::IM_A_TEAPOT,
                headers: HeaderMap::new(),
                body: "short and stout".into(),
            }))),
            Deed::Fail => Step::Done(Err(failure())),
            Deed::Hang => Step::Wait(Box::pin(std::future::pending())),
        }
    }

    fn on_response<'a>(&'a self, _: usize, _: &'a mut Slot) -> Step<'a, Result<(), StageFailure>> {
        self.told("response");
        Step::Wait(Box::pin(async { Ok(()) }))
    }

    fn on_complete<'a>(&'a self, _: usize, _: &'a mut Slot, _: &'a Outcome) -> Step<'a, Result<(), StageFailure>> {
        self.told("complete");
        Step::Done(Err(failure()))
    }
}

fn pipeline(story: &Story, stages: &[(&'static str, Deed, bool)]) -> Pipeline {
    let entry = |&(name, deed, skip_on_error): &(&'static str, Deed, bool)| {
        Entry::new(Rc::new(Fake { name, deed, story: story.clone() }), skip_on_error)
    };
    Pipeline::new(stages.iter().map(entry).collect())
}

pub(super) fn slot() -> Slot {
    Slot::new(Exchange::new(Start {
        id: HeaderValue::from_static("1"),
        client: IpAddr::from([127, 0, 0, 1]),
        secured: None,
        protocol: Version::HTTP_11,
        route: "test".into(),
        parameters: Default::default(),
        request: RequestHead {
            method: Method::GET,
            scheme: "http",
            authority: HeaderValue::from_static("example.com"),
            target: PathAndQuery::from_static("/a?b"),
            headers: HeaderMap::new(),
        },
        request_body: Body::Empty,
        bounds: Rc::new(Bounds { added_bytes: 200, added_fields: 4, added_uri_bytes: 20, buffer_bytes: 100 }),
        traffic: Rc::default(),
        started: Instant::now(),
    }))
}

pub(super) fn soon() -> Deadline {
    Deadline::new(Instant::now(), Some(Duration::from_secs(60)))
}

fn outcome() -> Outcome {
    Outcome {
        status: Some(200),
        failure: None,
        upstream: None,
        request_bytes: 0,
        response_bytes: 0,
        duration_us: 0,
        upstream_us: None,
        plugins_us: 0,
    }
}

/// Runs all phases as the proxy does, and tells what happened.
async fn tell(stages: &[(&'static str, Deed, bool)]) -> (Verdict, Vec<String>, Vec<String>) {
    let story = Story::default();
    let pipeline = pipeline(&story, stages);
    let mut slot = slot();
    let passed = pipeline.request(&mut slot, soon()).await;
    slot.phase = Phase::Response;
    slot.response = Some(ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() });
    assert_eq!(pipeline.response(passed.ran, &mut slot, soon()).await.failed, None);
    pipeline.complete(&mut slot, &outcome(), soon()).await;
    let marks = slot.request.headers.get_all("x-seen-by").iter().map(|v| v.to_str().unwrap().to_owned()).collect();
    (passed.verdict, story.take(), marks)
}

#[tokio::test]
async fn requests_go_forwards_and_responses_backwards() {
    let (verdict, story, marks) = tell(&[("a", Deed::Pass, false), ("b", Deed::Pass, false)]).await;
    assert!(matches!(verdict, Verdict::Forward));
    assert_eq!(story, ["a request", "b request", "b response", "a response", "a complete", "b complete"]);
    assert_eq!(marks, ["a", "b"]);
}

#[tokio::test]
async fn an_answer_goes_back_through_the_stages_before_it_only() {
    let stages = [("a", Deed::Pass, false), ("b", Deed::Answer, false), ("c", Deed::Pass, false)];
    let (verdict, story, _) = tell(&stages).await;
    assert!(matches!(verdict, Verdict::Reply(reply) if reply.status == StatusCode::IM_A_TEAPOT));
    assert_eq!(story, ["a request", "b request", "a response", "a complete", "b complete", "c complete"]);
}

#[tokio::test]
async fn a_failure_ends_the_request_phase() {
    let (verdict, story, _) = tell(&[("a", Deed::Fail, false), ("b", Deed::Pass, false)]).await;
    assert!(matches!(verdict, Verdict::Failed(Failure::PluginFailed)));
    assert_eq!(story, ["a request", "a complete", "b complete"]);
}

#[tokio::test]
async fn the_client_is_responsible_for_a_stage_that_fails_once_its_body_has() {
    for (skip_on_error, awaited, left) in [(false, true, false), (false, false, true), (true, false, true)] {
        let pipeline = pipeline(&Story::default(), &[("a", Deed::Fail, skip_on_error)]);
        let mut slot = slot();
        slot.traffic.awaited.set(awaited);
        slot.traffic.left.set(left);
        let verdict = pipeline.request(&mut slot, soon()).await.verdict;
        match (skip_on_error, left) {
            (true, _) => assert!(matches!(verdict, Verdict::Forward)),
            (false, true) => assert!(matches!(verdict, Verdict::Failed(Failure::ClientClosed)), "{verdict:?}"),
            // It waits for the body, and failed for another reason.
            (false, false) => assert!(matches!(verdict, Verdict::Failed(Failure::PluginFailed)), "{verdict:?}"),
        }
    }
}

#[tokio::test]
async fn a_stage_that_fails_and_is_skipped_is_as_if_it_were_not_there() {
    let (verdict, story, marks) = tell(&[("a", Deed::Fail, true), ("b", Deed::Pass, false)]).await;
    assert!(matches!(verdict, Verdict::Forward));
    assert_eq!(story, ["a request", "b request", "b response", "a complete", "b complete"]);
    assert_eq!(marks, ["b"], "what it did to the request is undone");
}

#[tokio::test(start_paused = true)]
async fn no_stage_waits_for_longer_than_it_may() {
    let story = Story::default();
    let pipeline = pipeline(&story, &[("a", Deed::Hang, false)]);
    let passed = pipeline.request(&mut slot(), soon()).await;
    assert!(matches!(passed.verdict, Verdict::Failed(Failure::PluginFailed)), "{passed:?}");
}
