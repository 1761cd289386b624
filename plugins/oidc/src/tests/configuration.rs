//! Configurations that are rejected, and the messages for the operator.

use plugin_sdk::testkit::config_schema;
use serde_json::{Value, json};

use super::support::{ISSUER, config, host};
use crate::Oidc;

#[track_caller]
fn problems(more: Value) -> String {
    host().plugin::<Oidc>(config(more)).err().expect("a problem").to_string()
}

fn provider(more: Value) -> Value {
    let mut provider = json!({ "name": "main", "issuer": ISSUER, "upstream": "id", "client-id": "app" });
    provider.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "providers": [provider] })
}

#[test]
fn problems_are_at_their_places() {
    for (more, expected) in [
        (json!({ "providers": [] }), "/providers: needs 1 to 16 providers"),
        (
            provider(json!({ "name": "Main/1" })),
            "/providers/0/name: must be 1 to 32 lower-case letters, digits and `-`",
        ),
        (
            provider(json!({ "issuer": "id.example.com" })),
            "/providers/0/issuer: must be an `https` URL without query and fragment",
        ),
        (
            provider(json!({ "issuer": "http://id.example.com" })),
            "/providers/0/issuer: must be an `https` URL; `http` is for development on a loopback address",
        ),
        (provider(json!({ "client-id": "" })), "/providers/0/client-id: must not be empty"),
        (provider(json!({ "scopes": ["email"] })), "/providers/0/scopes: must contain `openid`"),
        (provider(json!({ "scopes": ["openid email"] })), "/providers/0/scopes"),
        (
            provider(json!({ "authorization-parameters": { "state": "x" } })),
            "/providers/0/authorization-parameters/state: is set by the plugin itself",
        ),
        (
            provider(json!({ "authorization-parameters": { "acr_values": "2" } })),
            "/providers/0/authorization-parameters/acr_values: is not enforced",
        ),
        (
            provider(json!({ "authorization-parameters": { "max_age": "1h" } })),
            "/providers/0/authorization-parameters/max_age: must be a number of seconds",
        ),
        (
            json!({ "claims-to-attributes": { "oidc.token": "sub" } }),
            "/claims-to-attributes/oidc.token: is set by the plugin itself",
        ),
        (
            provider(json!({ "algorithms": ["HS256"] })),
            "/providers/0/algorithms/0: `HS256` is not a signature algorithm with a public key",
        ),
        (provider(json!({ "algorithms": ["none"] })), "/providers/0/algorithms/0"),
        (provider(json!({ "client-secret": "absent" })), "/providers/0/client-secret"),
        (
            provider(json!({ "other-upstreams": { "https://a.example/path": "keys" } })),
            "/providers/0/other-upstreams/https:~1~1a.example~1path: must be scheme and host",
        ),
        (json!({ "keys": [] }), "/keys: needs 1 to 4 names of secrets"),
        (json!({ "keys": ["key", "key"] }), "/keys/1: is listed twice"),
        (json!({ "keys": ["client-secret"] }), "/keys/0: is not a key of 32 bytes"),
        (json!({ "path": "oidc/" }), "/path: must be a path from the root"),
        (json!({ "path": "/" }), "/path: must be a path from the root"),
        (json!({ "origin": "https://App.example.com/" }), "/origin: must be scheme, host and port"),
        (json!({ "cookie": "a b" }), "/cookie"),
        (json!({ "lifetime": "30s" }), "/lifetime: must be from 1m to 30d, is 30s"),
        (json!({ "timeout": "1m" }), "/timeout: must be from 1ms to 30s, is 1m"),
        (json!({ "after-logout": "//evil.example" }), "/after-logout: must be a path from the root"),
        (json!({ "claims-to-headers": { "cookie": "sub" } }), "/claims-to-headers/cookie"),
        (
            json!({ "claims-to-attributes": { "oidc.session": "sub" } }),
            "/claims-to-attributes/oidc.session: is set by the plugin itself",
        ),
        (json!({ "unknown": 1 }), "unknown"),
    ] {
        let problems = problems(more.clone());
        assert!(problems.lines().any(|line| line.contains(expected)), "{more}:\n{problems}");
    }
}

#[test]
fn missing_grants_are_told_with_their_cure() {
    let host = host();
    ["id", "key", "client-secret", "oidc"].into_iter().for_each(|name| host.deny(name));
    let config = config(provider(json!({ "client-secret": "client-secret" })));
    let problems = host.plugin::<Oidc>(config).err().expect("problems").to_string();
    for cure in [
        "/providers/0/upstream: needs an upstream `id`, and `grants: { upstreams: [id] }`",
        "/providers/0/client-secret: needs a secret `client-secret`, and `grants: { secrets: { client-secret: read } }`",
        "/keys/0: needs a secret `key`, and `grants: { secrets: { key: use } }`",
        "/bucket: the bucket `oidc` is not granted; add it to the plugin's `grants: { store: [oidc] }`",
    ] {
        assert!(problems.contains(cure), "{problems}");
    }
}

#[test]
fn names_of_providers_are_unique() {
    let one = json!({ "name": "main", "issuer": ISSUER, "upstream": "id", "client-id": "app" });
    assert!(
        problems(json!({ "providers": [one, one] })).contains("/providers/1/name: is the name of another provider")
    );
}

#[test]
fn every_option_is_in_the_readme() {
    let readme = include_str!("../../README.md");
    let schema = config_schema::<Oidc>();
    let provider = &schema["$defs"]["ProviderConfig"]["properties"];
    let options = schema["properties"].as_object().unwrap().keys().chain(provider.as_object().unwrap().keys());
    for option in options {
        assert!(readme.contains(&format!("| `{option}` |")), "{option} is missing");
    }
}

#[test]
fn with_several_issuers_the_upstream_gets_the_issuer() {
    let provider =
        |name: &str, issuer: &str| json!({ "name": name, "issuer": issuer, "upstream": "id", "client-id": "app" });
    let two = json!([provider("main", ISSUER), provider("other", "https://other.example")]);
    let problem = "/claims-to-headers: needs a header with the claim `iss`";
    assert!(problems(json!({ "providers": two })).contains(problem));
    for more in [
        json!({ "providers": two, "claims-to-headers": { "x-user": "sub", "x-issuer": "iss" } }),
        json!({ "providers": two, "claims-to-headers": {} }),
        json!({ "providers": [provider("main", ISSUER), provider("other", ISSUER)] }),
    ] {
        if let Err(problems) = host().plugin::<Oidc>(config(more)) {
            panic!("{problems}");
        }
    }
}
