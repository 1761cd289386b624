//! The README is right.

use plugin_sdk::testkit::TestHost;
use serde_json::Value;

use crate::Oidc;

const README: &str = include_str!("../../README.md");

#[test]
fn every_example_configures_the_plugin() {
    let host = TestHost::new();
    host.set_secret_to_use("session-key", [7; 32]);
    host.set_secret("client-secret", "secret");
    let blocks = README.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let mut configured = 0;
    for (yaml, _) in blocks {
        let block: Value = serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        let plugins = block["routes"].as_array().unwrap().iter().flat_map(|route| route["plugins"].as_array().unwrap());
        for plugin in plugins.filter(|plugin| plugin["name"] == "oidc") {
            host.plugin::<Oidc>(plugin["config"].clone()).unwrap_or_else(|problems| panic!("{problems}"));
            configured += 1;
        }
    }
    assert!(configured > 0);
}

#[test]
fn every_reason_is_in_the_readme() {
    let source = include_str!("../refusal.rs");
    let reasons: Vec<_> =
        source.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \"")).collect();
    assert!(reasons.len() > 10);
    for (_, reason) in reasons {
        let reason = reason.trim_end_matches("\",");
        assert!(README.contains(&format!("`{reason}`")), "{reason} is missing");
    }
}
