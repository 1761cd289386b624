//! Calls that wait, with standard plugins: for the verification of a password, and for a document.

use std::cell::Cell;

use gateway_pipeline::Reply;
use http::StatusCode;
use tokio::task::LocalSet;

use super::*;
use crate::services::{CallError, LocalFuture, UpstreamCall};

/// `open sesame`.
const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdC1vZi1hbm5h$MlzKAbpDxiyDJdwkMTMDFg9ED1rnyPn1OXNFKm1f3Jg";

const CALLS: &str = "gateway_wasm_calls_total{plugin=\"tested\",route=\"test\",phase=\"request\"}";

fn door(remember: &str) -> Use {
    let users = json!([{ "name": "anna", "hash": HASH }]);
    Use::of(standard("basic-auth"), json!({ "users": users, "cache-ttl": remember }))
}

fn knocking(credentials: &'static str) -> ExchangeSlot {
    let mut slot = slot();
    slot.request.headers.insert("authorization", HeaderValue::from_static(credentials));
    slot
}

/// `anna:open sesame`.
fn anna() -> ExchangeSlot {
    knocking("Basic YW5uYTpvcGVuIHNlc2FtZQ==")
}

#[tokio::test]
async fn a_call_that_has_to_wait_is_one_call_in_one_instance() {
    let world = door("1m").world();
    let stage = world.stage();
    let mut slot = anna();
    assert!(matches!(in_time(&stage, &mut slot).await, Ok(Decision::Next)));
    assert_eq!(world.metric(CALLS), "1");
    assert_eq!(slot.attribute("basic-auth.user"), Some("anna"));
    assert_eq!(world.metric("gateway_wasm_failures_total{plugin=\"tested\",route=\"test\",kind=\"error\"}"), "0");
    assert_eq!(world.metric("gateway_wasm_instances_created_total{plugin=\"tested\"}"), "1");
    // A call that runs for long, such as without a processor, lets others run in between: one of several does not.
    let is_remembered = |_| matches!(stage.request(&mut anna()).now_or_never(), Some(Ok(Decision::Next)));
    assert!((0..100).any(is_remembered), "it waits for the verification each time");
}

#[tokio::test]
async fn a_wrong_password_is_found_out_each_time() {
    let world = door("1m").world();
    let stage = world.stage();
    for calls in ["1", "2"] {
        let mut slot = knocking("Basic YW5uYTpvcGVuIHNlc2FtRQ==");
        let refused = in_time(&stage, &mut slot).await;
        assert!(matches!(refused, Ok(Decision::Respond(reply)) if reply.status == 401));
        assert_eq!(world.metric(CALLS), calls, "nothing is remembered");
    }
}

#[tokio::test]
async fn an_instance_of_an_exchange_s_own_waits_with_it() {
    let mut used = door("0s");
    used.isolation = Isolation::Request;
    let world = used.world();
    let stage = world.stage();
    let mut slot = anna();
    assert!(matches!(in_time(&stage, &mut slot).await, Ok(Decision::Next)));
    assert_eq!(world.metric("gateway_wasm_instances_created_total{plugin=\"tested\"}"), "1");
    drop(slot);
    assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "0");
}

#[tokio::test]
async fn a_client_that_leaves_while_its_call_waits_ends_the_call_and_its_instance() {
    let world = door("0s").world();
    let stage = world.stage();
    let mut slot = anna();
    let waiting = begun(&stage, &mut slot);
    assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "1");
    drop(waiting);
    assert!(slot.0.is_some());
    assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "0");
    assert!(matches!(in_time(&stage, &mut anna()).await, Ok(Decision::Next)));
}

/// Publishes the key of RFC 8037 A.2, and counts how often it is asked.
#[derive(Default)]
struct Provider(Cell<usize>);

impl Upstreams for Provider {
    fn call(&self, _: UpstreamCall) -> LocalFuture<'_, Result<Reply, CallError>> {
        self.0.set(self.0.get() + 1);
        Box::pin(async {
            tokio::task::yield_now().await;
            let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
            Ok(Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: keys.into() })
        })
    }
}

/// The token of RFC 8037 A.4: signed by that key, and its payload is a sentence, so it is refused once keys are there.
#[tokio::test]
async fn only_the_first_calls_wait_for_a_document() {
    let token = "Bearer eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
                 hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let provider = Rc::new(Provider::default());
    let config = json!({ "jwks-from": { "upstream": "id", "path": "/keys" } });
    let mut used = Use::of(standard("jwt"), config);
    used.upstreams = provider.clone();
    let refused = |result: Result<Decision, StageFailure>, slot: &ExchangeSlot| {
        assert!(matches!(result, Ok(Decision::Respond(reply)) if reply.status == 401));
        assert_eq!(slot.attribute("jwt.error"), Some("claims"), "the signature is good");
    };
    let test = async {
        let stage = used.stage();
        let (mut one, mut two) = (knocking(token), knocking(token));
        let (first, second) = (begun(&stage, &mut one), begun(&stage, &mut two));
        let (first, second) = tokio::join!(first, second);
        refused(first, &one);
        refused(second, &two);
        let mut three = knocking(token);
        let third = in_time(&stage, &mut three).await;
        refused(third, &three);
        assert_eq!(provider.0.get(), 1);
    };
    LocalSet::new().run_until(test).await;
}
