//! From a request without a session to one with a session.

use plugin_jose::base64::encode_url;
use plugin_sdk::{Reply, http_client::CallError, testkit::TestRequest};
use serde_json::json;

use super::support::{Browser, ISSUER, World, location, logged_in, passed, refused};

#[test]
fn a_browser_is_sent_to_the_provider_and_comes_back_to_its_page() {
    let mut world = World::new(json!({}));
    let mut browser = Browser::default();
    let parameters = browser.begin(&mut world, "/orders?page=2");
    assert_eq!(parameters["response_type"], "code");
    assert_eq!(parameters["client_id"], "app");
    assert_eq!(parameters["scope"], "openid");
    assert_eq!(parameters["redirect_uri"], "https://app.example.com/oidc/callback/main");
    assert_eq!(parameters["code_challenge_method"], "S256");
    assert_eq!(browser.cookies.len(), 1);

    let exchange = browser.come_back(&mut world, &parameters["state"], "c");
    assert_eq!(location(&exchange), "/orders?page=2");
    assert_eq!(
        browser.cookies.keys().collect::<Vec<_>>(),
        ["__Host-oidc", "__Host-oidc-id"],
        "the login's cookie is gone"
    );
    let grant = world.provider.borrow().grants[0].clone();
    assert_eq!((grant["code"].as_str(), grant["client_id"].as_str()), ("c", "app"));
    assert_eq!(grant["redirect_uri"], parameters["redirect_uri"]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, grant["code_verifier"].as_bytes());
    assert_eq!(encode_url(digest.as_ref()), parameters["code_challenge"]);

    let request = TestRequest::get("/orders").header("x-user", "root").header("cookie", "theme=dark");
    let exchange = browser.send(&mut world, request);
    assert_eq!(exchange.header_values("x-user"), [b"anna"]);
    assert_eq!(exchange.header("cookie"), Some("theme=dark"), "other cookies stay");
    assert_eq!(world.host.counter("oidc_logins", &[("provider", "main"), ("result", "completed")]), 1);
}

#[test]
fn only_navigations_are_redirected() {
    let mut world = World::new(json!({}));
    let mut status = |request: TestRequest| {
        let exchange = world.plugin.request(request.https());
        exchange.reply().expect("a reply").status
    };
    let html = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
    assert_eq!(status(TestRequest::get("/").header("accept", html)), 302);
    assert_eq!(status(TestRequest::new("HEAD", "/").header("sec-fetch-mode", "navigate")), 302);
    assert_eq!(status(TestRequest::post("/").header("accept", html).header("sec-fetch-mode", "navigate")), 401);
    for mode in ["cors", "no-cors", "same-origin", "websocket"] {
        assert_eq!(status(TestRequest::get("/").header("accept", html).header("sec-fetch-mode", mode)), 401, "{mode}");
    }
    assert_eq!(status(TestRequest::get("/").header("accept", html).header("x-requested-with", "XMLHttpRequest")), 401);
    assert_eq!(status(TestRequest::get("/").header("accept", "application/json, */*")), 401);
    let exchange = world.plugin.request(TestRequest::get("/").https());
    let reply = refused(&exchange, 401, "no-session");
    let challenge = "Cookie realm=\"gateway\", form-action=\"/oidc/login\", cookie-name=\"__Host-oidc\"";
    assert_eq!(reply.header("www-authenticate").as_deref(), Some(challenge));
    assert!(reply.into_text().contains("\"login\":\"/oidc/login\""));
}

#[test]
fn a_login_returns_to_no_other_origin() {
    let mut world = World::new(json!({}));
    for target in [
        "https://evil.example/",
        "//evil.example",
        "/%5Cevil.example",
        "%2F%2Fevil.example",
        "/%09/evil.example",
        "evil",
    ] {
        let mut browser = Browser::default();
        let target = target.replace("/%", "%2F%");
        let state = browser.begin(&mut world, &format!("/oidc/login?return-to={target}"))["state"].clone();
        let exchange = browser.come_back(&mut world, &state, &state);
        assert_eq!(location(&exchange), "/", "{target}");
    }
}

#[test]
fn a_login_is_completed_once_and_in_its_browser() {
    let mut world = World::new(json!({}));
    let mut browser = Browser::default();
    let state = browser.begin(&mut world, "/a")["state"].clone();
    let before = browser.clone();
    refused(&Browser::default().come_back(&mut world, &state, "c"), 400, "unknown-login");
    location(&browser.come_back(&mut world, &state, "c"));
    refused(&browser.come_back(&mut world, &state, "c"), 400, "unknown-login");
    // With the cookie of before it is the store that knows.
    refused(&before.clone().come_back(&mut world, &state, "d"), 400, "unknown-login");
    assert_eq!(world.grants(), 1);

    // The provider knows a code that was used in another login.
    let state = browser.begin(&mut world, "/oidc/login")["state"].clone();
    refused(&browser.come_back(&mut world, &state, "c"), 400, "code-refused");
    assert!(browser.cookies.contains_key("__Host-oidc"), "the session that is there stays");
    passed(&browser.visit(&mut world, "/"), "anna");
}

#[test]
fn a_login_ends_after_its_time() {
    let mut world = World::new(json!({ "login-timeout": "2m" }));
    let mut browser = Browser::default();
    let state = browser.begin(&mut world, "/a")["state"].clone();
    world.advance(120);
    refused(&browser.come_back(&mut world, &state, "c"), 400, "unknown-login");
}

#[test]
fn two_tabs_log_in_at_a_time_and_a_browser_has_few_logins() {
    let mut world = World::new(json!({}));
    let mut browser = Browser::default();
    let first = browser.begin(&mut world, "/first");
    let second = browser.begin(&mut world, "/second");
    assert_ne!(first["state"], second["state"]);
    world.provider.borrow_mut().nonce.clone_from(&first["nonce"]);
    assert_eq!(location(&browser.come_back(&mut world, &first["state"], "1")), "/first");
    world.provider.borrow_mut().nonce.clone_from(&second["nonce"]);
    assert_eq!(location(&browser.come_back(&mut world, &second["state"], "2")), "/second");

    let mut browser = Browser::default();
    for i in 0..20 {
        browser.begin(&mut world, &format!("/{i}"));
        world.advance(1);
        assert!(browser.cookies.len() <= 5);
    }
}

#[test]
fn a_changed_state_or_cookie_is_no_login() {
    let mut world = World::new(json!({}));
    let mut browser = Browser::default();
    let state = browser.begin(&mut world, "/a")["state"].clone();
    let other = format!("{}{}", &state[..16], "0".repeat(state.len() - 16));
    refused(&browser.come_back(&mut world, &other, "c"), 400, "unknown-login");
    // The cookie of one login under the name of another.
    let second = browser.begin(&mut world, "/b")["state"].clone();
    let name = |state: &str| format!("__Host-oidc-login-{}", &state[..16]);
    let moved = browser.cookies[&name(&state)].clone();
    browser.cookies.insert(name(&second), moved);
    refused(&browser.come_back(&mut world, &second, "c"), 400, "unknown-login");
    for target in ["code=c", "state=x&code=c", "state=%C3%A9&code=c", "state=1&state=2&code=c"] {
        let exchange = browser.visit(&mut world, &format!("/oidc/callback/main?{target}"));
        assert_eq!(exchange.reply().unwrap().status, 400, "{target}");
    }
    assert_eq!(world.grants(), 0);
}

#[test]
fn a_response_of_another_issuer_is_refused() {
    let mut world = World::new(json!({}));
    let mut browser = Browser::default();
    let mut answer = |world: &mut World, more: &str| {
        let state = browser.begin(world, "/oidc/login")["state"].clone();
        browser.visit(world, &format!("/oidc/callback/main?code={state}&state={state}{more}"))
    };
    refused(&answer(&mut world, "&iss=https%3A%2F%2Fevil.example"), 400, "other-issuer");
    refused(&answer(&mut world, "&error=access_denied&iss=https%3A%2F%2Fevil.example"), 400, "other-issuer");
    location(&answer(&mut world, &format!("&iss={}", plugin_sdk::query::encode(ISSUER))));

    let mut world = World::new(json!({}));
    world.provider.borrow_mut().metadata = json!({ "authorization_response_iss_parameter_supported": true });
    refused(&answer(&mut world, ""), 400, "other-issuer");
    location(&answer(&mut world, &format!("&iss={}", plugin_sdk::query::encode(ISSUER))));
}

#[test]
fn what_the_provider_refuses_has_an_outcome_each() {
    let mut world = World::new(json!({}));
    let mut browser = Browser::default();
    for (error, status, reason) in [
        ("access_denied", 403, "login-denied"),
        ("login_required", 403, "login-denied"),
        ("temporarily_unavailable", 503, "provider-unavailable"),
        ("invalid_scope", 502, "provider-error"),
        ("%3Cscript%3E", 502, "provider-error"),
    ] {
        let state = browser.begin(&mut world, "/a")["state"].clone();
        let exchange = browser.visit(&mut world, &format!("/oidc/callback/main?error={error}&state={state}"));
        let reply = refused(&exchange, status, reason);
        assert!(!reply.into_text().contains("script"));
        assert!(browser.cookies.is_empty(), "the login is over");
    }
    for (answer, status, reason) in [
        (Ok(Reply::new(400).with_text(r#"{"error":"invalid_client"}"#)), 502, "provider-error"),
        (Ok(Reply::new(200).with_text("{}")), 502, "provider-error"),
        (Ok(Reply::new(200).with_text(r#"{"token_type":"Bearer","access_token":"a"}"#)), 502, "id-token"),
        (Ok(Reply::new(200).with_text(r#"{"token_type":"mac","access_token":"a"}"#)), 502, "provider-error"),
        (Ok(Reply::new(500)), 503, "provider-unavailable"),
        (Err(CallError::Timeout), 503, "provider-unavailable"),
        (Err(CallError::Unreachable("refused".into())), 503, "provider-unavailable"),
    ] {
        world.provider.borrow_mut().answer = Some(answer);
        let state = browser.begin(&mut world, "/a")["state"].clone();
        refused(&browser.come_back(&mut world, &state, "c"), status, reason);
    }
}

#[test]
fn without_the_provider_there_is_no_login_and_sessions_go_on() {
    let mut world = World::new(json!({}));
    let mut browser = logged_in(&mut world);
    world.host.answer_calls(|_| Err(CallError::Unreachable("refused".into())));
    passed(&browser.visit(&mut world, "/"), "anna");
    world.reload(
        json!({ "providers": [{ "name": "main", "issuer": ISSUER, "upstream": "other", "client-id": "app" }] }),
    );
    let reply = refused(&Browser::default().visit(&mut world, "/"), 503, "provider-unavailable");
    assert_eq!(reply.header("retry-after").as_deref(), Some("5"));
    passed(&browser.visit(&mut world, "/"), "anna");
}

#[test]
fn metadata_must_be_the_issuers_and_lead_nowhere_else() {
    for metadata in [
        json!({ "issuer": "https://evil.example" }),
        json!({ "issuer": null }),
        json!({ "token_endpoint": "https://elsewhere.example/token" }),
        json!({ "jwks_uri": "https://id.example.com@elsewhere.example/jwks" }),
        json!({ "authorization_endpoint": "http://id.example.com/auth" }),
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
        json!({ "token_endpoint": 1 }),
    ] {
        let mut world = World::new(json!({}));
        world.provider.borrow_mut().metadata = metadata.clone();
        let exchange = Browser::default().visit(&mut world, "/");
        assert_eq!(
            (exchange.reply().unwrap().status, exchange.attribute("oidc.error")),
            (502, Some("provider-error")),
            "{metadata}"
        );
    }
    let mut world = World::new(json!({}));
    let mut provider = json!({ "name": "main", "issuer": ISSUER, "upstream": "id", "client-id": "app" });
    provider["other-upstreams"] = json!({ "https://keys.example.com": "keys" });
    world.reload(json!({ "providers": [provider] }));
    world.provider.borrow_mut().metadata = json!({ "jwks_uri": "https://keys.example.com:443/jwks" });
    logged_in(&mut world);
    assert!(world.host.calls().iter().any(|call| call.upstream == "keys" && call.path_with_query == "/jwks"));
}

#[test]
fn the_client_secret_is_sent_as_configured() {
    let provider = |more: &str| {
        let text = format!(
            r#"{{"name":"main","issuer":"{ISSUER}","upstream":"id","client-id":"app","client-secret":"client-secret"{more}}}"#
        );
        json!({ "providers": [serde_json::from_str::<serde_json::Value>(&text).unwrap()] })
    };
    let mut world = World::new(provider(""));
    logged_in(&mut world);
    let grant = world.provider.borrow().grants[0].clone();
    // app:s%26cret
    assert_eq!(grant["authorization"], "Basic YXBwOnMlMjZjcmV0");
    assert!(!grant.contains_key("client_id") && !grant.contains_key("client_secret"));
    let mut world = World::new(provider(r#","client-auth":"post""#));
    logged_in(&mut world);
    let grant = world.provider.borrow().grants[0].clone();
    assert_eq!((grant["client_id"].as_str(), grant["client_secret"].as_str()), ("app", "s&cret"));
}

#[test]
fn without_tls_a_login_is_refused_instead_of_repeated() {
    let mut world = World::new(json!({}));
    let navigation = || TestRequest::get("/").header("sec-fetch-mode", "navigate");
    refused(&world.plugin.request(navigation()), 400, "needs-tls");
    world.reload(json!({ "origin": "https://app.example.com" }));
    assert!(
        location(&world.plugin.request(navigation())).contains("redirect_uri=https%3A%2F%2Fapp.example.com%2Foidc")
    );
    world.reload(json!({ "insecure-cookies": true }));
    let exchange = world.plugin.request(navigation());
    let cookie = exchange.reply().unwrap().header("set-cookie").unwrap().into_owned();
    assert!(cookie.starts_with("oidc-login-") && !cookie.contains("Secure"), "{cookie}");
}

#[test]
fn anonymous_requests_pass_where_a_login_is_not_required() {
    let mut world = World::new(json!({ "required": false }));
    let mut browser = Browser::default();
    let exchange = browser.send(&mut world, TestRequest::get("/").header("x-user", "root"));
    assert_eq!((exchange.reply(), exchange.header("x-user"), exchange.attribute("oidc.sub")), (None, None, None));
    let state = browser.begin(&mut world, "/oidc/login?return-to=%2Fpage")["state"].clone();
    assert_eq!(location(&browser.come_back(&mut world, &state, "c")), "/page");
    passed(&browser.visit(&mut world, "/"), "anna");
}

#[test]
fn users_choose_one_of_several_providers() {
    let entry = |name: &str| json!({ "name": name, "label": "<Company> & co", "issuer": ISSUER, "upstream": "id", "client-id": name });
    let mut world = World::new(json!({ "providers": [entry("main"), entry("second")] }));
    let mut browser = Browser::default();
    let page = location(&browser.visit(&mut world, "/a?b=c"));
    assert_eq!(page, "/oidc/login?return-to=%2Fa%3Fb%3Dc");
    let exchange = browser.visit(&mut world, &page);
    let reply = exchange.reply().unwrap();
    assert!(reply.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let html = String::from_utf8_lossy(&reply.body);
    assert!(
        html.contains(
            "<a href=\"/oidc/login?provider=second&amp;return-to=%2Fa%3Fb%3Dc\">&lt;Company&gt; &amp; co</a>"
        ),
        "{html}"
    );

    let parameters = browser.begin(&mut world, "/oidc/login?provider=second&return-to=%2Fa");
    assert_eq!(parameters["client_id"], "second");
    assert_eq!(parameters["redirect_uri"], "https://app.example.com/oidc/callback/second");
    // The response of one provider is not one of the other.
    refused(&browser.come_back(&mut world, &parameters["state"], "c"), 400, "unknown-login");
    world.provider.borrow_mut().claims = json!({ "aud": "second" });
    let exchange = browser.visit(&mut world, &format!("/oidc/callback/second?code=c&state={}", parameters["state"]));
    assert_eq!(location(&exchange), "/a");
    passed(&browser.visit(&mut world, "/"), "anna");
    refused(&browser.visit(&mut world, "/oidc/login?provider=third"), 404, "not-found");
}

#[test]
fn a_client_with_hundreds_of_own_cookies_gets_a_reply_of_few_fields() {
    let logins: Vec<String> = (0..400).map(|i| format!("__Host-oidc-login-{i:016x}=x")).collect();
    let sessions: Vec<String> = (0..400).map(|i| format!("__Host-oidc{}=x", ["", "-1", "-4"][i % 3])).collect();
    for cookies in [&logins, &sessions] {
        for target in ["/admin", "/oidc/login", "/oidc/logout", "/oidc/callback/main?state=0123456789abcdef&code=c"] {
            let mut world = World::new(json!({}));
            let request = TestRequest::get(target).header("sec-fetch-mode", "navigate").header("x-user", "root");
            // It panics if the gateway would refuse the reply.
            let exchange = world.plugin.request(request.header("cookie", cookies.join("; ")).https());
            let reply = exchange.reply().expect("a reply");
            assert!(reply.headers.iter().filter(|(name, _)| name == "set-cookie").count() <= 17, "{target}");
        }
    }
}

#[test]
fn a_new_login_deletes_the_stored_session_before_it() {
    let mut world = World::new(json!({ "sessions": "store" }));
    let mut browser = logged_in(&mut world);
    let mut copy = browser.clone();
    browser.login(&mut world);
    passed(&browser.visit(&mut world, "/"), "anna");
    refused(&copy.send(&mut world, TestRequest::get("/")), 401, "no-session");
}
