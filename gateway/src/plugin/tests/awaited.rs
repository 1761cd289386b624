//! Calls that find that they have to wait, with a standard plugin that verifies passwords.

use super::*;
use crate::plugin::builtin::builtin;

/// `open sesame`.
const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdC1vZi1hbm5h$MlzKAbpDxiyDJdwkMTMDFg9ED1rnyPn1OXNFKm1f3Jg";

fn door(remember: &str) -> Use {
    let users = json!([{ "name": "anna", "hash": HASH }]);
    Use::of(builtin("basic-auth").unwrap(), json!({ "users": users, "remember": remember }))
}

fn knocking(credentials: &'static str) -> Slot {
    let mut slot = slot();
    slot.request.headers.insert("authorization", HeaderValue::from_static(credentials));
    slot
}

/// `anna:open sesame`.
fn anna() -> Slot {
    knocking("Basic YW5uYTpvcGVuIHNlc2FtZQ==")
}

#[tokio::test]
async fn a_call_that_has_to_wait_is_made_again_and_is_no_failure() {
    let world = door("1m").world();
    let stage = world.stage();
    let mut slot = anna();
    let Step::Wait(waiting) = stage.on_request(0, &mut slot) else { panic!("hashing takes a while") };
    assert!(matches!(waiting.await, Ok(Decision::Next)));
    assert_eq!(slot.attribute("basic-auth.user"), Some("anna"));
    assert!(slot.stash.is_empty(), "what was found is for that call alone");
    assert_eq!(world.metric("gateway_wasm_failures_total{plugin=\"tested\",kind=\"error\"}"), "0");
    assert_eq!(world.metric("gateway_wasm_instances_created_total{plugin=\"tested\"}"), "1");
    assert!(matches!(at_once(&stage, &mut anna()), Ok(Decision::Next)), "remembered");
}

#[tokio::test]
async fn a_wrong_password_is_found_out_each_time() {
    let stage = door("1m").stage();
    for _ in 0..2 {
        let mut slot = knocking("Basic YW5uYTpvcGVuIHNlc2FtRQ==");
        let Step::Wait(waiting) = stage.on_request(0, &mut slot) else { panic!("nothing is remembered") };
        assert!(matches!(waiting.await, Ok(Decision::Respond(reply)) if reply.status == 401));
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
async fn who_leaves_while_waiting_leaves_everything_in_order() {
    let world = door("0s").world();
    let stage = world.stage();
    let mut slot = anna();
    let Step::Wait(waiting) = stage.on_request(0, &mut slot) else { panic!("hashing takes a while") };
    drop(waiting);
    assert!(slot.0.is_some());
    assert!(matches!(in_time(&stage, &mut anna()).await, Ok(Decision::Next)));
}
