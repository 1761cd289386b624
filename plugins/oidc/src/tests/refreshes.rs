//! Refreshing tokens, once for all requests.

use std::{cell::RefCell, rc::Rc, time::Duration};

use plugin_sdk::{
    Reply,
    http_client::CallError,
    store::{Bucket, Scope},
    testkit::{TestExchange, TestRequest, TestResponse},
};
use serde_json::{Value, json};

use super::support::{Browser, World, location, logged_in, passed, refused};

fn world(sessions: &str, more: Value) -> World {
    let mut more = more;
    more["sessions"] = sessions.into();
    let world = World::new(more);
    world.provider.borrow_mut().generation = 1;
    world
}

fn refreshed(world: &World) -> usize {
    world.provider.borrow().grants.iter().filter(|grant| grant["grant_type"] == "refresh_token").count()
}

#[test]
fn tokens_are_refreshed_before_they_expire_and_a_new_refresh_token_is_kept() {
    for sessions in ["cookie", "store"] {
        let mut world = world(sessions, json!({ "forward-access-token": true }));
        let mut browser = logged_in(&mut world);
        world.advance(539);
        passed(&browser.visit(&mut world, "/"), "anna");
        assert_eq!(refreshed(&world), 0);
        for round in 1..=5 {
            world.advance(if round == 1 { 1 } else { 540 });
            world.provider.borrow_mut().claims = json!({ "nonce": null, "sid": "s-1", "round": round });
            let exchange = browser.visit(&mut world, "/");
            passed(&exchange, "anna");
            assert_eq!(exchange.header("authorization"), Some(format!("Bearer at-{}", round + 1).as_str()));
            assert_eq!(refreshed(&world), round);
            passed(&browser.visit(&mut world, "/"), "anna");
            assert_eq!(refreshed(&world), round, "once");
        }
    }
}

#[test]
fn requests_with_the_old_cookie_get_the_refreshed_session() {
    let mut world = world("cookie", json!({}));
    let mut browser = logged_in(&mut world);
    let mut late = browser.clone();
    world.advance(550);
    passed(&browser.visit(&mut world, "/"), "anna");
    passed(&late.visit(&mut world, "/"), "anna");
    assert_eq!(refreshed(&world), 1);
    assert_ne!(late.cookies, logged_in(&mut world).cookies);
    world.advance(400);
    passed(&late.visit(&mut world, "/"), "anna");
    // Another instance knows it as well.
    world.reload(json!({ "sessions": "cookie" }));
    passed(&browser.visit(&mut world, "/"), "anna");
    assert_eq!(refreshed(&world), 1);
}

#[test]
fn a_refresh_token_that_is_refused_ends_the_session_for_all_requests() {
    for sessions in ["cookie", "store"] {
        let mut world = world(sessions, json!({}));
        let mut browser = logged_in(&mut world);
        let mut late = browser.clone();
        world.advance(550);
        world.provider.borrow_mut().generation = 9;
        assert!(location(&browser.visit(&mut world, "/")).starts_with("https://id.example.com/auth?"));
        refused(&late.send(&mut world, TestRequest::get("/")), 401, "no-session");
        assert_eq!(refreshed(&world), 1);
        assert_eq!(world.host.counter("oidc_refreshes", &[("provider", "main"), ("result", "refused")]), 1);
    }
}

#[test]
fn while_the_provider_fails_tokens_are_used_until_they_expire() {
    for sessions in ["cookie", "store"] {
        for answer in [Ok(Reply::new(503)), Err(CallError::Timeout), Ok(Reply::new(400))] {
            let mut world = world(sessions, json!({}));
            let mut browser = logged_in(&mut world);
            world.provider.borrow_mut().answer = Some(answer);
            world.advance(550);
            for _ in 0..5 {
                passed(&browser.visit(&mut world, "/"), "anna");
            }
            assert_eq!(refreshed(&world), 1, "the provider is not asked by each request");
            world.advance(49);
            passed(&browser.visit(&mut world, "/"), "anna");
            assert_eq!(refreshed(&world), 2);
            world.advance(20);
            let exchange = browser.visit(&mut world, "/");
            assert!(matches!(exchange.reply().unwrap().status, 502 | 503));
            world.provider.borrow_mut().answer = None;
            world.advance(20);
            passed(&browser.visit(&mut world, "/"), "anna");
        }
    }
}

#[test]
fn a_refreshed_id_token_is_verified() {
    for claims in
        [json!({ "sub": "ben" }), json!({ "aud": "other" }), json!({ "exp": 1 }), json!({ "nonce": "another" })]
    {
        let mut world = world("cookie", json!({}));
        let mut browser = logged_in(&mut world);
        world.advance(601);
        world.provider.borrow_mut().claims = claims;
        refused(&browser.visit(&mut world, "/"), 502, "id-token");
    }
}

#[test]
fn a_session_is_not_refreshed_beyond_its_lifetime() {
    let mut world = world("cookie", json!({ "lifetime": "15m" }));
    let mut browser = logged_in(&mut world);
    world.advance(550);
    passed(&browser.visit(&mut world, "/"), "anna");
    world.advance(350);
    refused(&browser.send(&mut world, TestRequest::get("/")), 401, "no-session");
    assert_eq!(refreshed(&world), 1);
}

/// Requests of other instances that come while one refreshes.
#[test]
fn of_requests_at_a_time_one_refreshes() {
    for sessions in ["cookie", "store"] {
        for (seconds, status) in [(550, None), (650, Some(503))] {
            let mut world = world(sessions, json!({}));
            let mut browser = logged_in(&mut world);
            world.advance(seconds);
            // An instance in another gateway, with the same store.
            let other: Rc<RefCell<Option<Option<u16>>>> = Rc::default();
            let provider = Rc::clone(&world.provider);
            let (seen, host) = (Rc::clone(&other), world.host.clone());
            let request = browser.with_cookies(TestRequest::get("/"));
            let config = super::support::config(json!({ "sessions": sessions }));
            world.host.answer_calls(move |call| {
                if call.path_with_query == "/token" && seen.borrow().is_none() {
                    let mut plugin = host.plugin::<crate::Oidc>(config.clone()).expect("valid");
                    // It waits if its tokens have expired, until that has taken too long.
                    let exchange = plugin.request(request.clone());
                    *seen.borrow_mut() = Some(exchange.reply().map(|reply| reply.status));
                }
                provider.borrow_mut().answer(call)
            });
            passed(&browser.visit(&mut world, "/"), "anna");
            assert_eq!(*other.borrow(), Some(status), "{sessions} {seconds}");
            assert_eq!(refreshed(&world), 1);
        }
    }
}

#[test]
fn requests_with_an_expired_cookie_get_the_session_that_another_refreshed() {
    let mut world = world("cookie", json!({}));
    let browser = logged_in(&mut world);
    world.advance(650);
    let mut first = Browser::clone(&browser);
    passed(&first.visit(&mut world, "/"), "anna");
    let mut second = browser.clone();
    passed(&second.send(&mut world, TestRequest::post("/")), "anna");
    assert_eq!(refreshed(&world), 1);
}

/// Lets another instance with the same store handle a request while the first one waits for the token endpoint.
fn meanwhile(world: &World, config: Value, seconds: u64, request: TestRequest) -> Rc<RefCell<Option<TestExchange>>> {
    let other: Rc<RefCell<Option<TestExchange>>> = Rc::default();
    let (seen, host, provider) = (Rc::clone(&other), world.host.clone(), Rc::clone(&world.provider));
    world.host.answer_calls(move |call| {
        if call.path_with_query == "/token" && seen.borrow().is_none() {
            let mut plugin = host.plugin::<crate::Oidc>(super::support::config(config.clone())).expect("valid");
            host.advance(std::time::Duration::from_secs(seconds));
            let exchange = plugin.request(request.clone());
            *seen.borrow_mut() = Some(exchange);
        }
        provider.borrow_mut().answer(call)
    });
    other
}

#[test]
fn a_logout_during_a_refresh_stays_in_effect() {
    let mut world = world("store", json!({}));
    let mut browser = logged_in(&mut world);
    let mut copy = browser.clone();
    world.advance(550);
    let logout = browser.with_cookies(TestRequest::get("/oidc/logout"));
    let other = meanwhile(&world, json!({ "sessions": "store" }), 0, logout);
    refused(&browser.send(&mut world, TestRequest::get("/")), 401, "no-session");
    assert_eq!(other.borrow().as_ref().unwrap().reply().unwrap().status, 303);
    refused(&copy.send(&mut world, TestRequest::get("/")), 401, "no-session");
    assert_eq!(refreshed(&world), 1);
}

#[test]
fn while_one_request_refreshes_others_do_not_encrypt_the_old_session_anew() {
    for sessions in ["cookie", "store"] {
        let mut world = world(sessions, json!({}));
        let mut browser = logged_in(&mut world);
        let more = json!({ "sessions": sessions, "keys": ["new-key", "key"] });
        world.reload(more.clone());
        world.advance(550);
        let request = browser.with_cookies(TestRequest::get("/"));
        let other = meanwhile(&world, more, 0, request);
        passed(&browser.visit(&mut world, "/"), "anna");
        let exchange = other.borrow_mut().take().unwrap();
        passed(&exchange, "anna");
        let response = exchange.with_response(TestResponse::new(200));
        assert!(response.response_header_values("set-cookie").is_empty());
        // The session is the refreshed one.
        world.advance(400);
        passed(&browser.visit(&mut world, "/"), "anna");
        assert_eq!(refreshed(&world), 1);
    }
}

#[test]
fn on_a_route_that_does_not_pass_the_access_token_on_a_refresh_keeps_it() {
    for sessions in ["cookie", "store"] {
        let forwarding = || json!({ "forward-access-token": true });
        let mut world = world(sessions, forwarding());
        let mut browser = logged_in(&mut world);
        world.reload(json!({ "sessions": sessions }));
        world.advance(550);
        assert_eq!(browser.visit(&mut world, "/").header("authorization"), None);
        world.reload(json!({ "sessions": sessions, "forward-access-token": true }));
        assert_eq!(browser.visit(&mut world, "/").header("authorization"), Some("Bearer at-2"));
    }
}

#[test]
fn without_the_providers_keys_the_refresh_token_is_not_used() {
    let mut first = world("cookie", json!({}));
    let mut browser = logged_in(&mut first);
    let mut world = world("cookie", json!({}));
    world.advance(550);
    let provider = Rc::clone(&world.provider);
    world.host.answer_calls(move |call| match call.path_with_query.as_str() {
        "/jwks" => Ok(Reply::new(503)),
        _ => provider.borrow_mut().answer(call),
    });
    passed(&browser.visit(&mut world, "/"), "anna");
    assert_eq!(refreshed(&world), 0);
}

#[test]
fn refreshed_claims_are_told_from_those_before() {
    let mut world = world("cookie", json!({}));
    let mut browser = logged_in(&mut world);
    let mut token = |world: &mut World| browser.visit(world, "/").attribute("oidc.token").unwrap().to_owned();
    let before = token(&mut world);
    assert_eq!(token(&mut world), before);
    world.advance(550);
    let after = token(&mut world);
    assert!(after != before && after.len() == 16);
}

#[test]
fn while_a_provider_is_slow_no_other_instance_refreshes() {
    let mut world = world("store", json!({}));
    let mut browser = logged_in(&mut world);
    world.advance(650);
    let request = browser.with_cookies(TestRequest::get("/"));
    let tokens = |world: &World| world.host.calls().iter().filter(|call| call.path_with_query == "/token").count();
    let before = tokens(&world);
    // Metadata and keys may have taken as long as they can, and the tokens take nearly as long.
    let other = meanwhile(&world, json!({ "sessions": "store" }), 14, request);
    passed(&browser.visit(&mut world, "/"), "anna");
    refused(other.borrow().as_ref().unwrap(), 503, "refresh-failed");
    assert_eq!(tokens(&world) - before, 1);
}

#[test]
fn a_request_with_expired_tokens_waits_for_the_one_that_refreshes() {
    for sessions in ["cookie", "store"] {
        let mut world = world(sessions, json!({}));
        let browser = logged_in(&mut world);
        world.advance(650);
        // Another gateway refreshes. Its request ends while this one waits.
        let key = world.host.run(|| crate::seal::digest(&["refresh", super::support::ISSUER, "app", "rt-2"])).unwrap();
        let key = format!("refresh:{key}");
        let bucket = Bucket::new("oidc");
        let lease = world.host.run(|| bucket.acquire(&key, 1, Duration::from_secs(60), Scope::Shared)).unwrap();
        let lease = lease.lease.expect("nothing else holds it");
        let mut other =
            world.host.plugin::<crate::Oidc>(super::support::config(json!({ "sessions": sessions }))).unwrap();
        let request = browser.with_cookies(TestRequest::get("/"));
        world.host.while_waiting(move || {
            bucket.release(&key, &lease).unwrap();
            passed(&other.request(request.clone()), "anna");
        });
        let mut late = browser.clone();
        passed(&late.visit(&mut world, "/"), "anna");
        assert_eq!(refreshed(&world), 1, "{sessions}");
        passed(&late.visit(&mut world, "/"), "anna");
        assert_eq!(refreshed(&world), 1, "{sessions}");
    }
}

#[test]
fn a_refresh_token_that_stays_the_same_is_used_again_as_soon_as_it_is_time() {
    for sessions in ["cookie", "store"] {
        let mut world = world(sessions, json!({}));
        world.provider.borrow_mut().rotates = false;
        world.provider.borrow_mut().expires_in = 10;
        let mut browser = logged_in(&mut world);
        for round in 1..=3 {
            world.advance(11);
            passed(&browser.visit(&mut world, "/"), "anna");
            assert_eq!(refreshed(&world), round, "{sessions}");
        }
    }
}

#[test]
fn a_session_that_is_set_after_a_logout_is_of_no_use() {
    let mut world = world("cookie", json!({}));
    let mut browser = logged_in(&mut world);
    world.advance(550);
    // Its response arrives after the one to the logout.
    let exchange = browser.send(&mut world, TestRequest::get("/"));
    passed(&exchange, "anna");
    assert_eq!(browser.visit(&mut world, "/oidc/logout").reply().unwrap().status, 303);
    assert!(browser.cookies.is_empty());
    browser.keep(exchange);
    assert!(browser.cookies.contains_key("__Host-oidc"));
    refused(&browser.send(&mut world, TestRequest::get("/")), 401, "no-session");
}
