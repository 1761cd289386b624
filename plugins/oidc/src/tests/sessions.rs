//! Sessions in cookies and in the store.

use plugin_sdk::{Reply, testkit::TestRequest};
use serde_json::{Value, json};

use super::support::{Browser, ISSUER, NOW, World, location, logged_in, passed, refused};

/// The same for both kinds of sessions.
fn both(test: impl Fn(&dyn Fn(Value) -> Value)) {
    for sessions in ["cookie", "store"] {
        test(&|mut more| {
            more["sessions"] = sessions.into();
            more
        });
    }
}

#[test]
fn a_session_ends_when_its_tokens_do_and_at_the_latest_after_its_lifetime() {
    both(|with| {
        let mut world = World::new(with(json!({})));
        let mut browser = logged_in(&mut world);
        world.advance(599);
        passed(&browser.visit(&mut world, "/"), "anna");
        world.advance(1);
        assert!(location(&browser.visit(&mut world, "/")).starts_with("https://id.example.com/auth?"));

        let mut world = World::new(with(json!({ "lifetime": "5m" })));
        let mut browser = logged_in(&mut world);
        world.advance(299);
        passed(&browser.visit(&mut world, "/"), "anna");
        world.advance(1);
        refused(&browser.send(&mut world, TestRequest::get("/")), 401, "no-session");
    });
}

#[test]
fn a_cookie_that_was_changed_or_is_under_another_name_is_as_good_as_none() {
    both(|with| {
        let mut world = World::new(with(json!({})));
        let browser = logged_in(&mut world);
        let value = browser.cookies["__Host-oidc"].clone();
        let end = value.len() - 5;
        let changed =
            format!("{}{}{}", &value[..end], if &value[end..=end] == "A" { "B" } else { "A" }, &value[end + 1..]);
        for value in [
            changed,
            String::new(),
            "1.main.".into(),
            "9.main.x".into(),
            value.replacen("main", "other", 1),
            value[..40].into(),
        ] {
            let mut other = browser.clone();
            other.cookies.insert("__Host-oidc".into(), value.clone());
            refused(&other.send(&mut world, TestRequest::get("/")), 401, "no-session");
        }
        world.reload(with(json!({ "cookie": "oidc-2" })));
        let mut moved = Browser::default();
        moved.cookies.insert("__Host-oidc-2".into(), value.clone());
        let exchange = moved.send(&mut world, TestRequest::get("/"));
        assert_eq!(exchange.reply().is_some(), with(json!({}))["sessions"] == "cookie", "the name binds the cookie");
    });
}

#[test]
fn a_session_of_another_provider_is_as_good_as_none() {
    both(|with| {
        let mut world = World::new(with(json!({})));
        let mut browser = logged_in(&mut world);
        for (member, value) in [("issuer", "https://other.example"), ("client-id", "other"), ("name", "other")] {
            let mut provider = json!({ "name": "main", "issuer": ISSUER, "upstream": "id", "client-id": "app" });
            provider[member] = value.into();
            world.reload(with(json!({ "providers": [provider] })));
            refused(&browser.send(&mut world, TestRequest::get("/")), 401, "no-session");
        }
        world.reload(with(json!({})));
        passed(&browser.visit(&mut world, "/"), "anna");
    });
}

#[test]
fn a_session_under_an_old_key_is_valid_and_encrypted_anew() {
    both(|with| {
        let mut world = World::new(with(json!({})));
        let mut browser = logged_in(&mut world);
        world.reload(with(json!({ "keys": ["new-key", "key"] })));
        passed(&browser.visit(&mut world, "/"), "anna");
        world.reload(with(json!({ "keys": ["new-key"] })));
        passed(&browser.visit(&mut world, "/"), "anna");
        world.reload(with(json!({ "keys": ["key"] })));
        refused(&browser.send(&mut world, TestRequest::get("/")), 401, "no-session");
    });
}

#[test]
fn a_large_session_takes_several_cookies_and_a_larger_one_is_refused() {
    let mut world = World::new(json!({}));
    let groups: Vec<String> = (0..400).map(|i| format!("group-{i:05}")).collect();
    world.provider.borrow_mut().claims = json!({ "groups": groups });
    let mut browser = logged_in(&mut world);
    assert!(browser.cookies.len() > 2);
    passed(&browser.visit(&mut world, "/"), "anna");
    browser.cookies.remove("__Host-oidc-1");
    refused(&browser.send(&mut world, TestRequest::get("/")), 401, "no-session");
    let mut browser = logged_in(&mut world);
    // A smaller session removes the cookies that it does not need.
    world.provider.borrow_mut().claims = json!({});
    browser.login(&mut world);
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["__Host-oidc", "__Host-oidc-id"]);

    world.provider.borrow_mut().claims = json!({ "groups": vec!["x".repeat(100); 200] });
    let state = browser.begin(&mut world, "/oidc/login")["state"].clone();
    refused(&browser.come_back(&mut world, &state, "large"), 502, "session-too-large");
    world.reload(json!({ "sessions": "store" }));
    let mut browser = logged_in(&mut world);
    assert_eq!(browser.cookies.len(), 1);
    passed(&browser.visit(&mut world, "/"), "anna");
}

#[test]
fn without_the_store_sessions_in_cookies_go_on() {
    let mut world = World::new(json!({}));
    let mut browser = logged_in(&mut world);
    world.host.set_store_available(false);
    passed(&browser.visit(&mut world, "/"), "anna");
    for more in [json!({ "sessions": "store" }), json!({ "backchannel-logout": true })] {
        world.host.set_store_available(true);
        world.reload(more);
        let mut browser = logged_in(&mut world);
        world.host.set_store_available(false);
        let reply = refused(&browser.visit(&mut world, "/"), 503, "store-unavailable");
        assert_eq!(reply.header("retry-after").as_deref(), Some("5"));
    }
}

#[test]
fn the_user_and_the_session_are_told_to_later_plugins() {
    let more = json!({
        "forward-access-token": true,
        "claims-to-headers": { "x-user": "sub", "x-role": "/realm/roles", "x-none": "none" },
        "claims-to-attributes": { "oidc.groups": "groups" },
    });
    let mut world = World::new(more);
    world.provider.borrow_mut().claims = json!({ "realm": { "roles": ["a", "b,c"] }, "groups": ["x"] });
    let mut browser = logged_in(&mut world);
    let request = TestRequest::get("/").header("x-none", "forged").header("authorization", "Bearer forged");
    let exchange = browser.send(&mut world, request);
    passed(&exchange, "anna");
    assert_eq!(exchange.header_values("authorization"), [b"Bearer at-1"]);
    assert_eq!((exchange.header("x-role"), exchange.header("x-none")), (Some("a,b%2Cc"), None));
    assert_eq!(exchange.attribute("oidc.groups"), Some("x"));
    let session = exchange.attribute("oidc.session").unwrap().to_owned();
    let other = logged_in(&mut world).visit(&mut world, "/");
    assert_ne!(other.attribute("oidc.session"), Some(session.as_str()));

    world.provider.borrow_mut().claims = json!({ "sub": "anna\r\nx-role: admin" });
    let mut browser = logged_in(&mut world);
    refused(&browser.visit(&mut world, "/"), 403, "unusable-claim");
}

#[test]
fn the_cookie_of_a_stored_session_is_a_random_identifier() {
    let mut world = World::new(json!({ "sessions": "store" }));
    let cookie = logged_in(&mut world).cookies["__Host-oidc"].clone();
    assert!(cookie.starts_with("1.main.") && cookie.len() == "1.main.".len() + 43, "{cookie}");
    assert_ne!(logged_in(&mut world).cookies["__Host-oidc"], cookie);
}

#[test]
fn the_access_token_is_passed_on_only_where_that_is_configured() {
    both(|with| {
        let forwarding = || with(json!({ "forward-access-token": true }));
        let mut world = World::new(forwarding());
        let mut browser = logged_in(&mut world);
        let request = || TestRequest::get("/").header("authorization", "Bearer own");
        world.reload(with(json!({})));
        let exchange = browser.send(&mut world, request());
        passed(&exchange, "anna");
        assert_eq!(exchange.header_values("authorization"), [b"Bearer own"], "the session's token stays here");
        world.reload(forwarding());
        let exchange = browser.send(&mut world, request());
        assert_eq!(exchange.header_values("authorization"), [b"Bearer at-1"]);
    });
}

#[test]
fn where_the_access_token_is_passed_on_a_session_without_one_is_over() {
    both(|with| {
        let forwarding = || with(json!({ "forward-access-token": true }));
        let mut world = World::new(with(json!({})));
        let mut browser = logged_in(&mut world);
        world.reload(forwarding());
        let request = || TestRequest::get("/").header("authorization", "Bearer own");
        refused(&browser.send(&mut world, request()), 401, "no-session");

        // The callback of a login may be on another route.
        let state = browser.begin(&mut world, "/page")["state"].clone();
        world.reload(with(json!({})));
        assert_eq!(location(&browser.come_back(&mut world, &state, "c")), "/page");
        world.reload(forwarding());
        let exchange = browser.send(&mut world, request());
        passed(&exchange, "anna");
        assert_eq!(exchange.header_values("authorization"), [b"Bearer at-2"]);
    });
}

#[test]
fn an_anonymous_client_passes_no_token_of_its_own_where_tokens_are_passed_on() {
    for (forward, expected) in [(true, None), (false, Some("Bearer own"))] {
        let mut world = World::new(json!({ "required": false, "forward-access-token": forward }));
        let exchange = world.plugin.request(TestRequest::get("/").header("authorization", "Bearer own"));
        assert_eq!((exchange.reply(), exchange.header("authorization")), (None, expected));
    }
}

#[test]
fn a_session_that_cannot_be_refreshed_is_kept_until_its_tokens_expire() {
    both(|with| {
        for (generation, seconds) in [(0, 600), (1, 8 * 3600)] {
            let mut world = World::new(with(json!({})));
            world.provider.borrow_mut().generation = generation;
            let mut browser = Browser::default();
            let state = browser.begin(&mut world, "/")["state"].clone();
            let exchange = browser.come_back(&mut world, &state, "c");
            let set = exchange.reply().unwrap().header("set-cookie").unwrap().into_owned();
            assert!(set.contains(&format!("; Max-Age={seconds};")), "{set}");
        }
    });
}

#[test]
fn a_session_that_is_too_large_for_the_store_is_refused_and_does_not_make_the_plugin_fail() {
    let mut world = World::new(json!({ "sessions": "store", "forward-access-token": true }));
    let mut browser = Browser::default();
    let parameters = browser.begin(&mut world, "/");
    let claims = json!({
        "iss": ISSUER, "aud": "app", "sub": "anna", "nonce": parameters["nonce"], "iat": NOW, "exp": NOW + 600,
    });
    let id_token = world.provider.borrow().sign(&claims);
    let tokens = json!({ "token_type": "Bearer", "access_token": "a".repeat(1_100_000), "id_token": id_token });
    world.provider.borrow_mut().answer = Some(Ok(Reply::new(200).with_json(&tokens).expect("JSON")));
    refused(&browser.come_back(&mut world, &parameters["state"], "c"), 502, "session-too-large");
}
