//! Logouts by the user and by the provider.

use plugin_sdk::{
    query,
    testkit::{TestExchange, TestRequest},
};
use serde_json::{Value, json};

use super::support::{Browser, ISSUER, NOW, World, location, logged_in, passed, refused};
use crate::refusal::Refusal;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

#[test]
fn a_logout_ends_the_session_here_and_at_the_provider() {
    for sessions in ["cookie", "store"] {
        let mut world = World::new(json!({ "sessions": sessions }));
        let mut browser = logged_in(&mut world);
        let copy = browser.clone();
        let location = location(&browser.visit(&mut world, "/oidc/logout"));
        let parameters = location.strip_prefix("https://id.example.com/logout?x=1&").expect("the provider's page");
        let parameters: Vec<_> = query::pairs(parameters).map(|(name, value)| (name, query::decode(value))).collect();
        assert_eq!(parameters[0], ("client_id", "app".into()));
        assert_eq!(parameters[1], ("post_logout_redirect_uri", "https://app.example.com/oidc/logged-out".into()));
        assert!(parameters[2].0 == "id_token_hint" && parameters[2].1.split('.').count() == 3);
        assert!(browser.cookies.is_empty());
        refused(&browser.send(&mut world, TestRequest::get("/")), 401, "no-session");
        let exchange = copy.clone().send(&mut world, TestRequest::get("/"));
        assert_eq!(exchange.reply().is_some(), sessions == "store", "a copy of a cookie is valid until it expires");
        let page = browser.visit(&mut world, "/oidc/logged-out");
        assert_eq!(page.reply().unwrap().status, 200);
    }
}

#[test]
fn a_logout_without_session_or_without_page_of_the_provider_stays_here() {
    let mut world = World::new(json!({ "after-logout": "/goodbye" }));
    assert_eq!(location(&Browser::default().visit(&mut world, "/oidc/logout")), "/goodbye");
    world.provider.borrow_mut().metadata = json!({ "end_session_endpoint": null });
    let mut browser = logged_in(&mut world);
    assert_eq!(location(&browser.send(&mut world, TestRequest::post("/oidc/logout"))), "/goodbye");
    assert!(browser.cookies.is_empty());
}

#[test]
fn another_site_cannot_log_users_out() {
    let mut world = World::new(json!({}));
    let mut browser = logged_in(&mut world);
    for site in ["cross-site", "same-site"] {
        let exchange = browser.send(&mut world, TestRequest::get("/oidc/logout").header("sec-fetch-site", site));
        refused(&exchange, 403, "cross-site");
    }
    passed(&browser.visit(&mut world, "/"), "anna");
    location(&browser.send(&mut world, TestRequest::get("/oidc/logout").header("sec-fetch-site", "same-origin")));
}

fn logout_token(world: &World, more: &Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": "app", "sub": "anna", "sid": "s-1", "jti": "j-1", "iat": NOW, "exp": NOW + 120,
        "events": { EVENT: {} },
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    world.provider.borrow().sign(&claims)
}

fn post(world: &mut World, token: &str) -> TestExchange {
    let request = TestRequest::post("/oidc/backchannel-logout/main")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(query::form([("logout_token", token)]));
    world.plugin.request_with_body(request)
}

#[test]
fn the_provider_ends_a_session_or_all_sessions_of_a_user() {
    for sessions in ["cookie", "store"] {
        let mut world = World::new(json!({ "sessions": sessions, "backchannel-logout": true }));
        let mut first = logged_in(&mut world);
        world.provider.borrow_mut().claims = json!({ "sid": "s-2" });
        let mut second = logged_in(&mut world);
        world.provider.borrow_mut().claims = json!({ "sid": "s-3", "sub": "ben" });
        let mut other = logged_in(&mut world);

        let token = logout_token(&world, &json!({}));
        assert_eq!(post(&mut world, &token).reply().unwrap().status, 200);
        refused(&first.send(&mut world, TestRequest::get("/")), 401, "no-session");
        passed(&second.visit(&mut world, "/"), "anna");
        refused(&post(&mut world, &token), 400, "logout-token");

        let token = logout_token(&world, &json!({ "sid": null, "jti": "j-2" }));
        assert_eq!(post(&mut world, &token).reply().unwrap().status, 200);
        refused(&second.send(&mut world, TestRequest::get("/")), 401, "no-session");
        passed(&other.visit(&mut world, "/"), "ben");
        assert_eq!(world.host.counter("oidc_logouts", &[("provider", "main"), ("by", "provider")]), 2);

        // A login after that is a new session.
        world.advance(1);
        world.provider.borrow_mut().claims = json!({ "sid": "s-4" });
        passed(&logged_in(&mut world).visit(&mut world, "/"), "anna");
    }
}

#[test]
fn a_copy_of_a_cookie_is_refused_after_a_logout_where_sessions_are_looked_up() {
    let mut world = World::new(json!({ "backchannel-logout": true }));
    let mut browser = logged_in(&mut world);
    let mut copy = browser.clone();
    let mut other = logged_in(&mut world);
    location(&browser.visit(&mut world, "/oidc/logout"));
    refused(&copy.send(&mut world, TestRequest::get("/")), 401, "no-session");
    passed(&other.visit(&mut world, "/"), "anna");
}

#[test]
fn a_logout_token_that_is_not_valid_ends_nothing() {
    let mut world = World::new(json!({ "backchannel-logout": true }));
    let mut browser = logged_in(&mut world);
    for more in [
        json!({ "iss": "https://evil.example" }),
        json!({ "aud": "other" }),
        json!({ "exp": NOW - 60 }),
        json!({ "exp": null }),
        json!({ "iat": null }),
        json!({ "iat": NOW - 3_700 }),
        json!({ "exp": NOW + 25 * 3_600 }),
        json!({ "jti": null }),
        json!({ "events": null }),
        json!({ "events": { "other": {} } }),
        json!({ "events": { EVENT: true } }),
        json!({ "events": EVENT }),
        json!({ "nonce": "n" }),
        json!({ "sub": null, "sid": null }),
    ] {
        let token = logout_token(&world, &more);
        let exchange = post(&mut world, &token);
        assert_eq!(exchange.attribute("oidc.error"), Some("logout-token"), "{more}");
    }
    let token = logout_token(&world, &json!({}));
    let (text, _) = token.rsplit_once('.').unwrap();
    refused(&post(&mut world, &format!("{text}.{}", "A".repeat(86))), 400, "logout-token");
    let id_token = world.provider.borrow().sign(&json!({
        "iss": ISSUER, "aud": "app", "sub": "anna", "nonce": "n", "iat": NOW, "exp": NOW + 600,
    }));
    refused(&post(&mut world, &id_token), 400, "logout-token");
    for request in [
        TestRequest::post("/oidc/backchannel-logout/main").body(query::form([("logout_token", token.as_str())])),
        TestRequest::post("/oidc/backchannel-logout/main")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("logout_token={token}&logout_token={token}")),
        TestRequest::post("/oidc/backchannel-logout/main")
            .header("content-type", "application/x-www-form-urlencoded")
            .body("a=b"),
    ] {
        refused(&world.plugin.request_with_body(request), 400, "invalid-request");
    }
    refused(&world.plugin.request_with_body(TestRequest::get("/oidc/backchannel-logout/main")), 405, "method");
    passed(&browser.visit(&mut world, "/"), "anna");

    world.reload(json!({}));
    refused(&post(&mut world, &token), 404, "not-found");
}

#[test]
fn the_providers_session_is_that_of_the_login_or_that_of_the_last_refresh() {
    for refreshed in [json!(null), json!("s-9")] {
        for sid in ["s-1", "s-9"] {
            let mut world = World::new(json!({ "backchannel-logout": true }));
            world.provider.borrow_mut().generation = 1;
            let mut browser = logged_in(&mut world);
            world.advance(550);
            world.provider.borrow_mut().claims = json!({ "sid": refreshed });
            passed(&browser.visit(&mut world, "/"), "anna");
            let token = logout_token(&world, &json!({ "sub": null, "sid": sid, "iat": NOW + 550, "exp": NOW + 600 }));
            assert_eq!(post(&mut world, &token).reply().unwrap().status, 200);
            let exchange = browser.send(&mut world, TestRequest::get("/"));
            assert_eq!(exchange.reply().is_some(), sid == "s-1" || refreshed == sid, "{refreshed} {sid}");
        }
    }
}

#[test]
fn a_logout_token_whose_logout_failed_can_be_sent_again() {
    let mut world = World::new(json!({ "backchannel-logout": true }));
    let host = world.host.clone();
    let plugin = world.plugin.inner();
    host.run(|| {
        assert!(plugin.once("id", 60_000, || Err(Refusal::StoreUnavailable.into())).is_err());
        assert!(plugin.once("id", 60_000, || Ok(())).is_ok());
        assert!(plugin.once("id", 60_000, || Ok(())).is_err());
    });
}

#[test]
fn only_a_navigation_or_a_post_of_the_same_site_logs_out() {
    let mut world = World::new(json!({}));
    let mut browser = logged_in(&mut world);
    let get = || TestRequest::get("/oidc/logout");
    for request in [
        get().header("sec-fetch-site", "same-origin").header("sec-fetch-mode", "no-cors"),
        get().header("sec-fetch-site", "same-origin").header("sec-fetch-mode", "cors"),
        get().header("sec-fetch-mode", "navigate").header("sec-purpose", "prefetch;prerender"),
        get().header("purpose", "Prefetch"),
        get().header("referer", "https://evil.example/oidc/logout"),
        get().header("referer", "https://app.example.com.evil.example/"),
        get().header("referer", "http://app.example.com/"),
        TestRequest::post("/oidc/logout").header("origin", "https://evil.example"),
        TestRequest::post("/oidc/logout").header("origin", "null"),
    ] {
        refused(&browser.send(&mut world, request), 403, "cross-site");
    }
    passed(&browser.visit(&mut world, "/"), "anna");
    for request in [
        get().header("referer", "https://app.example.com:443/page?a#b"),
        TestRequest::post("/oidc/logout").header("origin", "https://app.example.com"),
        TestRequest::post("/oidc/logout").header("sec-fetch-site", "same-origin").header("sec-fetch-mode", "cors"),
    ] {
        let mut browser = logged_in(&mut world);
        location(&browser.send(&mut world, request));
        assert!(browser.cookies.is_empty());
    }
}
