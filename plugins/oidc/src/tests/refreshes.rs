//! Refreshing tokens, once for all requests.

use std::{cell::RefCell, rc::Rc};

use plugin_sdk::{Reply, http_client::CallError, testkit::TestRequest};
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
    for claims in [json!({ "sub": "ben" }), json!({ "aud": "other" }), json!({ "exp": 1 })] {
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
                    // In this test the locks of the cache are those of another gateway.
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

/// A browser that comes back after its tokens have expired sends many requests at a time.
#[test]
fn requests_wait_for_the_one_that_refreshes() {
    let mut world = world("cookie", json!({}));
    let browser = logged_in(&mut world);
    world.advance(650);
    let mut first = Browser::clone(&browser);
    passed(&first.visit(&mut world, "/"), "anna");
    let mut second = browser.clone();
    passed(&second.send(&mut world, TestRequest::post("/")), "anna");
    assert_eq!(refreshed(&world), 1);
}
