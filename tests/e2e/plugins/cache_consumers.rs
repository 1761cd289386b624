//! Responses are kept apart by who asks (RFC 9111 §3.5), however the gateway knows it.

use http::{Method, Response as Answer};
use rustls::ALL_VERSIONS;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cache::{HIT, Origin, status};
use crate::support::{
    Authority, Client, Gate, Response, TestGateway, Upstream,
    client::Request,
    eventually, guests, in_time,
    token::{Key, now},
    upstream::full,
};

const SECRET: &str = "a secret of the tests, longer than thirty-two bytes";
/// API keys of two clients.
const KEYS: [&str; 2] = ["k-anna", "k-ben"];

/// With these plugins before a cache that keeps everything for a minute.
async fn cached_behind(origin: &Origin, plugins: &str, more: &str) -> TestGateway {
    let plugins = format!("[{plugins}, {{ name: cache, config: {{ default-ttl: 1m }} }}]");
    TestGateway::start(&origin.yaml_with(&plugins, more)).await
}

fn jwt(more: Value) -> String {
    let mut config = json!({ "keys": [Key::secret(SECRET).config("h")], "forward": false });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    format!("{{ name: jwt, config: {config} }}")
}

fn token(claims: Value) -> String {
    let mut claims = claims;
    claims["exp"] = (now() + 3600).into();
    Key::secret(SECRET).token("h", &claims)
}

fn api_key() -> String {
    let keys: Vec<_> = KEYS.iter().map(|key| json!({ "id": key, "sha256": sha256(key) })).collect();
    format!("{{ name: api-key, config: {} }}", json!({ "keys": keys }))
}

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with(name: &str, value: &str) -> Request {
    Request::get("/").header(name, value)
}

/// Each of the two gets what was answered to it, the second time from the cache.
async fn are_kept_apart(gateway: &TestGateway, anna: impl Fn() -> Request, ben: impl Fn() -> Request) {
    let hers = gateway.send(anna()).await;
    assert_eq!(hers.status, 200, "{}", hers.text());
    let his = gateway.send(ben()).await;
    assert_ne!(his.text(), hers.text(), "ben has what was answered to anna");
    for (again, first) in [(gateway.send(anna()).await, hers), (gateway.send(ben()).await, his)] {
        assert_eq!((status(&again), again.text()), (HIT, first.text()));
    }
}

#[tokio::test]
async fn credentials_that_a_transform_makes_of_another_header_keep_consumers_apart() {
    let upstream = crate::support::Upstream::echo().await;
    let config = format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes:
  - name: all
    plugins:
      - {{ name: transform, config: {{ request: {{ set-headers: {{ authorization: 'Bearer {{header.x-token}}' }}, remove-headers: [x-token] }} }} }}
      - {{ name: cache, config: {{ default-ttl: 60s }} }}
    upstream: it
",
        upstream.address()
    );
    let gateway = crate::support::TestGateway::start(&config).await;
    for who in ["alice", "bob", "alice"] {
        let request = crate::support::client::Request::get("/k").header("x-token", who);
        let response = crate::support::Client::connect(gateway.address()).await.send(request).await;
        assert!(response.text().contains(&format!("Bearer {who}")), "{who}: {}", response.text());
    }
}

#[tokio::test]
async fn clients_whose_tokens_have_no_subject_do_not_share_responses() {
    let origin = Origin::with(&[]).await;
    let (anna, ben) = (token(json!({ "jti": 1 })), token(json!({ "jti": 2 })));
    let gateway = cached_behind(&origin, &jwt(json!({})), "").await;
    let bearer = |token: &str| with("authorization", &format!("Bearer {token}"));
    are_kept_apart(&gateway, || bearer(&anna), || bearer(&ben)).await;
    assert_eq!(gateway.get("/").await.status, 401);
    // Elsewhere than in `Authorization` it is the plugin that knows.
    for (place, header) in [("query", false), ("cookie", true)] {
        let gateway = cached_behind(&origin, &jwt(json!({ "from": [{ place: "t" }], "required": false })), "").await;
        let ask = |token: &str| match header {
            true => with("cookie", &format!("t={token}")),
            false => Request::get(&format!("/?t={token}")),
        };
        let anonymous = gateway.get("/").await;
        are_kept_apart(&gateway, || ask(&anna), || ask(&ben)).await;
        let again = gateway.get("/").await;
        assert_eq!((status(&again), again.text()), (HIT, anonymous.text()));
    }
}

#[tokio::test]
async fn the_same_subject_of_two_issuers_is_two_consumers() {
    let origin = Origin::with(&[]).await;
    let key = Key::secret(SECRET).config("h");
    let issuers = ["https://a", "https://b"].map(|issuer| json!({ "issuer": issuer, "keys": [key] }));
    let jwt = format!("{{ name: jwt, config: {} }}", json!({ "issuers": issuers, "from": [{ "query": "t" }] }));
    let gateway = cached_behind(&origin, &jwt, "").await;
    let of = |issuer: &str| {
        let token = token(json!({ "sub": "anna", "iss": issuer }));
        move || Request::get(&format!("/?t={token}"))
    };
    are_kept_apart(&gateway, of("https://a"), of("https://b")).await;
}

#[tokio::test]
async fn a_session_that_a_service_has_checked_is_a_consumer() {
    let origin = Origin::with(&[]).await;
    let service = Upstream::serving(|request: http::Request<hyper::body::Incoming>| async move {
        let known = request.headers().contains_key("x-session") || request.headers().contains_key("x-guest");
        let mut answer = Answer::new(full(""));
        *answer.status_mut() = if known { http::StatusCode::OK } else { http::StatusCode::UNAUTHORIZED };
        answer
    })
    .await;
    let config = json!({ "upstream": "authorizer", "headers": ["x-session", "x-guest"] });
    let plugins = format!(
        "[{{ name: ext-auth, config: {config} }}, {{ name: transform, config: {{ request: {{ remove-headers: [x-session] }} }} }},
          {{ name: cache, config: {{ default-ttl: 1m }} }}]"
    );
    let yaml = origin.yaml_with(&plugins, "plugins: { ext-auth: { grants: { upstreams: [authorizer] } } }");
    let authorizer = format!("upstreams: {{ authorizer: {{ endpoints: ['http://{}'] }},", service.address());
    let gateway = TestGateway::start(&yaml.replacen("upstreams: {", &authorizer, 1)).await;
    are_kept_apart(&gateway, || with("x-session", "anna"), || with("x-session", "ben")).await;
    assert_eq!(gateway.get("/").await.status, 401);
}

#[tokio::test]
async fn credentials_count_as_the_client_sent_them_whatever_a_plugin_made_of_them() {
    let origin = Origin::with(&[]).await;
    for edits in
        [json!({ "remove-headers": ["authorization"] }), json!({ "set-headers": { "authorization": "Basic x" } })]
    {
        let transform = format!("{{ name: transform, config: {} }}", json!({ "request": edits }));
        let gateway = cached_behind(&origin, &transform, "").await;
        are_kept_apart(&gateway, || with("authorization", "anna"), || with("authorization", "ben")).await;
        let mut http2 = Client::connect_http2(gateway.address()).await;
        let host = gateway.address().to_string();
        let ask = |user: &str| with("authorization", user).header("host", &host);
        assert_eq!(status(&http2.send(ask("anna")).await), HIT);
        assert_ne!(status(&http2.send(ask("carl")).await), HIT);
        let head = Request::new(Method::HEAD, "/").header("authorization", "doris").header("host", &host);
        assert_ne!(status(&http2.send(head).await), HIT);
    }
}

#[tokio::test]
async fn a_certificate_is_a_consumer() {
    let origin = Origin::with(&[]).await;
    let (server, clients) = (Authority::new(), Authority::new());
    let folder = TempDir::new().unwrap();
    server.issue(folder.path(), "api", &["api.example"]);
    clients.write(&folder.path().join("clients.pem"));
    let listeners = "listeners: [{ address: '127.0.0.1:0', tls: { certificates: [{ cert: api.pem, key: api.key }],
  client-certificates: { ca: [clients.pem], mode: optional } } }]";
    let yaml = origin.yaml(&json!({ "default-ttl": "1m" }), listeners);
    let gateway = TestGateway::start_in(folder, &yaml).await;
    let ask = async |identity| {
        let config = server.client_as(identity, &["http/1.1"], ALL_VERSIONS);
        let mut client = Client::connect_tls(gateway.address(), "api.example", config).await.unwrap();
        client.send(Request::get("/")).await
    };
    // The same name in two certificates is two clients for the cache: only what was verified as a whole tells them apart.
    let (anna, ben) = (clients.identify("anna", Vec::new()), clients.identify("anna", Vec::new()));
    let texts = [ask(Some(&anna)).await.text(), ask(Some(&ben)).await.text(), ask(None).await.text()];
    assert_eq!(texts, ["answer 1", "answer 2", "answer 3"]);
    for (identity, text) in [Some(&anna), Some(&ben), None].into_iter().zip(texts) {
        let again = ask(identity).await;
        assert_eq!((status(&again), again.text()), (HIT, text));
    }
}

#[tokio::test]
async fn a_request_that_waits_gets_no_response_to_another_consumer() {
    let gate = Gate::answering("late").await;
    let yaml = format!(
        "upstreams: {{ origin: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{}, {{ name: cache, config: {{ default-ttl: 1m, lock-timeout: 1m }} }}], upstream: origin }}]
",
        gate.address(),
        api_key()
    );
    let gateway = TestGateway::start(&yaml).await;
    let address = gateway.address();
    let ask = |key: &'static str| {
        tokio::spawn(async move { Client::connect(address).await.send(with("x-api-key", key)).await })
    };
    let clients = [ask(KEYS[0]), ask(KEYS[0]), ask(KEYS[1]), ask(KEYS[1])];
    // One for each consumer; the others have what it gets.
    gate.arrivals(2).await;
    gate.release(2);
    for client in clients {
        assert_eq!(in_time("an answer", client).await.unwrap().text(), "late");
    }
}

#[tokio::test]
async fn a_response_to_a_client_that_a_later_plugin_identifies_is_not_stored() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let plugins = format!("[{{ name: cache }}, {}]", api_key());
    let gateway = TestGateway::start(&origin.yaml_with(&plugins, "")).await;
    for text in ["answer 1", "answer 2"] {
        let response = gateway.send(with("x-api-key", "k-anna")).await;
        assert_eq!(response.text(), text);
        assert!(response.header("cache-status").ends_with("detail=consumer"), "{:?}", response.headers);
        assert_eq!(gateway.get("/").await.status, 401);
    }
}

/// A gateway with a plugin that is not one of the standard ones before its cache.
async fn behind_naughty(origin: &Origin, config: &str, more: &str) -> TestGateway {
    let plugins =
        format!("[{{ name: naughty, config: {config}{more} }}, {{ name: cache, config: {{ default-ttl: 1m }} }}]");
    let more = format!("plugins: {{ {} }}\n{}", guests::naughty(""), guests::OWN);
    TestGateway::start_in(guests::folder(), &origin.yaml_with(&plugins, &more)).await
}

#[tokio::test]
async fn where_a_plugin_failed_and_was_skipped_nobody_shares_anything() {
    let origin = Origin::with(&[]).await;
    let gateway = behind_naughty(&origin, "{ do: err, when: x-fail }", ", on-error: skip").await;
    for text in ["answer 1", "answer 2"] {
        let response = gateway.send(with("x-fail", "1")).await;
        assert_eq!((response.text(), response.header("cache-status")), (text.to_owned(), ""));
    }
    assert_eq!(gateway.get("/").await.text(), "answer 3");
    assert_eq!(status(&gateway.get("/").await), HIT);
}

#[tokio::test]
async fn a_plugin_of_the_users_that_says_who_asks_need_not_know_of_the_cache() {
    let origin = Origin::with(&[]).await;
    // It sets a header for the upstream from one that the client sent.
    let gateway = behind_naughty(&origin, "{ do: mark }", "").await;
    are_kept_apart(&gateway, || with("x-in", "anna"), || with("x-in", "ben")).await;
}

#[tokio::test]
async fn consumers_share_what_the_upstream_allows_where_the_operator_does() {
    let origin = Origin::with(&[("cache-control", "public, max-age=60")]).await;
    let ask = |gateway: &TestGateway, target: &str, user: &str| {
        let request = Request::get(target).header("authorization", user);
        let address = gateway.address();
        async move { Client::connect(address).await.send(request).await }
    };
    let isolating = origin.cached(&json!({}), "").await;
    ask(&isolating, "/", "anna").await;
    assert_ne!(status(&ask(&isolating, "/", "ben").await), HIT);

    let sharing = origin.cached(&json!({ "consumers": "share" }), "").await;
    let is_hit = |response: Response| status(&response) == HIT;
    for (directives, shared) in [
        ("public, max-age=60", true),
        ("s-maxage=60", true),
        ("max-age=60, must-revalidate", true),
        ("max-age=60", false),
    ] {
        origin.say(&[("cache-control", directives)]);
        let target = format!("/{}", directives.replace([' ', ','], ""));
        ask(&sharing, &target, "anna").await;
        assert_eq!(is_hit(ask(&sharing, &target, "ben").await), shared, "{directives}");
        assert_eq!(is_hit(sharing.get(&target).await), shared, "{directives}");
        assert!(is_hit(ask(&sharing, &target, "anna").await), "{directives}");
    }
    // What was answered to somebody in particular is not made public by a confirmation.
    origin.say(&[("cache-control", "public, no-cache"), ("etag", "\"1\"")]);
    ask(&sharing, "/confirmed", "anna").await;
    origin.say(&[("cache-control", "max-age=60"), ("etag", "\"1\"")]);
    assert!(is_hit(ask(&sharing, "/confirmed", "ben").await));
    assert!(!is_hit(ask(&sharing, "/confirmed", "carl").await));
}

#[tokio::test]
async fn what_one_consumer_changes_is_invalid_for_all() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    are_kept_apart(&gateway, || with("authorization", "anna"), || with("authorization", "ben")).await;
    gateway.send(Request::post("/", "!").header("authorization", "ben")).await;
    for user in ["anna", "ben"] {
        assert_ne!(status(&gateway.send(with("authorization", user)).await), HIT, "{user}");
        assert_eq!(status(&gateway.send(with("authorization", user)).await), HIT, "{user}");
    }
}

#[tokio::test]
async fn a_revalidation_in_the_background_is_for_the_consumer_whose_request_caused_it() {
    let fields = [("cache-control", "max-age=60, stale-while-revalidate=60"), ("age", "60")];
    let origin = Origin::with(&fields).await;
    let gateway = origin.cached(&json!({}), "").await;
    let anna = || with("authorization", "anna");
    assert_eq!(gateway.send(anna()).await.text(), "answer 1");
    origin.say(&[("cache-control", "max-age=60")]);
    assert_eq!(gateway.send(anna()).await.text(), "answer 1");
    eventually("the revalidation", async || gateway.send(anna()).await.text() == "answer 2").await;
    assert_eq!((origin.requests(), origin.saw("authorization").as_deref()), (2, Some("anna")));
    assert_eq!(gateway.send(with("authorization", "ben")).await.text(), "answer 3");
    assert_eq!(gateway.get("/").await.text(), "answer 4");
}
