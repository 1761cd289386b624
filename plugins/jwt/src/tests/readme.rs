//! The README is right.

use crate::Jwt;
use plugin_sdk::testkit::{TestHost, config_schema};
use serde_json::Value;

const README: &str = include_str!("../../README.md");

fn yaml_blocks() -> Vec<Value> {
    let blocks = README.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(yaml, _)| serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))).collect()
}

/// Whole gateway files and lists of keys, as they are pasted from the README.
#[test]
fn every_example_configures_the_plugin() {
    let host = TestHost::new();
    host.set_secret("jwt-secret", "s".repeat(64));
    host.set_secret(
        "id-keys",
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    );
    let blocks = yaml_blocks();
    assert!(blocks.len() >= 2);
    for block in blocks {
        let routes = block["routes"].as_array().map_or(&[][..], Vec::as_slice);
        let plugins = routes.iter().flat_map(|route| route["plugins"].as_array().unwrap());
        let mut configs: Vec<_> = plugins.map(|plugin| plugin["config"].clone()).collect();
        if routes.is_empty() {
            configs.push(block);
        }
        for config in configs {
            host.plugin::<Jwt>(config).unwrap_or_else(|problems| panic!("{problems}"));
        }
    }
}

#[test]
fn every_option_is_in_the_table() {
    let schema = config_schema::<Jwt>();
    for option in schema["properties"].as_object().unwrap().keys() {
        assert!(README.contains(&format!("| `{option}` |")), "{option} is missing");
    }
}
