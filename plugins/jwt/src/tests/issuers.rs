//! Several issuers on one route, each believed for its own tokens only.

use plugin_sdk::testkit::TestHost;
use serde_json::{Value, json};

use super::support::{Signer, accepted, bearer, claims, plugin, refused};
use crate::Jwt;

fn signed_by(signer: &Signer, more: Value) -> String {
    signer.token_of(json!({}), &claims(more))
}

fn two() -> (Signer, Signer, Value) {
    let (ours, partner) = (Signer::ed25519(), Signer::ed25519());
    let config = json!({
        "audience": "api",
        "issuers": [
            { "issuer": "https://id", "keys": [{ "public-key": ours.pem() }] },
            { "issuer": "https://partner", "audience": "partners", "keys": [{ "public-key": partner.pem() }] },
        ],
    });
    (ours, partner, config)
}

#[test]
fn the_issuer_of_a_token_chooses_the_keys_that_have_to_prove_it() {
    let (ours, partner, config) = two();
    let (_, mut plugin) = plugin(config);
    let exchange = accepted(plugin.request(bearer(&signed_by(&ours, json!({ "iss": "https://id", "aud": "api" })))));
    assert_eq!(exchange.attribute("jwt.iss"), Some("https://id"));
    accepted(plugin.request(bearer(&signed_by(&partner, json!({ "iss": "https://partner", "aud": "partners" })))));

    let mut send = |signer: &Signer, claims| plugin.request(bearer(&signed_by(signer, claims)));
    refused(send(&partner, json!({ "iss": "https://id", "aud": "api" })), 401, "signature");
    refused(send(&ours, json!({ "iss": "https://partner", "aud": "partners" })), 401, "signature");
    refused(send(&partner, json!({ "iss": "https://partner", "aud": "api" })), 401, "audience");
    for nobody in [json!({}), json!({ "iss": "https://else" }), json!({ "iss": ["https://id"] })] {
        refused(send(&ours, nobody), 401, "issuer");
    }
}

#[test]
fn issuers_stand_alone_and_are_told_apart() {
    let (ours, _, config) = two();
    let problems = |more: Value| {
        let mut config = config.clone();
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        TestHost::new().plugin::<Jwt>(config).err().map_or_else(String::new, |problems| problems.to_string())
    };
    assert_eq!(problems(json!({})), "");
    assert_eq!(
        problems(json!({ "keys": [{ "public-key": ours.pem() }] })),
        "/issuers: cannot stand beside `keys`, `jwks`, `jwks-secret` or `jwks-from`"
    );
    assert_eq!(
        problems(json!({ "issuer": "https://id" })),
        "/issuer: cannot stand beside `issuers`, each of which has its own"
    );
    let entry = json!({ "issuer": "https://id", "keys": [{ "public-key": ours.pem() }] });
    assert_eq!(
        problems(json!({ "issuers": [entry, entry, { "issuer": "" }] })),
        concat!(
            "/issuers/1/issuer: is the issuer of another entry\n",
            "/issuers/2: has no key, needs one of `keys`, `jwks`, `jwks-secret` and `jwks-from`\n",
            "/issuers/2/issuer: must not be empty",
        )
    );
}
