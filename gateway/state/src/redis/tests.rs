//! Keys, without a server; with one, tests/e2e.

use super::*;
use crate::{Counting, Quota};

fn step(key: &str, counting: Counting) -> Step {
    Step { key: key.to_owned(), quota: Quota { limit: 1, period_ms: 1, burst: 1 }, counting, cost: 1 }
}

#[test]
fn what_belongs_together_lies_in_one_slot() {
    let keys = Keys { prefix: "gateway:", bucket: "limits" };
    let steps = [step("burst", Counting::Steady), step("hour", Counting::Sliding)];
    let steps: Vec<_> = steps.iter().map(|step| keys.step("anna", step).unwrap()).collect();
    assert_eq!(steps, ["gateway:limits:q:{.anna}:burst", "gateway:limits:w:{.anna}:hour"]);
    assert_eq!(keys.value("a").unwrap(), "gateway:limits:v:{.a}");
    assert_eq!(keys.quota("").unwrap(), "gateway:limits:q:{.}");
    // The same count, asked for by itself.
    assert_eq!(keys.quota("anna\0burst").unwrap(), steps[0]);
    // All that is under a key, also under that of a step.
    assert_eq!(
        keys.all("anna\0hour").unwrap(),
        ["gateway:limits:v:{.anna}:hour", "gateway:limits:q:{.anna}:hour", "gateway:limits:w:{.anna}:hour"]
    );
    assert_eq!(keys.step("anna", &step("", Counting::Steady)).unwrap(), "gateway:limits:q:{.anna}:");
    assert_eq!(keys.value(&"k".repeat(2000)), Err(Failure::TooLarge));
}

#[test]
fn leases_are_renewed_together_and_in_a_cluster_by_slot() {
    let settings = |servers| Settings {
        servers,
        credentials: Arc::new(|| Ok(Credentials::default())),
        prefix: "gateway:".to_owned(),
        timeout: Duration::from_millis(50),
    };
    let url = || "redis://127.0.0.1:1".to_owned();
    let renewals = |redis: &Redis| {
        let renewal = |n: usize| lease::Renewal {
            key: redis.lease_key("b", &(n % 5).to_string()).unwrap(),
            lease: crate::LeaseId(n as u128),
            ttl_ms: 1_000,
        };
        redis.keep_leases((0..300).map(renewal).collect())
    };
    let number = |ops: &[Op]| {
        ops.iter().map(|op| if let Op::Renew { leases, .. } = op { leases.len() } else { 0 }).collect::<Vec<_>>()
    };
    let redis = Redis::start(settings(Servers::One(url())), Arc::default()).unwrap();
    assert_eq!(number(&renewals(&redis)), [128, 128, 44]);
    let redis = Redis::start(settings(Servers::Cluster(vec![url()])), Arc::default()).unwrap();
    let ops = renewals(&redis);
    assert_eq!(number(&ops), [60; 5]);
    for op in &ops {
        let Op::Renew { leases, .. } = op else { panic!("{op:?}") };
        assert!(leases.iter().all(|renewal| renewal.key == op.key()));
    }
}

#[test]
fn a_password_is_not_shown() {
    assert_eq!(format!("{:?}", Secret("hunter2".to_owned())), "***");
}

#[test]
fn nobody_waits_for_a_server_that_is_away() {
    let settings = Settings {
        servers: Servers::One("redis://127.0.0.1:1".to_owned()),
        credentials: Arc::new(|| Ok(Credentials::default())),
        prefix: String::new(),
        timeout: Duration::from_millis(50),
    };
    let redis = Redis::start(settings, Arc::default()).unwrap();
    assert!(redis.trouble().is_some());
    let op = redis.get("b", "k").unwrap();
    assert!(matches!(redis.ask(op), Err(Failure::Unavailable(_))));
}

#[test]
fn the_page_about_state_names_every_command_that_a_server_must_have() {
    let page = include_str!("../../../../docs/state.md");
    let scripts = [
        include_str!("clock.lua"),
        include_str!("take.lua"),
        include_str!("keep.lua"),
        include_str!("purge.lua"),
        include_str!("forgotten.lua"),
        include_str!("increment.lua"),
        include_str!("acquire.lua"),
        include_str!("renew.lua"),
        include_str!("swap.lua"),
        include_str!("ttl.lua"),
        include_str!("probe.lua"),
    ];
    let calls = scripts.iter().flat_map(|script| script.split("redis.call('").skip(1));
    let commands: Vec<_> = calls
        .filter_map(|rest| rest.split('\'').next())
        .chain(["HVALS", "ZREM", "CLUSTER SLOTS", "SENTINEL GET-MASTER-ADDR-BY-NAME"])
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        assert!(page.contains(&format!("`{command}`")), "{command}");
    }
}
