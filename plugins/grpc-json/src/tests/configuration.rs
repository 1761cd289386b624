//! What the configuration may say.

use plugin_sdk::testkit::config_schema;

use super::*;
use crate::config::Config;

#[test]
fn what_cannot_work_is_said_when_it_is_configured() {
    let host = TestHost::new();
    host.set_file("broken", "not descriptors");
    host.set_file("library", descriptors());
    for (config, pointer, words) in [
        (json!({ "descriptors": "nothing" }), "/descriptors", "nothing: PATH"),
        (json!({ "descriptors": ["library", "broken"] }), "/descriptors/1", "protoc"),
        (json!({ "descriptors": [] }), "/descriptors", "at least one"),
        (json!({ "descriptors": "library", "services": ["x.Y"] }), "/services/0", "library.v1.Library"),
    ] {
        let problems = host.plugin::<GrpcJson>(config).err().unwrap();
        let first = problems.iter().next().unwrap();
        assert_eq!(first.pointer, pointer);
        assert!(first.message.contains(words), "{}", first.message);
    }
}

#[test]
fn the_schema_takes_its_own_example() {
    let schema = config_schema::<GrpcJson>();
    let example = schema["examples"][0].clone();
    assert!(jsonschema::draft202012::is_valid(&schema, &example));
    serde_json::from_value::<Config>(example).unwrap();
}
