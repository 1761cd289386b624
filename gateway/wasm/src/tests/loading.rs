//! What can be loaded, what is said about what cannot, and trying configurations.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::Waits;
use crate::{LoadError, Problem};

fn refusal(bytes: &[u8]) -> LoadError {
    runtime().load(bytes).err().expect("this is no plugin")
}

/// The component with every occurrence of a name replaced by another of the same length.
fn renamed(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = component.to_vec();
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        at += 1;
    }
    bytes
}

#[test]
fn a_component_tells_its_facts() {
    let loaded = loaded(test_guests::naughty());
    let facts = loaded.facts();
    assert_eq!(facts.name, "guest-naughty");
    assert!(facts.config_schema.as_ref().unwrap()["properties"]["do"].is_object());
    assert!(facts.phases.request && facts.phases.response && facts.phases.complete);
    assert!(facts.wants.store && facts.wants.secrets && facts.wants.sinks && !facts.wants.upstreams);
    assert_eq!(facts.waits, Waits { with_remote_state: true, ..Waits::default() }, "{:?}", facts.imports);
    assert_eq!(facts.size, test_guests::naughty().len());
    assert_eq!(facts.digest.len(), 64);
    let http = &facts.imports["gateway:plugin/http@0.2.0"];
    assert!(http.iter().any(|function| function == "[method]request.set-header"), "{http:?}");
}

#[test]
fn a_component_that_calls_upstreams_can_wait_if_it_is_granted_any() {
    let loaded = loaded(standard("ext-auth"));
    let facts = loaded.facts();
    assert!(facts.wants.upstreams);
    let granted = Grants { upstreams: Names::Only(vec!["echo".to_owned()]), ..Grants::default() };
    assert!(facts.waits.with(&granted, false, false) && !facts.waits.with(&Grants::default(), true, false));
}

#[test]
fn a_component_that_sleeps_can_always_wait_and_one_that_gets_bodies_and_messages_says_so() {
    let loaded = loaded(test_guests::waiter());
    let facts = loaded.facts();
    assert!(facts.waits.with(&Grants::default(), false, false));
    assert_eq!(facts.body_exports.len(), 3, "{:?}", facts.body_exports);
    assert!(!facts.phases.complete);
}

#[test]
fn a_component_that_looks_for_responses_can_wait_unless_it_says_that_it_does_so_in_memory_only() {
    let loaded = loaded(standard("cache"));
    let facts = loaded.facts();
    assert_eq!(facts.waits, Waits { with_shared_cache: true, ..Waits::default() }, "{:?}", facts.imports);
    let granted = Grants { store: Names::Only(vec!["cache".to_owned()]), ..Grants::default() };
    assert!(facts.waits.with(&granted, true, false) && !facts.waits.with(&granted, true, true));
    assert!(!facts.waits.with(&granted, false, false));
}

#[test]
fn the_same_bytes_are_compiled_once() {
    assert!(Arc::ptr_eq(&loaded(test_guests::naughty()), &loaded(test_guests::naughty())));
}

#[test]
fn compiled_code_is_kept_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CodeCache::At(folder.path().to_owned());
    Runtime::new(&cache).unwrap().load(test_guests::waiter()).unwrap();
    assert!(std::fs::read_dir(folder.path()).unwrap().count() > 0);
    Runtime::new(&cache).unwrap().load(test_guests::waiter()).unwrap();
}

#[test]
fn a_cache_that_cannot_be_had_is_done_without() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = logged(|| drop(Runtime::new(&CodeCache::At(file.path().join("below"))).unwrap()));
    assert!(log.contains("no cache for compiled plugins"), "{log}");
}

#[test]
fn the_standard_plugins_can_be_loaded() {
    for name in gateway_standard::names() {
        let loaded = runtime().load(standard(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(loaded.facts().name, *name);
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = runtime().load_file(Path::new("/nowhere/x.wasm")).err().unwrap().to_string();
    assert!(error.starts_with("cannot read /nowhere/x.wasm: "), "{error}");
}

#[test]
fn what_is_not_a_component_is_told_apart() {
    assert!(matches!(refusal(b""), LoadError::NotWasm));
    assert!(matches!(refusal(b"<html>"), LoadError::NotWasm));
    let core = refusal(b"\0asm\x01\0\0\0");
    assert!(matches!(core, LoadError::CoreModule));
    assert!(core.to_string().contains("wasm-tools component new"));
    assert!(matches!(refusal(b"\0asm\x0d\0\x01\0garbage"), LoadError::Invalid(_)));
    assert!(matches!(refusal(&test_guests::naughty()[..test_guests::naughty().len() / 2]), LoadError::Invalid(_)));
}

#[test]
fn another_world_is_named_beside_ours() {
    let empty = refusal(b"\0asm\x0d\0\x01\0");
    assert_eq!(empty.to_string(), "not a plugin: exports nothing, expected gateway:plugin/lifecycle@0.2.0");
    let other =
        refusal(&renamed(test_guests::naughty(), "gateway:plugin/lifecycle@0.2.0", "gateway:nothin/lifecycle@0.1.0"));
    assert!(other.to_string().contains("gateway:nothin/lifecycle@0.1.0"), "{other}");
}

#[test]
fn another_version_is_named_beside_ours() {
    for interface in ["lifecycle", "http"] {
        let name = format!("gateway:plugin/{interface}@0.2.0");
        let other = format!("gateway:plugin/{interface}@0.3.0");
        let error = refusal(&renamed(test_guests::naughty(), &name, &other)).to_string();
        assert!(error.contains(&other) && error.contains("gateway:plugin/*@0.2.0"), "{error}");
    }
}

#[test]
fn an_unknown_import_is_named() {
    let error =
        refusal(&renamed(test_guests::naughty(), "gateway:plugin/secrets@0.2.0", "gateway:plugin/secretz@0.2.0"));
    assert!(error.to_string().contains("gateway:plugin/secretz@0.2.0"), "{error}");
    let error = refusal(&renamed(test_guests::waiter(), "wasi:io/poll@0.2", "wasi:ix/poll@0.2"));
    assert!(matches!(&error, LoadError::UnknownImports(names) if names[0].starts_with("wasi:ix/poll@")), "{error}");
}

#[test]
fn a_function_that_is_missing_is_named() {
    let error = refusal(&renamed(test_guests::naughty(), "on-complete", "in-complete"));
    assert!(matches!(error, LoadError::Mismatch(_)), "{error}");
    assert!(error.to_string().contains("gateway:plugin/observer@0.2.0 exports no on-complete"), "{error}");
}

fn problems(used: Use) -> Vec<Problem> {
    used.prepare().try_configure(&Arc::default()).err().unwrap_or_default()
}

#[test]
fn a_configuration_is_tried_before_it_serves() {
    assert_eq!(problems(naughty("mark")), []);
    assert_eq!(problems(Use::of(test_guests::waiter(), json!({ "do": "sleep" }))), []);
}

#[test]
fn what_a_plugin_has_against_its_configuration_comes_with_its_place() {
    let found = problems(naughty_with(json!({ "do": "err", "phase": "configure" })));
    assert_eq!(found, [Problem { pointer: "/with".to_owned(), message: "failed on purpose".to_owned() }]);
    let found = problems(naughty_with(json!({ "do": "nothing-known" })));
    assert_eq!(found[0].pointer, "/do");
}

#[test]
fn a_plugin_that_fails_in_configure_is_a_problem_too() {
    let first = |deed: &str| {
        let mut used = naughty_with(json!({ "do": deed, "phase": "configure" })).time(50);
        used.limits.memory = 8 << 20;
        problems(used).remove(0).message
    };
    let panic = first("panic");
    assert!(panic.starts_with("the plugin failed when configured: "), "{panic}");
    assert!(panic.contains("the plugin's own words"), "{panic}");
    assert!(first("loop").starts_with("the plugin took too long to be configured"));
    assert!(first("grow").starts_with("the plugin ran out of memory when configured"));
}

/// A component of text whose request phase owns the request; the import for dropping it is `$drop`.
fn owning(on_request: &str, exports: &[&str]) -> Vec<u8> {
    let module = format!(
        r#"(module
            (import "gateway:plugin/http@0.2.0" "[resource-drop]request" (func $drop (param i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "gateway:plugin/lifecycle@0.2.0#describe") (result i32) (i32.const 16))
            (func (export "gateway:plugin/lifecycle@0.2.0#configure") (param i32 i32) (result i32) (i32.const 64))
            (func (export "gateway:plugin/request-filter@0.2.0#on-request") (param i32) (result i32)
                {on_request} (i32.const 64))
            (data (i32.const 0) "owner")
            (data (i32.const 16) "\00\00\00\00\05\00\00\00"))"#
    );
    let exports: Vec<_> = exports.iter().map(|name| (*name).to_owned()).collect();
    gateway_component::component_of(&wat::parse_str(module).unwrap(), &exports, true).unwrap()
}

fn stage_of(component: Vec<u8>) -> (World, Alone) {
    let mut used = Use::of(test_guests::naughty(), json!({}));
    used.guest = Box::leak(component.into_boxed_slice());
    let world = used.world();
    let stage = world.stage();
    (world, stage)
}

#[test]
fn a_plugin_may_own_the_request_if_it_drops_it() {
    let (world, stage) = stage_of(owning("(call $drop (local.get 0))", &["request-filter"]));
    for _ in 0..1000 {
        assert!(matches!(at_once(&stage, &mut slot()), Ok(Decision::Next)));
    }
    assert_eq!(world.metric("gateway_wasm_instances_created_total{plugin=\"tested\"}"), "1");
}

#[test]
fn an_instance_that_keeps_the_requests_that_it_was_given_is_replaced() {
    let (world, stage) = stage_of(owning("", &["request-filter"]));
    for _ in 0..1000 {
        assert!(matches!(at_once(&stage, &mut slot()), Ok(Decision::Next)));
    }
    assert_eq!(world.metric("gateway_wasm_instances_created_total{plugin=\"tested\"}"), "4");
}
