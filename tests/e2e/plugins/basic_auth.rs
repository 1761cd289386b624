//! Who knows the password gets in, and nobody waits for another's hash.

use serde_json::{Value, json};

use super::{Behind, yaml};
use crate::support::{Client, Response, TestGateway, Upstream, client::Request, eventually};

/// `open sesame`, argon2id with little memory.
const ANNA: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdC1vZi1hbm5h$MlzKAbpDxiyDJdwkMTMDFg9ED1rnyPn1OXNFKm1f3Jg";
/// `an example password`, bcrypt with a cost of 10: tens of milliseconds, and many more in a debug build.
const BEN: &str = "$2y$10$9Iahx5HODZV6jwjIhmNp7.ozg/ELCpOOc96Jlhoi9Ha1jX3XimTvW";
/// `anna:open sesame` and `ben:an example password`.
const ANNA_KNOWS: &str = "Basic YW5uYTpvcGVuIHNlc2FtZQ==";
const BEN_KNOWS: &str = "Basic YmVuOmFuIGV4YW1wbGUgcGFzc3dvcmQ=";
/// `anna:open sesamE`.
const WRONG: &str = "Basic YW5uYTpvcGVuIHNlc2FtRQ==";

fn users() -> Value {
    json!({ "users": [{ "name": "anna", "hash": ANNA, "groups": ["staff"] }, { "name": "ben", "hash": BEN }] })
}

fn knowing(credentials: &str) -> Request {
    Request::get("/").header("authorization", credentials)
}

fn is_challenged(response: &Response) {
    assert_eq!(response.status, 401);
    assert_eq!(response.header("www-authenticate"), r#"Basic realm="gateway", charset="UTF-8""#);
    response.problem();
}

#[tokio::test]
async fn a_right_password_lets_in_and_stays_with_the_gateway() {
    let config = users();
    let transform = r#"{ request: { set-headers: { x-user: "{attribute.basic-auth.user}" } } }"#;
    let plugins = format!("[{{ name: basic-auth, config: {config} }}, {{ name: transform, config: {transform} }}]");
    let behind = Behind::with(&plugins, "").await;
    for _ in 0..3 {
        let response = behind.send(knowing(ANNA_KNOWS)).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.upstream_saw("x-user"), ["anna"]);
        assert!(response.upstream_saw("authorization").is_empty());
    }
    assert_eq!(behind.send(knowing(BEN_KNOWS)).await.upstream_saw("x-user"), ["ben"]);
    for wrong in [WRONG, "Basic bm9ib2R5Om9wZW4gc2VzYW1l", "Basic !", "Bearer x"] {
        is_challenged(&behind.send(knowing(wrong)).await);
    }
    is_challenged(&behind.get("/").await);
    assert_eq!(behind.upstream.requests(), 4);
    let metrics = behind.gateway.metrics().await;
    let failures = metrics.lines().filter(|line| line.starts_with("gateway_wasm_failures_total{plugin=\"basic-auth\""));
    assert!(failures.into_iter().all(|line| line.ends_with(" 0")), "to have to wait is no failure: {metrics}");
    assert!(metrics.contains("gateway_plugin_basic_auth_denied_total"), "{metrics}");
}

#[tokio::test]
async fn others_are_served_while_a_password_is_verified() {
    let upstream = Upstream::echo().await;
    let plugins = format!("[{{ name: basic-auth, config: {} }}]", users());
    let open = "routes: [{ name: open, match: { path: /open }, upstream: echo }, ";
    let text =
        yaml(&upstream, &plugins, "workers: 1\nlisteners: [{ address: '127.0.0.1:0' }]").replace("routes: [", open);
    let gateway = TestGateway::start(&text).await;
    let (address, guesses) = (gateway.address(), 16);
    let wrong = (0..guesses).map(|i| {
        let credentials = format!("Basic {}", standard_base64(format!("ben:guess{i:03}").as_bytes()));
        tokio::spawn(async move { Client::connect(address).await.send(knowing(&credentials)).await })
    });
    let wrong: Vec<_> = wrong.collect();
    let mut other = Client::connect(address).await;
    let mut served = 0;
    while !wrong.iter().all(|guess| guess.is_finished()) {
        assert_eq!(other.send(Request::get("/open")).await.status, 200);
        served += 1;
    }
    for guess in wrong {
        is_challenged(&guess.await.unwrap());
    }
    // A worker that hashed by itself would come to the other client once after each hash at best.
    assert!(served > 2 * guesses, "the only worker was held up: {served} requests");
}

#[tokio::test]
async fn many_with_the_same_password_are_one_hash_and_all_get_in() {
    let behind = Behind::plugin("basic-auth", &users()).await;
    let address = behind.gateway.address();
    let clients = (0..40).map(|_| {
        tokio::spawn(async move { Client::connect(address).await.send(knowing(BEN_KNOWS)).await.status.as_u16() })
    });
    for client in clients.collect::<Vec<_>>() {
        assert_eq!(client.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_flood_of_guesses_is_turned_away_and_not_queued_without_end() {
    let behind = Behind::plugin("basic-auth", &users()).await;
    let address = behind.gateway.address();
    let guesses = (0..200).map(|i| {
        let guess = format!("ben:guess{i:03}");
        tokio::spawn(async move {
            let request = knowing(&format!("Basic {}", standard_base64(guess.as_bytes())));
            Client::connect(address).await.send(request).await
        })
    });
    let mut busy = 0;
    for guess in guesses.collect::<Vec<_>>() {
        let response = guess.await.unwrap();
        match response.status.as_u16() {
            401 => {}
            503 => {
                busy += 1;
                assert_eq!(response.header("retry-after"), "1");
            }
            other => panic!("{other}"),
        }
    }
    assert!(busy > 0, "64 wait at most, and a few are under way");
    eventually("the queue being empty again", async || behind.send(knowing(BEN_KNOWS)).await.status == 200).await;
}

#[tokio::test]
async fn a_file_of_htpasswd_is_taken_up_when_it_changes() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    std::fs::write(&file, format!("anna:{ANNA}\n")).unwrap();
    let more = "secrets: { users: { file: htpasswd } }\nplugins: { basic-auth: { grants: { secrets: [users] } } }";
    let text = yaml(&upstream, "[{ name: basic-auth, config: { users-secret: users } }]", more);
    let mut gateway = TestGateway::start_in(folder, &text).await;
    assert_eq!(gateway.send(knowing(ANNA_KNOWS)).await.status, 200);
    is_challenged(&gateway.send(knowing(BEN_KNOWS)).await);
    std::fs::write(&file, format!("ben:{BEN}\n")).unwrap();
    gateway.reload(&text).await.unwrap();
    // She is remembered, but nobody asks for her any more.
    is_challenged(&gateway.send(knowing(ANNA_KNOWS)).await);
    assert_eq!(gateway.send(knowing(BEN_KNOWS)).await.status, 200);

    std::fs::write(&file, "ben:plain-text\n").unwrap();
    let error = gateway.reload(&text).await.expect_err("no hash").to_string();
    assert!(error.contains("line 1 of the secret") && !error.contains("plain-text"), "{error}");
}

/// Without padding, which whole groups of three bytes need not.
fn standard_base64(bytes: &[u8]) -> String {
    assert_eq!(bytes.len() % 3, 0);
    crate::support::token::base64url(bytes).replace('-', "+").replace('_', "/")
}
