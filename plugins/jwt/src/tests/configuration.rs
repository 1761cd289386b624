//! What is wrong with a configuration is told with its place.

use crate::Jwt;
use plugin_sdk::testkit::{TestHost, config_schema};
use serde_json::{Value, json};

use super::support::{Signer, config_with, encode, pem};

/// The problems of a configuration, one in each line.
fn problems(config: Value) -> String {
    TestHost::new().plugin::<Jwt>(config).err().map_or_else(String::new, |problems| problems.to_string())
}

#[track_caller]
fn assert_problem(options: Value, expected: &str) {
    assert_eq!(problems(config_with(options)), expected);
}

#[track_caller]
fn assert_key_problem(key: Value, expected: &str) {
    assert_eq!(problems(json!({ "keys": [key] })), expected);
}

#[test]
fn there_must_be_a_key() {
    assert_eq!(problems(json!({})), "has no key, needs one of `keys`, `jwks`, `jwks-secret` and `jwks-from`");
    assert_eq!(problems(json!({ "jwks": { "keys": [] } })), "/jwks/keys: has no key for verifying signatures");
    let unusable = json!({ "jwks": { "keys": [{ "kty": "RSA", "use": "enc" }] } });
    assert_eq!(problems(unusable), "/jwks/keys: has no key for verifying signatures");
}

#[test]
fn an_accepted_algorithm_has_a_key() {
    let secret = json!({ "secret": "s".repeat(32) });
    let rsa = json!({ "public-key": Signer::rsa("RS256", &aws_lc_rs::signature::RSA_PKCS1_SHA256).pem() });
    let with = |keys: Value, algorithms: Value| problems(json!({ "keys": keys, "algorithms": algorithms }));
    assert_eq!(
        with(json!([secret]), json!(["HS256", "RS256"])),
        "/algorithms/1: has no key: the keys are for HS256; add a key for RS256, or remove it"
    );
    assert_eq!(
        with(json!([rsa, rsa]), json!(["ES256"])),
        "/algorithms/0: has no key: the keys are for all algorithms of RSA; add a key for ES256, or remove it"
    );
    assert_eq!(with(json!([secret, rsa]), json!(["PS512", "HS256"])), "");
    let fetched = json!({ "keys": [secret], "jwks-from": { "upstream": "id", "path": "/" }, "algorithms": ["RS256"] });
    assert_eq!(problems(fetched), "");
    let issuers = json!([{ "issuer": "a", "keys": [secret] }, { "issuer": "b", "keys": [rsa] }]);
    assert_eq!(
        problems(json!({ "issuers": issuers, "algorithms": ["HS256"] })),
        "/issuers/1: has no key for any of the accepted `algorithms`; add one, or add an algorithm of its keys"
    );
}

#[test]
fn a_key_has_one_form() {
    let exactly = "/keys/0: needs exactly one of `secret`, `secret-name`, `public-key` and `jwk`";
    assert_key_problem(json!({ "kid": "a" }), exactly);
    assert_key_problem(json!({ "secret": "a", "jwk": {} }), exactly);
    assert_key_problem(json!({ "secret": null }), "/keys/0/secret: invalid type: null, expected a string");
}

#[test]
fn weak_keys_are_refused() {
    assert_key_problem(
        json!({ "secret": "short" }),
        "/keys/0/secret: is 5 bytes long, HS256 needs 32: `openssl rand -base64 32`",
    );
    assert_key_problem(
        json!({ "secret": "s".repeat(63), "alg": "HS512" }),
        "/keys/0/secret: is 63 bytes long, HS512 needs 64: `openssl rand -base64 64`",
    );
    let modulus = [&[0_u8][..], &[0xff; 128]].concat();
    assert_key_problem(
        json!({ "jwk": { "kty": "RSA", "n": encode(&modulus), "e": "AQAB" } }),
        "/keys/0/jwk/n: is an RSA key of 1024 bits, needs 2048 to 8192",
    );
    assert_key_problem(
        json!({ "jwk": { "kty": "RSA", "n": encode([0x7f; 256]), "e": "AQAB" } }),
        "/keys/0/jwk/n: is an RSA key of 2047 bits, needs 2048 to 8192",
    );
}

#[test]
fn a_key_fits_its_algorithm() {
    let signer = Signer::ed25519();
    assert_key_problem(
        json!({ "public-key": signer.pem(), "alg": "HS256" }),
        "/keys/0/public-key: HS256 is no algorithm for an Ed25519 key",
    );
    assert_key_problem(
        json!({ "secret": "s".repeat(64), "alg": "RS256" }),
        "/keys/0/secret: RS256 is no algorithm for a secret",
    );
    assert_key_problem(
        json!({ "secret": "s".repeat(64), "alg": "none" }),
        "/keys/0/alg: `none` is no known signature algorithm",
    );
    assert_key_problem(
        json!({ "jwk": { "kty": "oct", "k": encode([1; 64]), "alg": "HS256" }, "alg": "HS512" }),
        "/keys/0/alg: is HS512, but the key's own `alg` is HS256",
    );
}

#[test]
fn a_jwk_is_complete_public_and_on_its_curve() {
    let point = encode([1; 32]);
    for (jwk, expected) in [
        (json!({}), "/keys/0/jwk: needs the member `kty`"),
        (json!({ "kty": 1 }), "/keys/0/jwk/kty: must be a string"),
        (json!({ "kty": "rsa" }), "/keys/0/jwk/kty: is not known, needs RSA, EC, OKP or oct"),
        (json!({ "kty": "oct", "k": "a b" }), "/keys/0/jwk/k: is not base64url without padding"),
        (json!({ "kty": "EC", "crv": "P-256", "x": point }), "/keys/0/jwk: needs the member `y`"),
        (
            json!({ "kty": "EC", "crv": "P-384", "x": point, "y": point }),
            "/keys/0/jwk/x: is 32 bytes long, the curve needs 48",
        ),
        (
            json!({ "kty": "EC", "crv": "secp256k1", "x": point, "y": point }),
            "/keys/0/jwk/crv: is not supported, needs P-256, P-384 or P-521",
        ),
        (
            json!({ "kty": "EC", "crv": "P-256", "x": point, "y": point, "d": point }),
            "/keys/0/jwk/d: belongs to a private key, which must not be here: leave the public members only",
        ),
        (json!({ "kty": "OKP", "crv": "Ed448", "x": point }), "/keys/0/jwk/crv: is not supported, needs Ed25519"),
        (json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" }), "/keys/0/jwk/x: has the wrong length for its curve"),
        (
            json!({ "kty": "oct", "k": point, "use": "enc" }),
            "/keys/0/jwk/use: is not `sig`: the key is not for signatures",
        ),
    ] {
        assert_key_problem(json!({ "jwk": jwk }), expected);
    }
    let off_curve = problems(json!({ "keys": [{ "jwk": { "kty": "EC", "crv": "P-256", "x": point, "y": point } }] }));
    assert!(off_curve.starts_with("/keys/0/jwk: malformed key"), "{off_curve}");
}

#[test]
fn pem_holds_one_public_key() {
    let signer = Signer::ed25519();
    let x25519 = [0x30, 0x0a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x01, 0x00];
    for (text, expected) in [
        ("".to_owned(), "is not PEM, needs `-----BEGIN PUBLIC KEY-----`"),
        (signer.pem().replace("-----END", ""), "is cut off, needs `-----END PUBLIC KEY-----`"),
        (signer.pem().repeat(2), "holds more than one key, needs an entry for each"),
        (signer.pem().replace("MC", "M!"), "is not base64 between its first and last line"),
        (pem("PUBLIC KEY", &signer.public[1..]), "is not a public key in DER"),
        (pem("PUBLIC KEY", &x25519), "is of an unsupported kind, needs RSA, P-256, P-384, P-521 or Ed25519"),
        (pem("CERTIFICATE", &signer.public), "is a certificate, needs its key: `openssl x509 -pubkey -noout`"),
        (
            pem("PRIVATE KEY", &signer.public),
            "is a private key, which must not be here, needs the public one: `openssl pkey -pubout`",
        ),
    ] {
        assert_key_problem(json!({ "public-key": text }), &format!("/keys/0/public-key: {expected}"));
    }
}

#[test]
fn a_key_in_a_set_is_named_by_its_place() {
    let weak = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
    let jwks = json!({ "keys": [{ "kty": "EC", "use": "enc" }, weak] });
    let message = "is an RSA key of 17 bits, needs 2048 to 8192";
    assert_eq!(problems(json!({ "jwks": jwks })), format!("/jwks/keys/1/n: {message}"));

    let host = TestHost::new();
    let secret_problems = || host.plugin::<Jwt>(json!({ "jwks-secret": "JWKS" })).err().unwrap().to_string();
    assert_eq!(secret_problems(), "/jwks-secret: the secret has no value");
    host.set_secret("JWKS", "top secret");
    assert_eq!(secret_problems(), "/jwks-secret: is not a JSON Web Key Set: `{\"keys\": [...]}`");
    host.set_secret("JWKS", jwks.to_string());
    assert_eq!(secret_problems(), format!("/jwks-secret: key 1 `n` {message}"));
    host.deny("JWKS");
    assert_eq!(
        secret_problems(),
        "/jwks-secret: needs a secret `JWKS`, and `grants: { secrets: [JWKS] }` for the plugin"
    );
}

#[test]
fn a_check_cannot_be_lost_by_a_slip() {
    for (options, expected) in [
        (json!({ "issuer": [] }), "/issuer: must not be empty"),
        (json!({ "audience": ["a", ""] }), "/audience/1: must not be empty"),
        (json!({ "typ": "" }), "/typ: must not be empty"),
        (json!({ "audience": "a", "any-audience": true }), "/any-audience: contradicts `audience`"),
        (json!({ "issuer": null }), "/issuer: invalid type: null, expected a string or a list of strings"),
        (json!({ "max-age": "0s" }), "/max-age: must be more than 0"),
        (json!({ "max-age": null }), "/max-age: invalid type: null, expected a string"),
        (json!({ "claims": [{ "claim": "a", "one-of": [] }] }), "/claims/0/one-of: must not be empty"),
        (
            json!({ "claims": [{ "claim": "a", "equals": null }] }),
            "/claims/0/equals: must not be null: a claim that is null counts as absent",
        ),
        (
            json!({ "claims": [{ "claim": "a", "equals": 1, "one-of": [1] }] }),
            "/claims/0: needs at most one of `equals`, `contains`, `one-of`, `all-of` and `pattern`",
        ),
        (json!({ "claims": [{ "claim": "" }] }), "/claims/0/claim: must not be empty, needs a claim's name"),
        (json!({ "leeway": "11m" }), "/leeway: must be at most 10m"),
        (json!({ "leeway": "5" }), "/leeway: invalid value: string \"5\", expected a duration such as `1m`"),
        (
            json!({ "claims": [{ "claim": "a", "pattern": "a)(b" }] }),
            "/claims/0/pattern: is not a regular expression: found closing ')' without matching '('",
        ),
    ] {
        assert_problem(options, expected);
    }
    assert!(problems(config_with(json!({ "isuer": "a" }))).contains("unknown field `isuer`"));
}

#[test]
fn names_are_checked() {
    for (options, expected) in [
        (json!({ "from": [] }), "/from: must not be empty, leave it out for its default"),
        (
            json!({ "from": [{ "cookie": "a", "scheme": "b" }] }),
            "/from/0: needs exactly one of `header`, `cookie` and `query`; `scheme` goes with `header` only",
        ),
        (json!({ "from": [{ "header": "cookie" }] }), "/from/0/header: is written `cookie: NAME`"),
        (json!({ "from": [{ "cookie": "a b" }] }), "/from/0/cookie: has characters that the name must not have"),
        (json!({ "from": [{ "query": "" }] }), "/from/0/query: must not be empty"),
        (
            json!({ "claims-to-headers": { "Host": "sub" } }),
            "/claims-to-headers/Host: is a header that belongs to the gateway",
        ),
        (
            json!({ "claims-to-headers": { "x y": "sub" } }),
            "/claims-to-headers/x y: has characters that the name must not have",
        ),
        (
            json!({ "claims-to-headers": { "X-User": "sub", "x-user": "sub" } }),
            "/claims-to-headers/x-user: names the same header as another entry",
        ),
        (
            json!({ "claims-to-headers": { "authorization": "sub" } }),
            "/claims-to-headers/authorization: is where the token is looked for",
        ),
        (
            json!({ "claims-to-attributes": { "a b": "sub" } }),
            "/claims-to-attributes/a b: must have neither spaces nor control characters",
        ),
        (json!({ "realm": "a\"b" }), "/realm: must be printable ASCII, without quotation marks and backslashes"),
        (json!({ "scopes": ["a b"] }), "/scopes/0: has a space, needs an entry for each scope"),
        (json!({ "max-token-bytes": 1 }), "/max-token-bytes: must be from 64 to 65536"),
        (json!({ "token-cache-size": 100_001 }), "/token-cache-size: must be at most 100000"),
    ] {
        assert_problem(options, expected);
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let config = json!({ "keys": [{}, { "secret": "a" }], "issuer": [], "realm": "" });
    assert_eq!(problems(config).lines().count(), 4);
}

#[test]
fn the_schema_describes_every_option_and_requires_none() {
    let schema = config_schema::<Jwt>();
    let options = schema["properties"].as_object().unwrap();
    assert_eq!(options.len(), 23);
    for (name, option) in options {
        assert!(option["description"].is_string(), "{name} has no description");
    }
    assert_eq!((&schema["required"], &schema["additionalProperties"]), (&Value::Null, &json!(false)));
}
