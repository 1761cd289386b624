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
        include_str!("probe.lua"),
    ];
    let calls = scripts.iter().flat_map(|script| script.split("redis.call('").skip(1));
    let commands: Vec<_> = calls
        .filter_map(|rest| rest.split('\'').next())
        .chain(["HVALS", "CLUSTER SLOTS", "SENTINEL GET-MASTER-ADDR-BY-NAME"])
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        assert!(page.contains(&format!("`{command}`")), "{command}");
    }
}
