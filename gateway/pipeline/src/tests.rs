use std::{
    cell::RefCell,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use gateway_core::error::Failure;
use gateway_http::{body::Body, deadline::Deadline};
use gateway_telemetry::{Metrics, figures::CallFigures};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, uri::PathAndQuery};

use super::*;

/// What the fake stages were asked, in order.
type Story = Rc<RefCell<Vec<String>>>;

/// Says what it is asked, marks the request, and does as told.
struct Fake {
    name: Arc<str>,
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
    /// Keeps something of the exchange, and is not called when it is over.
    Keep,
    /// Has nothing to do.
    Rest,
    /// Cannot be called.
    Refuse,
    /// Waits for something after a call, so often.
    Pend(usize),
    /// Waits for something before it can be called.
    PendFirst,
    /// Ran for another time than its turn took.
    Run(Duration),
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
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn phases(&self) -> Phases {
        Phases { request: true, response: true, complete: self.deed != Deed::Keep }
    }

    fn on_request<'a>(&'a self, slot: &'a mut ExchangeSlot) -> Step<'a, Decision> {
        self.told("request");
        match self.deed {
            Deed::Rest => return Step::Done(Turn::NotCalled),
            Deed::PendFirst if *slot.state_or_default::<usize>() == 0 => return Step::Done(Turn::Pending),
            _ => {}
        }
        // The head has no room for a stage that is called again and again.
        if !matches!(self.deed, Deed::Pend(_)) || *slot.state_or_default::<usize>() < 3 {
            slot.append_request_header("x-seen-by", self.name.as_bytes()).unwrap();
        }
        Step::Done(match self.deed {
            Deed::Answer => Turn::called(Ok(Decision::Respond(Box::new(Reply {
                status: StatusCode::IM_A_TEAPOT,
                headers: HeaderMap::new(),
                body: "short and stout".into(),
            })))),
            Deed::Fail => Turn::called(Err(failure())),
            Deed::Refuse => Turn::Refused(StageFailure { kind: FailureKind::Busy, detail: String::new() }),
            Deed::Hang => return Step::Wait(Box::pin(std::future::pending())),
            Deed::Pend(times) => {
                let made = slot.state_or_default::<usize>();
                if *made < times {
                    Turn::Called { end: CallEnd::Pending, ran: None }
                } else {
                    Turn::called(Ok(Decision::Next))
                }
            }
            Deed::Keep => {
                *slot.state_or_default::<Option<Story>>() = Some(self.story.clone());
                Turn::called(Ok(Decision::Next))
            }
            Deed::Run(ran) => Turn::Called { end: CallEnd::Returned(Decision::Next), ran: Some(ran) },
            Deed::Pass | Deed::Rest | Deed::PendFirst => Turn::called(Ok(Decision::Next)),
        })
    }

    fn on_response<'a>(&'a self, _: &'a mut ExchangeSlot) -> Step<'a, ResponseDecision> {
        self.told("response");
        Step::Wait(Box::pin(async { Turn::called(Ok(ResponseDecision::Next)) }))
    }

    fn on_complete<'a>(&'a self, slot: &'a mut ExchangeSlot, _: &'a ExchangeOutcome) -> Step<'a, ()> {
        self.told("complete");
        if let Some(made) = slot.state::<usize>() {
            self.told(&format!("was pending {made} times"));
        }
        if self.deed == Deed::Pend(0) {
            return Step::Wait(Box::pin(std::future::pending()));
        }
        Step::Done(Turn::called(Err(failure())))
    }

    fn ready<'a>(&'a self, slot: &'a mut ExchangeSlot) -> LocalFuture<'a, ()> {
        Box::pin(async move {
            // The clock of these tests is paused.
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.told("ready");
            *slot.state_or_default::<usize>() += 1;
        })
    }

    fn abandon(&self, _: &mut ExchangeSlot) {
        self.told("abandoned");
    }

    fn start(&self) {
        self.told("start");
    }

    fn ticks(&self) -> bool {
        matches!(self.deed, Deed::Rest)
    }

    fn tick(&self) {
        self.told("tick");
    }

    fn stop(&self) {
        self.told("stop");
    }
}

fn pipeline(story: &Story, stages: &[(&'static str, Deed, bool)]) -> Pipeline {
    counting(story, stages, &Metrics::default())
}

fn counting(story: &Story, stages: &[(&'static str, Deed, bool)], metrics: &Metrics) -> Pipeline {
    let entry = |&(name, deed, skip_on_error): &(&'static str, Deed, bool)| {
        Entry::new(Rc::new(Fake { name: name.into(), deed, story: story.clone() }), skip_on_error)
    };
    let scope = Scope { metrics: metrics.clone(), worker: 0, route: "test".into() };
    Pipeline::new(scope, stages.iter().map(entry).collect())
}

pub(super) fn slot() -> ExchangeSlot {
    ExchangeSlot::new(Exchange::new(Start {
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
            headers: Default::default(),
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

fn outcome() -> ExchangeOutcome {
    ExchangeOutcome {
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

#[tokio::test]
async fn no_stage_waits_for_longer_than_it_may() {
    let story = Story::default();
    let pipeline = pipeline(&story, &[("a", Deed::Hang, false)]);
    let limit = Deadline::new(Instant::now(), Some(Duration::from_millis(1)));
    let passed = pipeline.request(&mut slot(), limit).await;
    assert!(matches!(passed.verdict, Verdict::Failed(Failure::PluginFailed)), "{passed:?}");
}

/// The numbers of a stage on the route.
fn figures(metrics: &Metrics, name: &str) -> Option<CallFigures> {
    metrics.call_figures().into_iter().find(|figures| &*figures.plugin == name)
}

fn count(counts: &[(&'static str, u64)], label: &str) -> u64 {
    counts.iter().find(|(name, _)| *name == label).map_or(0, |(_, count)| *count)
}

#[tokio::test]
async fn calls_are_counted_and_timed_for_a_stage_that_only_says_what_came_of_them() {
    let metrics = Metrics::default();
    let (story, ran) = (Story::default(), Duration::from_secs(5));
    let stages = [
        ("passes", Deed::Pass, false),
        ("ran", Deed::Run(ran), false),
        ("fails", Deed::Fail, true),
        ("refuses", Deed::Refuse, true),
        ("answers", Deed::Answer, false),
        ("behind", Deed::Pass, false),
    ];
    let pipeline = counting(&story, &stages, &metrics);
    let passed = pipeline.request(&mut slot(), soon()).await;
    assert!(matches!(passed.verdict, Verdict::Reply(_)), "{passed:?}");
    let told = |name| {
        let figures = figures(&metrics, name).unwrap();
        let failures = figures.failures.iter().map(|(_, count)| count).sum::<u64>();
        (count(&figures.calls, "request"), figures.local_replies, failures)
    };
    assert_eq!(told("passes"), (1, 0, 0));
    assert_eq!(told("ran"), (1, 0, 0));
    assert_eq!(told("fails"), (1, 0, 1));
    assert_eq!(told("refuses"), (0, 0, 1), "a call that could not be made is none");
    assert_eq!(told("answers"), (1, 1, 0));
    assert!(figures(&metrics, "behind").is_none());
    let nanos = count(&figures(&metrics, "ran").unwrap().nanos, "request");
    assert_eq!(u128::from(nanos), ran.as_nanos(), "what it says, where it says so");
    assert!(Duration::from_micros(passed.micros) < ran);
}

#[tokio::test]
async fn a_stage_that_was_not_called_is_neither_counted_nor_timed() {
    let (metrics, story) = (Metrics::default(), Story::default());
    let pipeline = counting(&story, &[("rests", Deed::Rest, true)], &metrics);
    let mut slot = slot();
    let passed = pipeline.request(&mut slot, soon()).await;
    assert!(matches!(passed.verdict, Verdict::Forward));
    assert_eq!((passed.micros, story.take()), (0, vec!["rests request".to_owned()]));
    assert!(figures(&metrics, "rests").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_waits_is_called_again_with_its_edits_and_its_state_is_there_in_all_phases() {
    let (metrics, story) = (Metrics::default(), Story::default());
    let pipeline = counting(&story, &[("a", Deed::Pass, false), ("b", Deed::Pend(2), false)], &metrics);
    let mut slot = slot();
    assert!(matches!(pipeline.request(&mut slot, soon()).await.verdict, Verdict::Forward));
    let marks: Vec<_> = slot.request.headers.get_all("x-seen-by").iter().collect();
    assert_eq!(marks, ["a", "b", "b", "b"]);
    pipeline.complete(&mut slot, &outcome(), soon()).await;
    let expected = ["a request", "b request", "b ready", "b request", "b ready", "b request"];
    let at_end = ["a complete", "b complete", "b was pending 2 times"];
    assert_eq!(story.take(), [&expected[..], &at_end[..]].concat());
    let figures = figures(&metrics, "b").unwrap();
    assert_eq!(count(&figures.calls, "request"), 3);
    assert!(count(&figures.nanos, "request") < 1_000_000_000, "waiting is no running time");
}

#[tokio::test]
async fn an_observer_that_waits_holds_nothing_of_other_stages_and_no_body() {
    let story = Story::default();
    let pipeline = pipeline(&story, &[("keeps", Deed::Keep, false), ("waits", Deed::Pend(0), false)]);
    let mut slot = slot();
    assert!(matches!(pipeline.request(&mut slot, soon()).await.verdict, Verdict::Forward));
    slot.request_body = b"a request body".to_vec().into();
    let holders = Rc::strong_count(&story);
    let outcome = outcome();
    let mut observing = Box::pin(pipeline.complete(&mut slot, &outcome, soon()));
    assert!(observing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(Rc::strong_count(&story), holders - 1);
    drop(observing);
    assert!(matches!(slot.request_body, Body::Empty));
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_waits_before_it_is_called_has_one_call() {
    let (metrics, story) = (Metrics::default(), Story::default());
    let pipeline = counting(&story, &[("a", Deed::PendFirst, true)], &metrics);
    let mut slot = slot();
    assert!(matches!(pipeline.request(&mut slot, soon()).await.verdict, Verdict::Forward));
    assert_eq!(story.take(), ["a request", "a ready", "a request"]);
    assert_eq!(count(&figures(&metrics, "a").unwrap().calls, "request"), 1);
}

#[tokio::test(start_paused = true)]
async fn all_edits_of_a_stage_that_waited_are_undone_when_its_failure_is_skipped() {
    let (verdict, _, marks) = tell(&[("a", Deed::Pend(usize::MAX), true), ("b", Deed::Pass, false)]).await;
    assert!(matches!(verdict, Verdict::Forward));
    assert_eq!(marks, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_stage_had_found_is_given_up_when_the_client_leaves_in_its_turn() {
    let story = Story::default();
    let pipeline = pipeline(&story, &[("a", Deed::Pass, false), ("b", Deed::Hang, true)]);
    let mut slot = slot();
    let turn = tokio::time::timeout(Duration::from_millis(1), pipeline.request(&mut slot, soon())).await;
    assert!(turn.is_err(), "it hangs");
    pipeline.complete(&mut slot, &outcome(), soon()).await;
    let at_end = ["a complete", "b abandoned", "b complete"];
    assert_eq!(story.take(), [&["a request", "b request"][..], &at_end[..]].concat());
    assert!(!slot.is_undoable());
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_stays_pending_fails_and_one_that_is_overdue_is_given_up() {
    let (metrics, story) = (Metrics::default(), Story::default());
    let pipeline = counting(&story, &[("endless", Deed::Pend(usize::MAX), true)], &metrics);
    let mut slot = slot();
    assert!(matches!(pipeline.request(&mut slot, soon()).await.verdict, Verdict::Forward));
    assert!(!slot.request.headers.contains_key("x-seen-by"), "what it did is undone");
    assert_eq!(story.take().last().map(String::as_str), Some("endless abandoned"));
    let told = figures(&metrics, "endless").unwrap();
    assert_eq!((count(&told.calls, "request"), count(&told.failures, "error")), (21, 1));

    let none = Deadline::new(Instant::now(), Some(Duration::ZERO));
    let passed = pipeline.request(&mut super::tests::slot(), none).await;
    assert!(matches!(passed.verdict, Verdict::Forward), "{passed:?}");
    assert_eq!(story.take(), ["endless request", "endless abandoned"]);
    let told = figures(&metrics, "endless").unwrap();
    assert_eq!((count(&told.failures, "timeout"), count(&told.failures, "error")), (0, 1), "no failure of its own");
}

#[test]
fn a_worker_starts_ticks_and_stops_stages() {
    let story = Story::default();
    let pipeline = pipeline(&story, &[("a", Deed::Pass, false), ("b", Deed::Rest, false)]);
    pipeline.start();
    pipeline.ticking().for_each(|stage| stage.tick());
    pipeline.stop();
    assert_eq!(story.take(), ["a start", "b start", "b tick", "a stop", "b stop"]);
}
