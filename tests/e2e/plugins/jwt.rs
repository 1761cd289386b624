//! Who has a valid token gets in, and the upstream learns who it is.

use serde_json::{Value, json};

use super::{Behind, yaml};
use crate::support::{
    Client, Process, Response, TestGateway, Upstream,
    client::Request,
    eventually,
    token::{Key, base64url, now},
};

const SECRET: &str = "a secret of the tests, longer than thirty-two bytes";

/// Claims of a token that lives for an hour.
fn ada() -> Value {
    json!({ "sub": "ada", "exp": now() + 3600 })
}

fn with(mut claims: Value, more: Value) -> Value {
    let more = more.as_object().expect("claims").clone();
    claims.as_object_mut().expect("claims").extend(more);
    claims
}

fn bearer(token: &str) -> Request {
    Request::get("/").header("authorization", &format!("Bearer {token}"))
}

fn challenge(response: &Response) -> &str {
    response.header("www-authenticate")
}

fn is_refused(response: &Response, why: &str) {
    let context = format!("{why}: {} {}", challenge(response), response.text());
    assert_eq!(response.status, 401, "{context}");
    let expected = format!("Bearer realm=\"gateway\", error=\"invalid_token\", error_description=\"{why}\"");
    assert_eq!(challenge(response), expected);
    assert_eq!(response.problem()["detail"], why);
}

#[tokio::test]
async fn a_token_of_each_algorithm_lets_in_and_the_upstream_learns_who_it_is() {
    let keys = [("h", Key::secret(SECRET)), ("r", Key::rsa()), ("e", Key::p256()), ("o", Key::ed25519())];
    let inline: Vec<Value> = keys.iter().map(|(kid, key)| key.config(kid)).collect();
    let set: Vec<Value> = keys.iter().map(|(kid, key)| key.jwk(kid)).collect();
    // Not for signatures, and of no known kind: both are ignored.
    let others = vec![json!({ "kty": "RSA", "use": "enc" }), json!({ "kty": "from the future" })];
    let set = json!({ "keys": ([set, others].concat()) });
    for config in [json!({ "keys": inline }), json!({ "jwks": set })] {
        let config = with(config, json!({ "claims-to-headers": { "x-user": "sub", "x-role": "/realm/role" } }));
        let behind = Behind::plugin("jwt", &config).await;
        for (kid, key) in &keys {
            let claims = with(ada(), json!({ "realm": { "role": "engineer" } }));
            let response = behind.send(bearer(&key.token(kid, &claims))).await;
            assert_eq!(response.status, 200, "{}: {}", key.alg(), response.text());
            assert_eq!(response.upstream_saw("x-user"), ["ada"]);
            assert_eq!(response.upstream_saw("x-role"), ["engineer"]);
        }
        assert_eq!(behind.upstream.requests(), keys.len());
    }
}

#[tokio::test]
async fn a_signature_by_another_key_or_over_other_claims_does_not_count() {
    let keys = [("h", Key::secret(SECRET)), ("r", Key::rsa()), ("e", Key::p256()), ("o", Key::ed25519())];
    let strangers = [Key::secret(&SECRET.replace('a', "b")), Key::rsa(), Key::p256(), Key::ed25519()];
    let inline: Vec<Value> = keys.iter().map(|(kid, key)| key.config(kid)).collect();
    let behind = Behind::plugin("jwt", &json!({ "keys": inline })).await;
    for ((kid, key), stranger) in keys.iter().zip(&strangers) {
        let foreign = stranger.token(kid, &ada());
        let genuine = key.token(kid, &ada());
        let parts: Vec<&str> = genuine.split('.').collect();
        let root = base64url(with(ada(), json!({ "sub": "root" })).to_string());
        let changed = format!("{}.{root}.{}", parts[0], parts[2]);
        for forged in [foreign, changed] {
            is_refused(&behind.send(bearer(&forged)).await, "the token is not signed by an accepted key");
        }
    }
    assert_eq!(behind.upstream.requests(), 0);
}

#[tokio::test]
async fn what_a_token_says_about_its_algorithm_is_never_taken_on_trust() {
    let key = Key::rsa();
    let behind = Behind::plugin("jwt", &json!({ "keys": [key.config("r")] })).await;
    // The public key is known to everybody: as an HMAC secret it must open nothing (RFC 8725 §2.1).
    let confused = Key::secret(&key.public_pem()).token("r", &ada());
    is_refused(&behind.send(bearer(&confused)).await, "the token is not signed by an accepted key");
    for alg in ["none", "None", "HS1"] {
        let unsigned = key.signed(&json!({ "alg": alg, "kid": "r" }), &ada());
        is_refused(&behind.send(bearer(&unsigned)).await, "the token's algorithm is not accepted");
        let bare = format!("{}..", unsigned.split('.').next().expect("a header"));
        assert_eq!(behind.send(bearer(&bare)).await.status, 401);
    }
    let critical = key.signed(&json!({ "alg": "RS256", "kid": "r", "crit": ["b64"], "b64": false }), &ada());
    is_refused(&behind.send(bearer(&critical)).await, "the token has critical extensions that are not understood");
}

#[tokio::test]
async fn each_reason_to_turn_a_client_away_has_its_answer() {
    let key = Key::secret(SECRET);
    let config = json!({
        "keys": [key.config("h")],
        "issuer": "https://id.example.com",
        "audience": ["api", "other"],
        "leeway": "10s",
        "scopes": ["read", "write"],
        "claims": [{ "claim": "plan", "one-of": ["gold", "silver"] }],
    });
    let behind = Behind::plugin("jwt", &config).await;
    let good =
        json!({ "iss": "https://id.example.com", "aud": "api", "scope": "read write", "plan": "gold", "sub": "ada" });
    let good = with(ada(), good);
    let token = |more: Value| key.token("h", &with(good.clone(), more));
    let send = |more: Value| behind.send(bearer(&token(more)));

    assert_eq!(send(json!({})).await.status, 200);
    assert_eq!(send(json!({ "exp": now() - 5 })).await.status, 200, "within the leeway");
    is_refused(&send(json!({ "exp": now() - 60 })).await, "the token has expired");
    is_refused(&send(json!({ "nbf": now() + 60 })).await, "the token is not valid yet");
    is_refused(&send(json!({ "exp": null })).await, "the token's claims are malformed");
    is_refused(&send(json!({ "iss": "https://elsewhere" })).await, "the token's issuer is not accepted");
    is_refused(&send(json!({ "aud": ["billing"] })).await, "the token is not meant for this service");
    is_refused(&behind.send(bearer("no.token.at-all")).await, "the token is malformed");
    is_refused(&behind.send(bearer(&"x".repeat(9000))).await, "the token is too long");

    let poor = send(json!({ "scope": "read" })).await;
    assert_eq!(poor.status, 403);
    assert!(challenge(&poor).contains("error=\"insufficient_scope\""), "{}", challenge(&poor));
    assert!(challenge(&poor).ends_with("scope=\"read write\""), "{}", challenge(&poor));
    assert_eq!(send(json!({ "plan": "iron" })).await.status, 403);

    // RFC 6750 §3.1: who has sent nothing is told no error.
    let missing = behind.get("/").await;
    assert_eq!((missing.status.as_u16(), challenge(&missing)), (401, "Bearer realm=\"gateway\""));
    missing.problem();
    let twice = bearer(&token(json!({}))).header("authorization", &format!("Bearer {}", token(json!({}))));
    let twice = behind.send(twice).await;
    assert_eq!(twice.status, 400);
    assert!(challenge(&twice).contains("error=\"invalid_request\""), "{}", challenge(&twice));
    assert_eq!(behind.upstream.requests(), 2, "only the good ones");
}

#[tokio::test]
async fn nothing_that_a_client_says_about_itself_survives() {
    let key = Key::ed25519();
    let config = json!({
        "keys": [key.config("o")],
        "required": false,
        "forward": false,
        "claims-to-headers": { "x-user": "sub", "x-tenant": "tenant" },
        "claims-to-attributes": { "jwt.tenant": "tenant" },
    });
    let transform =
        json!({ "request": { "set-headers": { "x-seen": "{attribute.jwt.sub|nobody} {attribute.jwt.tenant|none}" } } });
    let plugins = format!("[{{ name: jwt, config: {config} }}, {{ name: transform, config: {transform} }}]");
    let behind = Behind::with(&plugins, "").await;
    let lying = |request: Request| request.header("x-user", "root").header("X-Tenant", "all");

    let anonymous = behind.send(lying(Request::get("/"))).await;
    assert!(anonymous.upstream_saw("x-user").is_empty() && anonymous.upstream_saw("x-tenant").is_empty());
    assert_eq!(anonymous.upstream_saw("x-seen"), ["nobody none"]);

    let known = behind.send(lying(bearer(&key.token("o", &ada())))).await;
    assert_eq!(known.upstream_saw("x-user"), ["ada"]);
    assert!(known.upstream_saw("x-tenant").is_empty(), "the token has no such claim");
    assert!(known.upstream_saw("authorization").is_empty(), "the token is not forwarded");

    let rich = with(ada(), json!({ "tenant": "blue" }));
    let known = behind.send(lying(bearer(&key.token("o", &rich)))).await;
    assert_eq!(known.upstream_saw("x-tenant"), ["blue"]);
    assert_eq!(known.upstream_saw("x-seen"), ["ada blue"]);

    let forged = with(ada(), json!({ "sub": "ada\r\nx-admin: yes" }));
    is_refused(&behind.send(bearer(&key.token("o", &forged))).await, "a claim of the token cannot be passed on");
    assert_eq!(behind.send(bearer("broken")).await.status, 401, "anonymous is who sends no token, not a bad one");
}

#[tokio::test]
async fn a_token_is_found_in_a_cookie_and_in_the_query() {
    let key = Key::p256();
    let config = json!({
        "keys": [key.config("e")],
        "from": [{ "cookie": "session" }, { "query": "access_token" }],
        "forward": false,
    });
    let behind = Behind::plugin("jwt", &config).await;
    let token = key.token("e", &ada());
    let cookies = format!("theme=dark; session={token}; lang=en");
    let response = behind.send(Request::get("/").header("cookie", &cookies)).await;
    assert_eq!(response.upstream_saw("cookie"), ["theme=dark; lang=en"]);
    let response = behind.get(&format!("/list?page=2&access_token={token}&sort=up")).await;
    assert_eq!(response.json()["target"], "/list?page=2&sort=up");
    let both = Request::get(&format!("/?access_token={token}")).header("cookie", &cookies);
    assert_eq!(behind.send(both).await.status, 400);
}

#[tokio::test]
async fn a_remembered_token_expires_too() {
    let key = Key::rsa();
    let behind = Behind::plugin("jwt", &json!({ "keys": [key.config("r")] })).await;
    let mut client = Client::connect_http2(behind.gateway.address()).await;
    let token = key.token("r", &json!({ "sub": "ada", "exp": now() + 3 }));
    assert_eq!(client.send(bearer(&token)).await.status, 200);
    let mut last = None;
    eventually("the token expires", async || {
        let response = client.send(bearer(&token)).await;
        let is_over = response.status != 200;
        last = Some(response);
        is_over
    })
    .await;
    is_refused(&last.expect("an answer"), "the token has expired");
}

#[tokio::test]
async fn a_secret_comes_from_the_environment() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let jwt = "[{ name: jwt, config: { keys: [{ secret-name: signing }] } }]";
    let more = "listeners: [{ address: '127.0.0.1:0' }]
secrets: { signing: { env: E2E_JWT_SECRET } }
plugins: { jwt: { grants: { secrets: [signing] } } }";
    std::fs::write(folder.path().join("gateway.yaml"), yaml(&upstream, jwt, more)).unwrap();
    let args = ["run", "-c", "gateway.yaml", "--no-watch"];
    let mut process = Process::start_with(folder.path(), args, &[("E2E_JWT_SECRET", SECRET)]);
    let mut client = Client::connect(process.addresses().await[0]).await;
    assert_eq!(client.send(bearer(&Key::secret(SECRET).token("h", &ada()))).await.status, 200);
    let forged = Key::secret(&SECRET.to_uppercase()).token("h", &ada());
    is_refused(&client.send(bearer(&forged)).await, "the token is not signed by an accepted key");

    let without = Process::start(folder.path(), ["check", "-c", "gateway.yaml"]).ended().await;
    assert_eq!(without.code, 3);
    assert!(without.stderr.contains("gateway.yaml:4:") && without.stderr.contains("E2E_JWT_SECRET"), "{without:?}");
}

#[tokio::test]
async fn a_secret_that_is_not_granted_is_an_error_of_the_configuration() {
    let upstream = Upstream::echo().await;
    let jwt = "[{ name: jwt, config: { keys: [{ secret-name: signing }] } }]";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key.txt"), SECRET).unwrap();
    let more = "secrets: { signing: { file: key.txt } }";
    let error = TestGateway::try_start_in(folder, &yaml(&upstream, jwt, more)).await.err().expect("no grant");
    let error = error.to_string();
    assert!(error.contains(":5:") && error.contains("secret-name") && error.contains("signing"), "{error}");
    assert!(error.contains("grant"), "the cure: {error}");
}

#[tokio::test]
async fn a_key_set_that_was_replaced_in_its_file_counts_from_the_reload_on() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let (old, new) = (Key::p256(), Key::ed25519());
    let write = |key: &Key| std::fs::write(&file, json!({ "keys": [key.jwk("k")] }).to_string()).unwrap();
    write(&old);
    let jwt = "[{ name: jwt, config: { jwks-secret: issuer } }]";
    let more = "secrets: { issuer: { file: keys.json } }\nplugins: { jwt: { grants: { secrets: [issuer] } } }";
    let yaml = yaml(&upstream, jwt, more);
    let mut gateway = TestGateway::start_in(folder, &yaml).await;
    let (by_old, by_new) = (old.token("k", &ada()), new.token("k", &ada()));
    assert_eq!(gateway.send(bearer(&by_old)).await.status, 200);
    assert_eq!(gateway.send(bearer(&by_new)).await.status, 401);
    write(&new);
    gateway.reload(&yaml).await.unwrap();
    // Whoever remembered the old token forgot it with its key.
    assert_eq!(gateway.send(bearer(&by_old)).await.status, 401);
    assert_eq!(gateway.send(bearer(&by_new)).await.status, 200);
}
