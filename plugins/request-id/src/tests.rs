use plugin_sdk::{
    serde_json::{Value, json},
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse, config_schema},
};

use super::{Format, RequestId, uuid_v7};

const UUID: &str = "017F22E2-79B0-7CC3-98C4-DC0C0C07398F";

fn plugin(config: Value) -> TestPlugin<RequestId> {
    TestHost::new().plugin(config).unwrap_or_else(|problems| panic!("{problems}"))
}

fn sent(config: Value, values: &[&str]) -> TestExchange {
    let request = values.iter().fold(TestRequest::get("/"), |request, value| request.header("x-correlation-id", value));
    plugin(config).request(request)
}

fn id(exchange: &TestExchange) -> String {
    let values = exchange.header_values("x-correlation-id");
    assert_eq!(values.len(), 1);
    String::from_utf8(values[0].to_vec()).unwrap()
}

#[test]
fn a_request_without_one_gets_a_uuid_of_version_7_and_the_client_is_told() {
    let mut plugin = plugin(json!({}));
    let exchange = plugin.request(TestRequest::get("/"));
    let made = id(&exchange);
    assert!(Format::Uuid.fits(&made), "{made}");
    assert_eq!(&made[14..15], "7");
    assert_eq!(exchange.attribute("request-id"), Some(&*made));
    let exchange = exchange.with_response(TestResponse::new(200).header("x-correlation-id", "another"));
    assert_eq!(exchange.response_header_values("x-correlation-id"), [made.as_bytes()]);
    assert_ne!(made, id(&plugin.request(TestRequest::get("/").id("another"))));
}

/// The example of RFC 9562 §A.6 has this time.
#[test]
fn the_time_is_where_the_rfc_has_it_and_version_and_variant_too() {
    for i in 0..100 {
        let uuid = uuid_v7(0x017F_22E2_79B0, &i.to_string());
        assert!(uuid.starts_with("017f22e2-79b0-7"), "{uuid}");
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
    }
    assert!(uuid_v7(1, "a") < uuid_v7(2, "a"), "they sort by time");
}

#[test]
fn a_valid_one_is_kept_and_any_other_replaced() {
    assert_eq!(id(&sent(json!({}), &[UUID])), UUID);
    for values in [
        &["x"][..],
        &[""],
        &[UUID, UUID],
        &["017F22E2-79B0-7CC3-98C4-DC0C0C07398"],
        &["017F22E2x79B0-7CC3-98C4-DC0C0C07398F"],
    ] {
        let made = id(&sent(json!({}), values));
        assert!(!values.contains(&&*made), "{values:?}");
    }
    assert_eq!(id(&sent(json!({ "format": "text" }), &["shop:7/a+b="])), "shop:7/a+b=");
    for wrong in ["a b", "a\"b", "a,b", &"a".repeat(129)] {
        assert_ne!(id(&sent(json!({ "format": "text" }), &[wrong])), wrong);
    }
    assert_ne!(id(&sent(json!({ "accept": "never" }), &[UUID])), UUID);
}

#[test]
fn one_that_is_not_valid_can_be_refused() {
    let strict = json!({ "accept": "valid-only" });
    assert_eq!(id(&sent(strict.clone(), &[UUID])), UUID);
    assert!(sent(strict.clone(), &[]).reply().is_none());
    for values in [&["<x>"][..], &[UUID, UUID]] {
        let reply = sent(strict.clone(), values).reply().expect("refused").clone();
        assert_eq!(reply.status, 400);
        assert!(!reply.into_text().contains("<x>"));
    }
}

#[test]
fn the_gateway_s_own_can_have_another_name() {
    let config = json!({ "generator": "gateway", "format": "text", "echo": false });
    assert_eq!(id(&sent(config, &[])), "test-request");
}

#[test]
fn what_makes_no_sense_is_told() {
    let problems = |config| TestHost::new().plugin::<RequestId>(config).err().unwrap().to_string();
    assert_eq!(problems(json!({ "header": "host" })), "/header: is a header that belongs to the gateway");
    assert!(problems(json!({ "generator": "gateway" })).starts_with("/generator: "));
}

#[test]
fn the_schema_describes_every_option_and_the_readme_too() {
    let schema = config_schema::<RequestId>();
    for (name, option) in schema["properties"].as_object().unwrap() {
        assert!(option["description"].is_string(), "{name}");
        assert!(include_str!("../README.md").contains(&format!("| `{name}` |")), "{name}");
    }
    assert!(jsonschema::draft202012::new(&schema).unwrap().is_valid(&schema["examples"][0]));
}
