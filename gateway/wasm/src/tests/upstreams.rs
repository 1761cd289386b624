//! Calls to upstreams, and calls that queue behind them.

use std::cell::RefCell;

use gateway_pipeline::{FailureKind, Reply};
use http::StatusCode;

use super::*;
use crate::services::{CallError, LocalFuture, UpstreamCall};

/// One upstream: `echo` answers, `slow` never does, and no other exists.
#[derive(Default)]
struct Fake(RefCell<Vec<UpstreamCall>>);

impl Upstreams for Fake {
    fn call(&self, call: UpstreamCall) -> LocalFuture<'_, Result<Reply, CallError>> {
        let name = call.upstream.clone();
        self.0.borrow_mut().push(call);
        Box::pin(async move {
            match &*name {
                "echo" => Ok(Reply { status: StatusCode::IM_A_TEAPOT, headers: HeaderMap::new(), body: "tea".into() }),
                "slow" => std::future::pending().await,
                _ => Err(CallError::Unknown),
            }
        })
    }
}

fn calls(upstream: &str) -> (Use, Rc<Fake>) {
    let fake = Rc::new(Fake::default());
    let mut used =
        Use::of(test_guests::waiter(), json!({ "do": "call-upstream", "upstream": upstream, "timeout-ms": 60_000 }));
    used.upstreams = fake.clone();
    (used, fake)
}

async fn reply(used: Use) -> (u16, String) {
    let stage = used.stage();
    match in_time(&stage, &mut slot()).await.unwrap() {
        Decision::Respond(reply) => (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).unwrap()),
        other => panic!("it answers: {other:?}"),
    }
}

#[tokio::test]
async fn a_granted_upstream_answers() {
    let (used, fake) = calls("echo");
    assert_eq!(reply(used).await, (418, "tea".to_owned()));
    let calls = fake.0.borrow();
    assert_eq!((calls[0].method.as_str(), calls[0].target.as_str()), ("GET", "/from-plugin"));
    assert_eq!(calls[0].limit, 1 << 20);
}

#[tokio::test]
async fn an_upstream_that_was_not_granted_is_never_asked() {
    let (mut used, fake) = calls("echo");
    used.grants.upstreams = Names::Only(vec!["other".to_owned()]);
    let (status, text) = reply(used).await;
    assert_eq!(status, 599);
    assert!(text.contains("denied") && text.contains("echo"), "{text}");
    assert!(fake.0.borrow().is_empty());
}

#[tokio::test]
async fn an_unknown_upstream_is_denied() {
    let (used, _) = calls("nobody");
    assert!(reply(used).await.1.contains("denied"));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_upstream_times_out() {
    let (used, _) = calls("slow");
    assert_eq!(reply(used).await, (599, "call timed out".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_gives_its_exchange_back() {
    let (used, _) = calls("slow");
    let world = used.world();
    let stage = world.stage();
    let mut slot = slot();
    let call = in_time(&stage, &mut slot);
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    assert!(slot.0.is_some());
    assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "0");
}

#[tokio::test(start_paused = true)]
async fn calls_queue_for_an_instance_and_not_for_ever() {
    let (mut used, _) = calls("slow");
    used.limits.instances = Some(1);
    let world = used.world();
    let stage = world.stage();
    let (mut one, mut two) = (slot(), slot());
    let (first, second) = tokio::join!(in_time(&stage, &mut one), in_time(&stage, &mut two));
    assert!(first.is_ok());
    assert_eq!(second.unwrap_err().kind, FailureKind::Busy);
    assert_eq!(world.metric("gateway_wasm_failures_total{plugin=\"tested\",route=\"test\",kind=\"busy\"}"), "1");
}

#[tokio::test]
async fn the_next_in_the_queue_gets_the_instance_that_became_free() {
    let (mut used, _) = calls("echo");
    used.limits.instances = Some(1);
    let world = used.world();
    let stage = world.stage();
    let mut slots = [slot(), slot(), slot()];
    let [one, two, three] = &mut slots;
    let results = tokio::join!(in_time(&stage, one), in_time(&stage, two), in_time(&stage, three));
    assert!(results.0.is_ok() && results.1.is_ok() && results.2.is_ok());
    assert_eq!(world.metric("gateway_wasm_instances_created_total{plugin=\"tested\"}"), "1");
}

#[tokio::test]
async fn a_full_queue_turns_away_at_once() {
    let (mut used, _) = calls("slow");
    used.limits.instances = Some(1);
    let world = used.world();
    let stage = world.stage();
    let mut slots: Vec<_> = std::iter::repeat_with(slot).take(300).collect();
    let mut waiting = futures(&stage, &mut slots);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = waiting.iter_mut().map(|call| call.as_mut().poll(&mut cx));
    let busy = polled.filter(|poll| matches!(poll, std::task::Poll::Ready(Err(_)))).count();
    // One has the instance, 256 wait for it.
    assert_eq!(busy, 300 - 1 - 256);
}

type Call<'a> = LocalFuture<'a, Result<Decision, StageFailure>>;

fn futures<'a>(stage: &'a Alone, slots: &'a mut [ExchangeSlot]) -> Vec<Call<'a>> {
    slots.iter_mut().map(|slot| Box::pin(in_time(stage, slot)) as Call<'a>).collect()
}
