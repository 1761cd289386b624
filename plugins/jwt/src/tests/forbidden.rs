//! The tricks that verifiers have fallen for (RFC 8725 §2).

use plugin_sdk::testkit::{TestExchange, TestRequest};
use serde_json::{Value, json};

use super::support::{
    NOW, SECRET, Signer, accepted, bearer, claims, config, config_with, encode, mac, plugin, refused, sealed, signed,
    signed_text, token,
};

fn send(token: &str) -> TestExchange {
    plugin(config()).1.request(bearer(token))
}

#[test]
fn no_algorithm_is_no_algorithm_in_whatever_letters() {
    for none in ["none", "None", "nOnE", "", "HS256 ", "hs256"] {
        let message =
            format!("{}.{}", encode(json!({ "alg": none }).to_string()), encode(claims(json!({})).to_string()));
        refused(send(&format!("{message}.")), 401, "algorithm");
        refused(send(&sealed(&message)), 401, "algorithm");
    }
    refused(send(&signed(&json!({}), &claims(json!({})))), 401, "malformed");
    refused(send(&signed(&json!({ "alg": ["HS256"] }), &claims(json!({})))), 401, "malformed");
}

#[test]
fn a_public_key_is_no_secret() {
    let signer = Signer::ed25519();
    let (_, mut plugin) = plugin(json!({ "keys": [{ "public-key": signer.pem() }] }));
    let message = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims(json!({})).to_string()));
    for secret in [signer.pem().as_bytes(), signer.pem().trim_end().as_bytes(), &signer.public] {
        let token = format!("{message}.{}", encode(mac(secret, &message)));
        refused(plugin.request(bearer(&token)), 401, "unknown-key");
    }
    accepted(plugin.request(bearer(&signer.token(json!({})))));
}

#[test]
fn a_key_is_for_the_algorithm_that_it_says() {
    let signer = Signer::rsa("RS384", &aws_lc_rs::signature::RSA_PKCS1_SHA384);
    let key = |alg| json!({ "keys": [{ "public-key": signer.pem(), "alg": alg }] });
    let (_, mut other) = plugin(key("RS256"));
    refused(other.request(bearer(&signer.token(json!({})))), 401, "unknown-key");
    let (_, mut told) = plugin(key("RS384"));
    accepted(told.request(bearer(&signer.token(json!({})))));
}

#[test]
fn the_operator_says_which_algorithms_are_accepted() {
    let signer = Signer::rsa("RS384", &aws_lc_rs::signature::RSA_PKCS1_SHA384);
    let with = |algorithms| json!({ "keys": [{ "public-key": signer.pem() }], "algorithms": algorithms });
    let (_, mut some) = plugin(with(json!(["RS256", "PS256"])));
    refused(some.request(bearer(&signer.token(json!({})))), 401, "algorithm");
    let (_, mut this) = plugin(with(json!(["RS256", "RS384"])));
    accepted(this.request(bearer(&signer.token(json!({})))));
}

#[test]
fn critical_extensions_are_not_understood() {
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!(null)] {
        refused(
            send(&signed(&json!({ "alg": "HS256", "crit": crit, "b64": false }), &claims(json!({})))),
            401,
            "critical",
        );
    }
}

#[test]
fn keys_that_a_token_brings_along_are_not_looked_at() {
    let stranger = Signer::ec("ES256", &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING);
    let point = encode(&stranger.public[stranger.public.len() - 64..][..32]);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": point, "y": point });
    let ours = Signer::ec("ES256", &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING);
    let (_, mut plugin) = plugin(json!({ "keys": [{ "public-key": ours.pem() }] }));
    let header =
        json!({ "jwk": jwk, "jku": "https://evil.example/keys", "x5u": "https://evil.example/x", "x5c": ["x"] });
    refused(plugin.request(bearer(&stranger.token(header.clone()))), 401, "signature");
    accepted(plugin.request(bearer(&ours.token(header))));
}

#[test]
fn nothing_of_a_token_can_be_changed() {
    let token = token(json!({}));
    let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other = encode(claims(json!({ "sub": "root" })).to_string());
    refused(send(&format!("{header}.{other}.{signature}")), 401, "signature");
    refused(send(&format!("{}.{payload}.{signature}", encode(r#"{"typ":"JWT","alg":"HS256"}"#))), 401, "signature");
    refused(send(&format!("{header}.{payload}.")), 401, "signature");
    refused(send(&format!("{header}.{payload}.{}", &signature[..40])), 401, "signature");
}

#[test]
fn a_token_has_one_spelling() {
    let token = token(json!({}));
    let (message, signature) = token.rsplit_once('.').unwrap();
    for other in [format!("{token}="), format!("{message}=.{signature}"), format!("{message}. {signature}")] {
        refused(send(&other), 401, if other.contains("=.") { "signature" } else { "malformed" });
    }
    // Of the last character of 32 bytes only four bits count: another one decodes to the same bytes elsewhere.
    let last = signature.chars().last().unwrap();
    let twin = char::from(u8::try_from(last).unwrap() + 1);
    refused(send(&format!("{message}.{}{twin}", &signature[..42])), 401, "malformed");
}

#[test]
fn white_space_and_padding_inside_are_refused_even_if_signed() {
    let (header, payload) = (encode(r#"{"alg":"HS256"}"#), encode(claims(json!({})).to_string()));
    accepted(send(&sealed(&format!("{header}.{payload}"))));
    for payload in [format!("{payload}=="), format!("{payload}\t"), payload.replacen('e', "e ", 1)] {
        refused(send(&sealed(&format!("{header}.{payload}"))), 401, "claims");
    }
    refused(send(&sealed(&format!("{header}=.{payload}"))), 401, "malformed");
}

#[test]
fn a_token_has_three_parts() {
    let token = token(json!({}));
    let many = ".".repeat(8000);
    for other in
        ["", ".", "..", "...", "a", "a.b", &many, &format!("{token}."), &format!("{token}.a.b"), &format!(".{token}")]
    {
        refused(send(other), 401, "malformed");
    }
}

#[test]
fn a_huge_token_is_not_looked_at() {
    let token = token(json!({ "x": "x".repeat(8192) }));
    refused(send(&token), 401, "too-long");
    let (_, mut roomy) = plugin(config_with(json!({ "max-token-bytes": 16384 })));
    accepted(roomy.request(bearer(&token)));
}

#[test]
fn claims_are_one_object_without_repetitions() {
    let exp = NOW + 60;
    for payload in [
        "not json".to_owned(),
        String::new(),
        "[]".to_owned(),
        format!(r#"{{"exp":{exp},"sub":"anna","sub":"root"}}"#),
        format!(r#"{{"exp":{exp}}} {{}}"#),
        format!(r#"{{"exp":{exp},"a":{}1{}}}"#, "[".repeat(2000), "]".repeat(2000)),
    ] {
        refused(send(&signed_text(r#"{"alg":"HS256"}"#, &payload)), 401, "claims");
    }
    let header = r#"{"alg":"none","alg":"HS256"}"#;
    refused(send(&signed_text(header, &claims(json!({})).to_string())), 401, "malformed");
    refused(send(&signed_text("\"HS256\"", &claims(json!({})).to_string())), 401, "malformed");
}

#[test]
fn a_token_in_a_token_is_not_unpacked() {
    let header = json!({ "alg": "HS256", "cty": "JWT" }).to_string();
    refused(send(&signed_text(&header, &token(json!({})))), 401, "claims");
}

#[test]
fn an_answer_never_echoes_what_was_sent() {
    let (_, mut plugin) = plugin(config_with(json!({ "issuer": "https://id.example.com" })));
    for token in
        [token(json!({ "iss": "evil\"" })), "evil\"".to_owned(), signed(&json!({ "alg": "evil\"" }), &Value::Null)]
    {
        let reply = plugin.request(bearer(&token)).reply().unwrap().clone();
        let challenge = reply.header("www-authenticate").unwrap().into_owned();
        assert!(challenge.starts_with(r#"Bearer realm="gateway", error="invalid_token", error_description=""#));
        assert!(!challenge.contains("evil") && !challenge.contains(SECRET));
        assert!(!reply.into_text().contains("evil"));
    }
}

#[test]
fn bytes_that_are_no_text_are_malformed() {
    let request = TestRequest::get("/").header("authorization", b"Bearer \xff\xfe.\xff.\x80");
    refused(plugin(config()).1.request(request), 401, "malformed");
}

/// Bytes changed, left out, put in and swapped, ten thousand times, always in the same way: none of them is another token
/// that is let in, and none makes the plugin fail.
#[test]
fn ten_thousand_mutations_of_a_token_are_refused() {
    const BYTES: &[u8] = b"AZaz09-_.=+/ {}\"\\\0\xff~";
    let (_, mut plugin) = plugin(config());
    let token = token(json!({})).into_bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..10_000 {
        let mut mutant = token.clone();
        for _ in 0..=random(3) {
            let at = random(mutant.len());
            match random(5) {
                0 => mutant[at] = BYTES[random(BYTES.len())],
                1 if mutant.len() > 1 => drop(mutant.remove(at)),
                2 => mutant.insert(at, BYTES[random(BYTES.len())]),
                3 => mutant.truncate(at.max(1)),
                _ => {
                    let other = random(mutant.len());
                    mutant.swap(at, other);
                }
            }
        }
        // White space around a token is none of it.
        if mutant.trim_ascii() == token || mutant.contains(&0) {
            continue;
        }
        let request = TestRequest::get("/").header("authorization", [b"Bearer ", &mutant[..]].concat());
        let exchange = plugin.try_request(request).expect("the plugin does not fail");
        assert!(exchange.reply().is_some(), "{}", String::from_utf8_lossy(&mutant));
    }
}
