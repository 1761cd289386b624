//! Logins at a real OpenID provider, over real sockets, and once in a real browser (Chromium).

use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    Authority, PATIENCE, Response, TestGateway, Upstream,
    client::Request,
    eventually,
    openid::{Browser, CLIENT_SECRET, Provider, scripts},
    process,
    redis::Redis,
};

/// base64 of 32 bytes.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("session.key"), KEY).expect("a file");
    std::fs::write(folder.path().join("client.secret"), CLIENT_SECRET).expect("a file");
    folder
}

/// The plugin's configuration, for cookies without TLS.
fn config(issuer: &str, more: &Value) -> Value {
    let mut config = json!({
        "providers": [{
            "name": "main", "issuer": issuer, "upstream": "id", "client-id": "gateway", "client-secret": "client-secret",
            "scopes": ["openid", "email"],
        }],
        "keys": ["session-key"],
        "insecure-cookies": true,
        "claims-to-headers": { "x-user": "sub", "x-email": "email" },
    });
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    config
}

/// A whole configuration; `plugins` follow the plugin.
fn yaml(provider: &Provider, upstream: &Upstream, more: &Value, plugins: &str, top: &str) -> String {
    format!(
        "{top}
secrets: {{ session-key: {{ file: session.key }}, client-secret: {{ file: client.secret }} }}
plugins:
  oidc: {{ grants: {{ upstreams: [id], secrets: {{ session-key: use, client-secret: read }} }} }}
upstreams:
  id: {{ endpoints: ['{}'] }}
  app: {{ endpoints: ['http://{}'] }}
routes:
  - {{ name: app, match: {{ path: '/{{*rest}}' }}, upstream: app, plugins: [{{ name: oidc, config: {} }}{plugins}] }}
",
        provider.issuer(),
        upstream.address(),
        config(&provider.issuer(), more),
    )
}

struct World {
    provider: Provider,
    gateway: TestGateway,
    _upstream: Upstream,
}

impl World {
    /// A gateway before an upstream that tells what it saw, and a provider whose tokens are valid for so many seconds.
    async fn start(lifetime: u32, more: Value) -> Self {
        let (mut provider, upstream) = (Provider::start(lifetime).await, Upstream::echo().await);
        let gateway = TestGateway::start_in(folder(), &yaml(&provider, &upstream, &more, "", "")).await;
        provider.serve(&format!("http://{}", gateway.address())).await;
        Self { provider, gateway, _upstream: upstream }
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.gateway.address())
    }

    async fn get(&self, browser: &mut Browser, target: &str) -> Response {
        browser.send(self.gateway.address(), Request::get(target)).await
    }

    async fn refreshes(&self, result: &str) -> u64 {
        let name = "gateway_plugin_oidc_refreshes_total";
        self.gateway.metric(name, &[("result", result)]).await.unwrap_or(0)
    }
}

#[tokio::test]
async fn a_user_logs_in_at_a_certified_provider_and_the_upstream_gets_the_claims() {
    let world = World::start(600, json!({ "claims-to-attributes": { "oidc.mail": "email" } })).await;
    let mut browser = Browser::default();
    let page = browser.login(&world.url("/orders?page=2"), "anna").await;
    assert_eq!(page.upstream_saw("x-user"), ["anna"], "{}", world.provider.log());
    assert_eq!(page.upstream_saw("x-email"), ["anna@example.com"]);
    assert_eq!(page.upstream_saw("cookie"), [""; 0], "the upstream gets no cookie of the plugin");

    let request = Request::get("/api").header("x-user", "root").header("accept", "application/json");
    let response = browser.send(world.gateway.address(), request).await;
    assert_eq!((response.status.as_u16(), response.upstream_saw("x-user")), (200, vec!["anna".to_owned()]));
    assert_eq!(world.provider.count("granted authorization_code"), 1);
}

#[tokio::test]
async fn an_api_client_without_a_session_gets_a_problem_and_a_browser_a_redirect() {
    let world = World::start(600, json!({})).await;
    let mut stranger = Browser::default();
    let response = world.get(&mut stranger, "/api").await;
    assert_eq!((response.status.as_u16(), response.header("content-type")), (401, "application/problem+json"));
    assert!(response.header("www-authenticate").starts_with("Cookie realm=\"gateway\""));
    let navigation = Request::get("/").header("accept", "text/html");
    let response = stranger.send(world.gateway.address(), navigation).await;
    assert_eq!((response.status.as_u16(), response.header("cache-control")), (302, "no-store"));
    assert!(response.header("location").starts_with(&format!("{}/auth?", world.provider.issuer())));

    // The provider answers an unknown redirect URI itself; what it sends back with an error is refused by its reason.
    let (url, page) = stranger.visit(&world.url("/")).await;
    assert!(url.starts_with(&world.provider.issuer()) && page.text().contains("login"), "{url}");
    let abort = format!("{url}/abort");
    let (url, page) = stranger.visit(&abort).await;
    assert!(url.contains("error=access_denied"), "{url}");
    assert_eq!((page.status.as_u16(), page.problem()["detail"].as_str()), (403, Some("the login was denied")));
    let again = stranger.visit(&url).await.1;
    assert_eq!(again.status, 400, "a login is completed once");
}

#[tokio::test]
async fn many_requests_at_a_time_refresh_the_tokens_once() {
    let world = World::start(4, json!({ "sessions": "store", "forward-access-token": true })).await;
    let mut browser = Browser::default();
    let first = browser.login(&world.url("/"), "anna").await.upstream_saw("authorization");
    for round in 1..=2_u64 {
        // Tokens expire by the clock. Half of their time before, requests refresh them.
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        let requests: Vec<_> = (0..20)
            .map(|_| {
                let (mut browser, address) = (browser.clone(), world.gateway.address());
                tokio::spawn(async move { browser.send(address, Request::get("/")).await })
            })
            .collect();
        for request in requests {
            let response = request.await.expect("no panic");
            assert_eq!(response.status, 200, "{}\n{}", response.text(), world.provider.log());
            assert_ne!(response.upstream_saw("authorization"), first);
        }
        assert_eq!(world.refreshes("refreshed").await, round, "{}", world.provider.log());
        assert_eq!(world.provider.count("granted refresh_token") as u64, round);
    }
    assert_eq!(world.provider.count("revoked"), 0, "no refresh token was used twice");
}

#[tokio::test]
async fn requests_with_a_cookie_of_before_the_refresh_are_not_refused() {
    let world = World::start(4, json!({})).await;
    let mut browser = Browser::default();
    browser.login(&world.url("/"), "anna").await;
    let (old, address) = (browser.clone(), world.gateway.address());
    eventually("a refresh", async || {
        assert_eq!(world.get(&mut browser, "/").await.status, 200, "{}", world.provider.log());
        world.refreshes("refreshed").await > 0
    })
    .await;
    assert_ne!(browser.cookie(address, "oidc"), old.cookie(address, "oidc"));
    for _ in 0..5 {
        assert_eq!(world.get(&mut old.clone(), "/").await.status, 200);
    }
    assert_eq!(world.provider.count("revoked"), 0, "no refresh token was used twice");
}

#[tokio::test]
async fn gateways_with_one_redis_share_sessions_and_their_end() {
    let redis = Redis::start().await;
    let (mut provider, upstream) = (Provider::start(600).await, Upstream::echo().await);
    let state = format!("state: {{ backend: {{ redis: {{ url: 'redis://127.0.0.1:{}' }} }} }}", redis.port());
    let text = yaml(&provider, &upstream, &json!({ "sessions": "store" }), "", &state);
    let first = TestGateway::start_in(folder(), &text).await;
    let second = TestGateway::start_in(folder(), &text).await;
    provider.serve(&format!("http://{}", first.address())).await;
    let mut browser = Browser::default();
    browser.login(&format!("http://{}/", first.address()), "anna").await;
    browser.move_to(first.address(), second.address());
    let elsewhere = browser.clone();
    let response = browser.send(second.address(), Request::get("/")).await;
    assert_eq!(response.upstream_saw("x-user"), ["anna"]);
    let response = browser.send(first.address(), Request::get("/oidc/logout")).await;
    assert_eq!(response.status, 303);
    assert!(response.header("location").starts_with(&format!("{}/session/end?", provider.issuer())));
    let response = elsewhere.clone().send(second.address(), Request::get("/")).await;
    assert_eq!(response.status, 401, "{}", response.text());
}

#[tokio::test]
async fn of_the_requests_with_expired_tokens_at_two_gateways_one_refreshes_and_all_pass() {
    for sessions in ["store", "cookie"] {
        let redis = Redis::start().await;
        let (mut provider, upstream) = (Provider::start(2).await, Upstream::echo().await);
        let state = format!("state: {{ backend: {{ redis: {{ url: '{}', timeout: 10s }} }} }}", redis.url());
        // On a busy machine the provider may be slow.
        let more = json!({ "sessions": sessions, "timeout": "30s", "forward-access-token": true });
        let text = yaml(&provider, &upstream, &more, "", &state);
        let gateways = [TestGateway::start_in(folder(), &text).await, TestGateway::start_in(folder(), &text).await];
        for gateway in &gateways {
            eventually("Redis", async || gateway.metrics().await.contains("\ngateway_redis_up 1\n")).await;
        }
        let addresses = [gateways[0].address(), gateways[1].address()];
        provider.serve(&format!("http://{}", addresses[0])).await;
        let mut browser = Browser::default();
        browser.login(&format!("http://{}/", addresses[0]), "anna").await;
        browser.move_to(addresses[0], addresses[1]);
        let before = provider.count("granted refresh_token");
        provider.hold().await;
        // Tokens expire by the clock.
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let requests: Vec<_> = (0..20)
            .map(|i| {
                let (mut browser, address) = (browser.clone(), addresses[i % 2]);
                tokio::spawn(async move {
                    let response = browser.send(address, Request::get("/")).await;
                    (response, browser.cookie(address, "oidc").map(str::to_owned))
                })
            })
            .collect();
        eventually("all others waiting", async || {
            let waiting = async |gateway: &TestGateway| {
                gateway.metric("gateway_store_lease_waiters", &[("bucket", "oidc")]).await.unwrap_or(0)
            };
            waiting(&gateways[0]).await + waiting(&gateways[1]).await == 19
        })
        .await;
        provider.release().await;
        let mut tokens = std::collections::BTreeSet::new();
        for request in requests {
            let (response, cookie) = request.await.expect("no panic");
            assert_eq!(response.status, 200, "{sessions}: {}\n{}", response.text(), provider.log());
            tokens.extend(response.upstream_saw("authorization"));
            assert_eq!(cookie.as_deref() == browser.cookie(addresses[0], "oidc"), sessions == "store");
        }
        assert_eq!(tokens.len(), 1, "all have the refreshed token");
        assert_eq!(provider.count("granted refresh_token") - before, 1, "{sessions}: {}", provider.log());
        assert_eq!(provider.count("revoked"), 0, "no refresh token was used twice");
    }
}

#[tokio::test]
async fn a_session_that_is_refreshed_during_a_logout_does_not_come_back() {
    let mut world = World::start(4, json!({ "timeout": "30s" })).await;
    let mut browser = Browser::default();
    browser.login(&world.url("/"), "anna").await;
    world.provider.hold().await;
    // Tokens expire by the clock.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let (address, mut other) = (world.gateway.address(), browser.clone());
    let refreshing = tokio::spawn(async move {
        other.send(address, Request::get("/")).await;
        other
    });
    world.provider.printed("held").await;
    assert_eq!(world.get(&mut browser, "/oidc/logout").await.status, 303);
    assert_eq!(browser.cookie(address, "oidc"), None);
    world.provider.release().await;
    // Its response arrives after the one to the logout, and the browser keeps the cookie that it sets.
    let other = refreshing.await.expect("no panic");
    browser.set_cookie(address, "oidc", other.cookie(address, "oidc").expect("a session"));
    assert_eq!(world.get(&mut browser, "/").await.status, 401);
}

#[tokio::test]
async fn while_the_provider_is_down_sessions_go_on_and_logins_are_503() {
    let World { provider, gateway, _upstream } = World::start(600, json!({})).await;
    let mut browser = Browser::default();
    let url = format!("http://{}/", gateway.address());
    browser.login(&url, "anna").await;
    // A login that is under way.
    let (page, _) = Browser::default().visit(&url).await;
    assert!(page.starts_with(&provider.issuer()));
    provider.stop().await;
    assert_eq!(browser.send(gateway.address(), Request::get("/")).await.status, 200);
    let mut stranger = Browser::default();
    let navigation = || Request::get("/").header("accept", "text/html");
    let response = stranger.send(gateway.address(), navigation()).await;
    // The metadata is known, so the browser is sent to the provider; its callback fails.
    assert_eq!(response.status, 302);
    let state = response.header("location").split("&state=").nth(1).and_then(|rest| rest.split('&').next());
    let issuer = response.header("location").split("/auth?").next().expect("the issuer").replace(':', "%3A");
    let callback = format!("/oidc/callback/main?code=c&state={}&iss={issuer}", state.expect("a state"));
    let response = stranger.send(gateway.address(), Request::get(&callback)).await;
    assert_eq!((response.status.as_u16(), response.header("retry-after")), (503, "5"), "{}", response.text());
}

#[tokio::test]
async fn stored_responses_of_one_user_are_not_given_to_another() {
    let (mut provider, upstream) = (Provider::start(600).await, Upstream::echo().await);
    let plugins = ", { name: cache, config: { default-ttl: 1m } }";
    let gateway = TestGateway::start_in(folder(), &yaml(&provider, &upstream, &json!({}), plugins, "")).await;
    provider.serve(&format!("http://{}", gateway.address())).await;
    let url = format!("http://{}/", gateway.address());
    let (mut anna, mut ben) = (Browser::default(), Browser::default());
    anna.login(&url, "anna").await;
    ben.login(&url, "ben").await;
    for _ in 0..2 {
        for (browser, user) in [(&mut anna, "anna"), (&mut ben, "ben")] {
            let response = browser.send(gateway.address(), Request::get("/")).await;
            assert_eq!(response.upstream_saw("x-user"), [user]);
        }
    }
    assert_eq!(upstream.requests(), 2, "each has a response of its own, which is stored");
}

#[tokio::test]
async fn a_browser_logs_in_through_two_pages_and_both_sides_can_end_the_session() {
    let (authority, folder) = (Authority::new(), folder());
    authority.issue(folder.path(), "app", &["localhost"]);
    let (mut provider, upstream) = (Provider::start(6).await, Upstream::echo().await);
    let listeners = "listeners:
  - { address: '127.0.0.1:0', tls: { certificates: [{ cert: app.pem, key: app.key }] } }
  - { address: '127.0.0.1:0' }
admin: { address: '127.0.0.1:0' }
workers: 2";
    let more = json!({ "insecure-cookies": false, "backchannel-logout": true });
    let gateway = TestGateway::start_in(folder, &yaml(&provider, &upstream, &more, "", listeners)).await;
    let [tls, plain] = gateway.addresses()[..] else { panic!("two listeners") };
    let origin = format!("https://localhost:{}", tls.port());
    provider.serve_with(&origin, &format!("http://{plain}")).await;

    let profile = TempDir::new().expect("a folder");
    let browser = Command::new("node")
        .args(["browser.mjs", &origin, &provider.issuer()])
        .current_dir(scripts())
        .env("TMPDIR", profile.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    // A browser that starts for the first time, beside all other tests, reads a quarter of a gigabyte from the disk.
    let output = tokio::time::timeout(4 * PATIENCE, browser).await.expect("the browser ends").expect("Node.js");
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}\n{}", provider.log());
    let by_provider = gateway.metric("gateway_plugin_oidc_logouts_total", &[("by", "provider")]).await;
    assert!(by_provider.is_some_and(|count| count > 0), "{}", provider.log());
    assert!(gateway.metric("gateway_plugin_oidc_refreshes_total", &[("result", "refreshed")]).await > Some(0));
}

#[tokio::test]
async fn check_says_which_grants_a_login_needs() {
    let folder = folder();
    let text = "listeners: [{ address: '127.0.0.1:0' }]
secrets: { session-key: { file: client.secret } }
plugins: { oidc: { grants: { secrets: { session-key: use }, store: [] } } }
upstreams: { app: { endpoints: ['http://127.0.0.1:9'] } }
routes:
  - name: app
    upstream: app
    plugins:
      - name: oidc
        config:
          providers: [{ name: main, issuer: 'https://id.example.com', upstream: id, client-id: app }]
          keys: [session-key]
";
    std::fs::write(folder.path().join("gateway.yaml"), text).expect("a file");
    let ended = process::run(folder.path(), ["check", "-c", "gateway.yaml"]).await;
    assert_ne!(ended.code, 0);
    for part in ["needs an upstream `id`", "is not a key of 32 bytes", "the bucket `oidc` is not granted"] {
        assert!(ended.stderr.contains(part), "no {part} in {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_client_with_hundreds_of_login_cookies_cannot_make_the_plugin_fail() {
    let (mut provider, upstream) = (Provider::start(600).await, Upstream::echo().await);
    let text = yaml(&provider, &upstream, &json!({}), "", "");
    let text = text.replace("{ name: oidc, config", "{ name: oidc, on-error: skip, config");
    let gateway = TestGateway::start_in(folder(), &text).await;
    provider.serve(&format!("http://{}", gateway.address())).await;
    let logins: Vec<String> = (0..400).map(|i| format!("oidc-login-{i:016x}=x")).collect();
    let sessions = vec!["oidc=x"; 400];
    for (target, cookies, status) in [("/admin", logins.join("; "), 302), ("/oidc/logout", sessions.join("; "), 303)] {
        let request = Request::get(target).header("accept", "text/html").header("x-user", "root");
        let response = Browser::default().send(gateway.address(), request.header("cookie", &cookies)).await;
        assert_eq!(response.status.as_u16(), status, "{}", response.text());
    }
    assert_eq!(upstream.requests(), 0, "no request passes unauthenticated");
}
