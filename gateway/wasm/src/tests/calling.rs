//! Calls that go well: warm instances, their reuse and their end.

use gateway_pipeline::ExchangeOutcome;

use super::*;

#[test]
fn a_plugin_reads_and_writes_without_anyone_waiting() {
    let stage = naughty("mark").stage();
    let mut slot = slot();
    assert!(matches!(at_once(&stage, &mut slot), Ok(Decision::Next)));
    assert_eq!(header(&slot, "x-out"), "in");
}

#[test]
fn a_plugin_answers() {
    let stage = naughty_with(json!({ "do": "respond", "with": "hello" })).stage();
    let Ok(Decision::Respond(reply)) = at_once(&stage, &mut slot()) else { panic!("it answers") };
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"hello"[..]));
}

#[test]
fn an_instance_is_reused() {
    let world = naughty("count").world();
    let stage = world.stage();
    for calls in ["1", "2", "3"] {
        let mut slot = slot();
        at_once(&stage, &mut slot).unwrap();
        assert_eq!(header(&slot, "x-calls"), calls);
    }
    assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "1");
}

#[test]
fn a_phase_that_a_configuration_has_no_use_for_is_not_called() {
    let transform = standard("transform");
    let world = Use::of(transform, json!({ "response": { "set-headers": { "x-in": "{header.x-in}" } } })).world();
    let stage = world.stage();
    for _ in 0..5 {
        assert!(matches!(at_once(&stage, &mut slot()), Ok(Decision::Next)));
    }
    let calls = world.metric("gateway_wasm_calls_total{plugin=\"tested\",route=\"test\",phase=\"request\"}");
    assert_eq!(calls, "1", "known from the first instance on");
    let mut slot = answered(slot(), Body::Empty);
    stage.response(&mut slot).now_or_never().expect("called on a fiber").unwrap();
    assert_eq!(slot.response.as_ref().unwrap().headers["x-in"], "in");
}

#[test]
fn an_instance_is_replaced_after_so_many_calls() {
    let mut used = naughty("count");
    // For exchanges: `configure` does not count.
    used.limits.max_calls = 2;
    let stage = used.stage();
    for calls in ["1", "2", "1", "2"] {
        let mut slot = slot();
        at_once(&stage, &mut slot).unwrap();
        assert_eq!(header(&slot, "x-calls"), calls);
    }
}

#[test]
fn an_instance_that_fills_its_memory_is_replaced_before_it_fails() {
    let world = naughty("leak").world();
    let stage = world.stage();
    for _ in 0..20 {
        at_once(&stage, &mut slot()).unwrap();
    }
    let created: u32 = world.metric("gateway_wasm_instances_created_total{plugin=\"tested\"}").parse().unwrap();
    assert!((2..=10).contains(&created), "{created}");
}

#[tokio::test]
async fn an_isolated_exchange_keeps_its_own_instance_through_its_phases() {
    for guest in [test_guests::naughty(), test_guests::waiter()] {
        let mut used = Use::of(guest, json!({ "do": "count" }));
        used.isolation = Isolation::Request;
        let world = used.world();
        let stage = world.stage();
        for _ in 0..2 {
            let mut slot = slot();
            in_time(&stage, &mut slot).await.unwrap();
            assert_eq!(header(&slot, "x-calls"), "1");
            in_time(&stage, &mut slot).await.unwrap();
            assert_eq!(header(&slot, "x-calls"), "2");
            assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "1");
            drop(slot);
            assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "0");
        }
    }
}

#[tokio::test]
async fn many_instances_can_be_there_at_once() {
    let mut used = naughty("count");
    used.isolation = Isolation::Request;
    used.limits.instances = Some(500);
    let world = used.world();
    let stage = world.stage();
    let mut slots: Vec<_> = std::iter::repeat_with(slot).take(500).collect();
    for slot in &mut slots {
        at_once(&stage, slot).unwrap();
    }
    assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "500");
    let mut one_more = slot();
    assert!(stage.request(&mut one_more).now_or_never().is_none(), "there is room for one more");
}

#[test]
fn stages_of_the_same_making_share_their_instances() {
    let world = naughty("count").world();
    let old = world.stage();
    at_once(&old, &mut slot()).unwrap();
    // As a reload does: the new one is made while the old one still serves.
    let new = world.stage();
    drop(old);
    let mut slot = slot();
    at_once(&new, &mut slot).unwrap();
    assert_eq!(header(&slot, "x-calls"), "2");
}

#[test]
fn a_changed_secret_makes_new_instances() {
    let world = |secret: &'static str| {
        let mut used = naughty("count");
        used.shared.secrets.insert("token".to_owned(), Bytes::from_static(secret.as_bytes()));
        used.world()
    };
    let (old, new) = (world("a"), world("b"));
    let keys = [&old, &new].map(|world| world.prepared.key(&world.services.shared));
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn the_order_of_grants_keeps_instances_and_other_grants_make_new_ones() {
    let key = |secrets: &[&str]| {
        let mut used = naughty("count");
        used.grants.secrets = Names::Only(secrets.iter().map(|name| (*name).to_owned()).collect());
        let world = used.world();
        world.prepared.key(&world.services.shared)
    };
    assert_eq!(key(&["a", "b"]), key(&["b", "a"]));
    assert_ne!(key(&["a", "b"]), key(&["ab"]));
}

#[test]
fn instances_are_kept_while_requests_can_begin_with_a_stage_of_theirs() {
    let world = naughty("count").world();
    let instances = || world.metric("gateway_wasm_instances{plugin=\"tested\"}");
    let (old, new) = (world.in_pipeline(), world.in_pipeline());
    old.start();
    at_once(&world.stage(), &mut slot()).unwrap();
    // A reload that still has the plugin.
    new.start();
    old.stop();
    assert_eq!(instances(), "1");
    new.stop();
    assert_eq!(instances(), "0");
    // A request that was in progress.
    at_once(&world.stage(), &mut slot()).unwrap();
    assert_eq!(instances(), "0");
}

#[test]
fn nothing_is_left_when_the_last_stage_is_gone() {
    let world = naughty("count").world();
    let stage = world.stage();
    at_once(&stage, &mut slot()).unwrap();
    assert_eq!(Rc::strong_count(&world.services), 2);
    drop(stage);
    assert_eq!(Rc::strong_count(&world.services), 1);
    assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "0");
    assert_eq!(Arc::strong_count(&world.prepared), 1);
}

#[test]
fn an_observer_sees_the_outcome_and_can_change_nothing() {
    let stage = naughty_with(json!({ "do": "log", "phase": "complete", "with": "seen" })).stage();
    let mut slot = answered(slot(), Body::Empty);
    slot.phase = Phase::Complete;
    let outcome = ExchangeOutcome {
        status: Some(204),
        failure: None,
        upstream: Some("users".into()),
        request_bytes: 0,
        response_bytes: 0,
        duration_us: 1,
        upstream_us: None,
        plugins_us: 0,
    };
    let complete = |stage: &Alone, slot: &mut ExchangeSlot| {
        stage.complete(slot, &outcome).now_or_never().expect("called on a fiber").unwrap();
    };
    let log = logged(|| complete(&stage, &mut slot));
    assert!(log.contains("complete 204 200"), "{log}");
    assert!(log.contains("seen plugin=\"tested\" request=\"id-1\""), "{log}");

    let stage = naughty_with(json!({ "do": "count", "phase": "complete" })).stage();
    let log = logged(|| complete(&stage, &mut slot));
    assert!(log.contains("not allowed") && header(&slot, "x-calls").is_empty(), "{log}");
}
