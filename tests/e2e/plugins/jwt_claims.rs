//! Tokens as identity providers make them: claims of every kind, keys that say little about themselves, sets with members that
//! are of no use here.

use http::Response as Answer;
use serde_json::{Value, json};

use super::{Behind, yaml};
use crate::support::{
    Response, TestGateway, Upstream,
    client::Request,
    token::{Key, now},
    upstream::full,
};

const SECRET: &str = "a secret of the tests, longer than thirty-two bytes";

fn bearer(token: &str) -> Request {
    Request::get("/").header("authorization", &format!("Bearer {token}"))
}

fn claims(more: Value) -> Value {
    let mut claims = json!({ "exp": now() + 3600 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

async fn behind(keys: Value, more: Value) -> Behind {
    let mut config = json!({ "keys": keys });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Behind::plugin("jwt", &config).await
}

fn is_let_in(response: &Response) {
    assert_eq!(response.status, 200, "{}: {}", response.header("www-authenticate"), response.text());
}

#[tokio::test]
async fn a_member_of_a_list_is_told_whatever_it_is_and_never_passes_for_two() {
    let key = Key::secret(SECRET);
    let told = json!({ "claims-to-headers": { "x-groups": "groups" } });
    let behind = behind(json!([key.config("h")]), told).await;
    for (groups, expected) in [
        (json!(["CN=M\u{fc}ller,OU=staff", "b"]), "CN=M\u{fc}ller%2COU=staff,b"),
        (json!(["x,admin", "100%"]), "x%2Cadmin,100%25"),
        (json!([{ "id": 1, "name": "a" }]), r#"{"id":1%2C"name":"a"}"#),
        (json!(["a\r\nx-admin: 1"]), "a%0D%0Ax-admin: 1"),
    ] {
        let response = behind.send(bearer(&key.token("h", &claims(json!({ "groups": groups }))))).await;
        is_let_in(&response);
        assert_eq!(response.upstream_saw("x-groups"), [expected]);
    }
}

#[tokio::test]
async fn integers_of_any_length_are_told_digit_by_digit() {
    let key = Key::secret(SECRET);
    let behind = behind(json!([key.config("h")]), json!({ "claims-to-headers": { "x-id": "id" } })).await;
    for id in ["123456789012345678901234567890", "123456789012345678901234567891", "-9223372036854775809", "7"] {
        let text = format!("{{\"exp\":{},\"id\":{id}}}", now() + 3600);
        let token = key.signed_text(&json!({ "alg": "HS256", "kid": "h" }), &text);
        let response = behind.send(bearer(&token)).await;
        is_let_in(&response);
        assert_eq!(response.upstream_saw("x-id"), [id]);
    }
}

#[tokio::test]
async fn an_rsa_key_without_an_algorithm_is_for_all_that_the_operator_accepts() {
    let key = Key::rsa();
    let mut jwk = key.jwk("r");
    jwk.as_object_mut().unwrap().remove("alg");
    let any = Behind::plugin("jwt", &json!({ "jwks": { "keys": [jwk] } })).await;
    let some = behind(json!([key.config("r")]), json!({ "algorithms": ["RS512", "PS256"] })).await;
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let token = key.rsa_token(alg, &claims(json!({})));
        is_let_in(&any.send(bearer(&token)).await);
        let expected = if matches!(alg, "RS512" | "PS256") { 200 } else { 401 };
        assert_eq!(some.send(bearer(&token)).await.status, expected, "{alg}");
    }
}

#[tokio::test]
async fn es512_and_the_new_name_of_eddsa_are_known() {
    let (p521, ed) = (Key::p521(), Key::ed25519());
    let mut named = ed.jwk("o");
    named["alg"] = "Ed25519".into();
    for keys in
        [json!({ "keys": [p521.config("e"), ed.config("o")] }), json!({ "jwks": { "keys": [p521.jwk("e"), named] } })]
    {
        let behind = Behind::plugin("jwt", &keys).await;
        let token = p521.token("e", &claims(json!({})));
        is_let_in(&behind.send(bearer(&token)).await);
        for alg in ["EdDSA", "Ed25519"] {
            is_let_in(&behind.send(bearer(&ed.signed(&json!({ "alg": alg, "kid": "o" }), &claims(json!({}))))).await);
        }
        let foreign = Key::p521().token("e", &claims(json!({})));
        assert_eq!(behind.send(bearer(&foreign)).await.status, 401);
        // The interface to the gateway has one name for two curves, and tokens have two.
        let renamed = p521.signed(&json!({ "alg": "ES384", "kid": "e" }), &claims(json!({})));
        assert_eq!(behind.send(bearer(&renamed)).await.status, 401);
    }
}

#[tokio::test]
async fn a_member_of_a_published_set_that_is_of_no_use_takes_no_other_with_it() {
    let key = Key::rsa();
    let deep = "[".repeat(40) + &"]".repeat(40);
    let set = format!(
        r#"{{"keys":[null,"key",[],{{"kty":"RSA","kty":"EC","x":{deep}}},{{"kty":7}},{{"kty":"RSA","n":"AQAB","e":"AQAB"}},{}]}}"#,
        key.jwk("r")
    );
    let provider = Upstream::serving(move |_| {
        let set = set.clone();
        async move { Answer::new(full(set)) }
    })
    .await;
    let upstream = Upstream::echo().await;
    let jwt = json!({ "jwks-from": { "upstream": "id", "path": "/keys" } });
    let text = yaml(
        &upstream,
        &format!("[{{ name: jwt, config: {jwt} }}]"),
        "plugins: { jwt: { grants: { upstreams: [id] } } }",
    );
    let id = format!("upstreams: {{ id: {{ endpoints: ['http://{}'] }},", provider.address());
    let gateway = TestGateway::start(&text.replace("upstreams: {", &id)).await;
    is_let_in(&gateway.send(bearer(&key.token("r", &claims(json!({}))))).await);
}

#[tokio::test]
async fn a_token_without_a_subject_is_no_anonymous_client() {
    let key = Key::secret(SECRET);
    let jwt = json!({
        "keys": [key.config("h")], "required": false, "claims-to-attributes": { "jwt.groups": "groups" },
    });
    let acl = json!({ "allow": { "groups": ["CN=a,OU=staff"] }, "deny": { "groups": ["CN=b,OU=staff"] } });
    let behind = Behind::with(&format!("[{{ name: jwt, config: {jwt} }}, {{ name: acl, config: {acl} }}]"), "").await;
    for (groups, status) in [
        (json!(["CN=a,OU=staff"]), 200),
        (json!(["CN=a,OU=staff", "CN=b,OU=staff"]), 403),
        (json!(["CN=a", "OU=staff"]), 403),
        (json!(["CN=a%2COU=staff"]), 403),
    ] {
        let response = behind.send(bearer(&key.token("h", &claims(json!({ "groups": groups }))))).await;
        assert_eq!(response.status, status, "{groups}");
    }
    assert_eq!(behind.get("/").await.status, 401);
}
