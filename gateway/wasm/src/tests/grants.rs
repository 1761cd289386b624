//! What is granted can be used, and nothing else.

use super::*;

fn out(used: Use) -> String {
    let stage = used.stage();
    let mut slot = slot();
    at_once(&stage, &mut slot).unwrap();
    header(&slot, "x-out").to_owned()
}

fn only(name: &str) -> Names {
    Names::Only(vec![name.to_owned()])
}

#[test]
fn a_bucket_is_shared_by_all_who_may() {
    let store = Arc::default();
    let used = || {
        let mut used = naughty_with(json!({ "do": "store", "with": "mine" }));
        used.shared.store = Arc::clone(&store);
        used.grants.store = only("mine");
        used
    };
    assert_eq!(out(used()), "1");
    assert_eq!(out(used()), "2");
}

#[test]
fn a_bucket_that_was_not_granted_is_denied_by_name() {
    let mut used = naughty_with(json!({ "do": "store", "with": "theirs" }));
    used.grants.store = only("mine");
    let denied = out(used);
    assert!(denied.contains("denied") && denied.contains("theirs"), "{denied}");
}

#[test]
fn secrets_are_granted_by_name() {
    let used = |granted: &str, asked: &str| {
        let mut used = naughty_with(json!({ "do": "secret", "with": asked }));
        used.shared.secrets.insert("token".to_owned(), Bytes::from_static(b"s3cret"));
        used.shared.secrets.insert("other".to_owned(), Bytes::from_static(b"0ther"));
        used.grants.secrets = only(granted);
        out(used)
    };
    assert_eq!(used("token", "token"), "s3cret");
    assert!(used("token", "other").contains("denied"));
    assert!(!used("absent", "absent").contains("denied"));
}

#[test]
fn a_plugins_own_metrics_are_kept() {
    let world = naughty("metric").world();
    at_once(&world.stage(), &mut slot()).unwrap();
    let text = world.services.shared.metrics.render();
    let line = text.lines().find(|line| line.starts_with("gateway_plugin_naughty_deeds_total{"));
    assert!(line.is_some_and(|line| line.contains("kind=\"metric\"") && line.ends_with(" 1")), "{text}");
}

#[test]
fn lines_go_to_granted_sinks_only() {
    use gateway_core::model::SinkTarget;
    use gateway_telemetry::Sinks;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let shared = Shared::default();
    let targets = [("mine", file.clone()), ("theirs", folder.path().join("other"))];
    let targets =
        targets.into_iter().map(|(name, path)| (name.to_owned(), SinkTarget::File { path, rotate: None })).collect();
    let sinks = Arc::new(Sinks::open(&targets, &shared.metrics).unwrap());
    for sink in ["mine", "theirs"] {
        let mut used = naughty_with(json!({ "do": "sink", "with": sink }));
        used.grants.sinks = only("mine");
        used.shared.sinks = Arc::clone(&sinks);
        at_once(&used.stage(), &mut slot()).unwrap();
    }
    assert!(sinks.flush(Duration::from_secs(10)));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "/path\n");
    assert_eq!(std::fs::read_to_string(folder.path().join("other")).unwrap(), "");
}
