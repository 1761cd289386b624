//! Keys of every kind, and which of them a token is checked against.

use serde_json::{Value, json};

use super::support::{Signer, accepted, bearer, claims, encode, plugin, refused, signed, token};

/// The public members of a signer's key: the coordinates, or modulus and exponent, are at the end of its DER.
pub(super) fn jwk(signer: &Signer) -> Value {
    let der = &signer.public;
    let tail = |length: usize, from_end: usize| encode(&der[der.len() - from_end..][..length]);
    match signer.alg {
        "ES256" => json!({ "kty": "EC", "crv": "P-256", "x": tail(32, 64), "y": tail(32, 32) }),
        "ES512" => json!({ "kty": "EC", "crv": "P-521", "x": tail(66, 132), "y": tail(66, 66) }),
        "ES384" => json!({ "kty": "EC", "crv": "P-384", "x": tail(48, 96), "y": tail(48, 48) }),
        "EdDSA" => json!({ "kty": "OKP", "crv": "Ed25519", "x": tail(32, 32) }),
        alg => json!({ "kty": "RSA", "alg": alg, "n": tail(256, 261), "e": tail(3, 3) }),
    }
}

#[test]
fn every_algorithm_verifies_with_pem_and_with_jwk() {
    for signer in Signer::all() {
        for key in [json!({ "public-key": signer.pem(), "alg": signer.alg }), json!({ "jwk": jwk(&signer) })] {
            let (_, mut plugin) = plugin(json!({ "keys": [key] }));
            accepted(plugin.request(bearer(&signer.token(json!({})))));
            let forged = signer.token(json!({})).replacen('.', ".e", 1);
            refused(plugin.request(bearer(&forged)), 401, "signature");
        }
    }
}

#[test]
fn an_rsa_key_that_does_not_say_for_which_is_for_every_algorithm_of_rsa() {
    for signer in Signer::all().into_iter().filter(|signer| signer.alg.starts_with(['R', 'P'])) {
        let mut jwk = jwk(&signer);
        jwk.as_object_mut().unwrap().remove("alg");
        for key in [json!({ "public-key": signer.pem() }), json!({ "jwk": jwk })] {
            let (_, mut plugin) = plugin(json!({ "keys": [key] }));
            accepted(plugin.request(bearer(&signer.token(json!({})))));
        }
    }
}

#[test]
fn ed25519_has_two_names() {
    let signer = Signer::ed25519();
    let mut named = jwk(&signer);
    named["alg"] = "Ed25519".into();
    let (_, mut plugin) = plugin(json!({ "keys": [{ "jwk": named }] }));
    accepted(plugin.request(bearer(&signer.token(json!({})))));
    let renamed = signer.called("Ed25519");
    accepted(plugin.request(bearer(&renamed.token(json!({})))));
}

#[test]
fn a_member_of_a_set_that_cannot_be_used_takes_no_other_with_it() {
    let signer = Signer::ed25519();
    let keys = json!([{ "kty": "RSA", "n": "AQAB", "e": "AQAB" }, { "kty": 1 }, {}, jwk(&signer)]);
    let (_, mut inline) = plugin(json!({ "jwks": { "keys": keys } }));
    accepted(inline.request(bearer(&signer.token(json!({})))));
    let host = plugin_sdk::testkit::TestHost::new();
    let deep = "[".repeat(30) + &"]".repeat(30);
    let text = json!({ "keys": [null, "key", jwk(&signer)] }).to_string();
    host.set_secret("JWKS", text.replacen("null", &format!(r#"{{"kty":"RSA","kty":"EC","x":{deep}}}"#), 1));
    let mut secret = host.plugin::<crate::Jwt>(json!({ "jwks-secret": "JWKS" })).unwrap();
    accepted(secret.request(bearer(&signer.token(json!({})))));
}

#[test]
fn an_rsa_key_may_be_in_its_older_form() {
    let signer = Signer::rsa("RS256", &aws_lc_rs::signature::RSA_PKCS1_SHA256);
    let pem = super::support::pem("RSA PUBLIC KEY", &signer.public[24..]);
    let (_, mut plugin) = plugin(json!({ "keys": [{ "public-key": pem }] }));
    accepted(plugin.request(bearer(&signer.token(json!({})))));
}

#[test]
fn longer_hashes_need_longer_secrets() {
    for (alg, algorithm, length) in
        [("HS384", aws_lc_rs::hmac::HMAC_SHA384, 48), ("HS512", aws_lc_rs::hmac::HMAC_SHA512, 64)]
    {
        let secret = "s".repeat(length);
        let message =
            format!("{}.{}", encode(json!({ "alg": alg }).to_string()), encode(claims(json!({})).to_string()));
        let key = aws_lc_rs::hmac::Key::new(algorithm, secret.as_bytes());
        let token = format!("{message}.{}", encode(aws_lc_rs::hmac::sign(&key, message.as_bytes())));
        let (_, mut plugin) = plugin(json!({ "keys": [{ "secret": secret, "alg": alg }] }));
        accepted(plugin.request(bearer(&token)));
    }
}

#[test]
fn a_secret_comes_from_the_gateway_by_name() {
    let host = plugin_sdk::testkit::TestHost::new();
    host.set_secret("HMAC", super::support::SECRET);
    let mut plugin = host.plugin::<crate::Jwt>(json!({ "keys": [{ "secret-name": "HMAC" }] })).unwrap();
    accepted(plugin.request(bearer(&token(json!({})))));
}

#[test]
fn a_key_set_comes_inline_or_from_a_secret() {
    let (one, two) = (Signer::ed25519(), Signer::ec("ES256", &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING));
    let mut keys = [jwk(&one), jwk(&two)];
    for (key, kid) in keys.iter_mut().zip(["one", "two"]) {
        key["kid"] = kid.into();
        key["use"] = "sig".into();
    }
    let jwks = json!({ "keys": keys, "issued-by": "somebody" });
    let host = plugin_sdk::testkit::TestHost::new();
    host.set_secret("JWKS", jwks.to_string());
    for config in [json!({ "jwks": jwks }), json!({ "jwks-secret": "JWKS" })] {
        let mut plugin = host.plugin::<crate::Jwt>(config).unwrap();
        accepted(plugin.request(bearer(&one.token(json!({ "kid": "one" })))));
        accepted(plugin.request(bearer(&two.token(json!({ "kid": "two" })))));
        accepted(plugin.request(bearer(&two.token(json!({})))));
        refused(plugin.request(bearer(&two.token(json!({ "kid": "one" })))), 401, "unknown-key");
        refused(plugin.request(bearer(&two.token(json!({ "kid": "three" })))), 401, "unknown-key");
        refused(plugin.request(bearer(&two.token(json!({ "kid": 2 })))), 401, "malformed");
    }
}

#[test]
fn keys_in_a_set_that_are_not_for_us_are_ignored() {
    let signer = Signer::ed25519();
    let keys = json!([
        { "kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB" },
        { "kty": "RSA", "alg": "RSA-OAEP-256", "n": "AQAB", "e": "AQAB" },
        { "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" },
        { "kty": "OKP", "crv": "X25519", "x": "AA" },
        { "kty": "oct", "key_ops": ["sign"], "k": "AA" },
        { "kty": "AKP", "alg": "ML-DSA-44" },
        jwk(&signer),
    ]);
    let (_, mut plugin) = plugin(json!({ "jwks": { "keys": keys } }));
    accepted(plugin.request(bearer(&signer.token(json!({})))));
}

#[test]
fn the_identifier_selects_and_keys_without_one_are_for_the_rest() {
    let (named, unnamed) = (Signer::ed25519(), Signer::ed25519());
    let (_, mut plugin) = plugin(json!({
        "keys": [{ "kid": "a", "public-key": named.pem() }, { "public-key": unnamed.pem() }],
    }));
    accepted(plugin.request(bearer(&named.token(json!({ "kid": "a" })))));
    accepted(plugin.request(bearer(&named.token(json!({})))));
    accepted(plugin.request(bearer(&unnamed.token(json!({})))));
    accepted(plugin.request(bearer(&unnamed.token(json!({ "kid": "b" })))));
    refused(plugin.request(bearer(&unnamed.token(json!({ "kid": "a" })))), 401, "signature");
    refused(plugin.request(bearer(&named.token(json!({ "kid": "b" })))), 401, "signature");
}

#[test]
fn a_token_without_an_identifier_is_tried_with_a_few_keys_only() {
    let keys: Vec<_> = (0..9)
        .map(|i| json!({ "secret": format!("{i}").repeat(32) }))
        .chain([json!({ "secret": super::support::SECRET, "kid": "k" })])
        .collect();
    let (_, mut plugin) = plugin(json!({ "keys": keys }));
    refused(plugin.request(bearer(&token(json!({})))), 401, "signature");
    accepted(plugin.request(bearer(&signed(&json!({ "alg": "HS256", "kid": "k" }), &claims(json!({}))))));
}
