//! What a stored response is kept under, and which responses are stored where the upstream says nothing about it.

use serde_json::{Value, json};

use super::cache::{HIT, Origin, status};
use crate::support::{TestGateway, Upstream, client::Request};

async fn with_key(origin: &Origin, key: Value) -> TestGateway {
    origin.cached(&json!({ "key": key }), "").await
}

#[tokio::test]
async fn http_and_https_have_responses_of_their_own() {
    // Like a service that redirects to HTTPS, whose redirect would lead those who have followed it to itself.
    let origin = Origin::with(&[("status", "301"), ("location", "https://api.example/a")]).await;
    let trusting = "trusted-proxies: [127.0.0.1]";
    let by = |scheme: &str| Request::get("/a").header("host", "api.example").header("x-forwarded-proto", scheme);
    let gateway = origin.cached(&json!({ "default-ttl": "1m" }), trusting).await;
    assert_eq!(gateway.send(by("http")).await.status, 301);
    origin.say(&[]);
    let secure = gateway.send(by("https")).await;
    assert_eq!((secure.status.as_u16(), secure.text()), (200, "answer 2".to_owned()));
    assert_eq!(gateway.send(by("http")).await.status, 301);
    assert_eq!(status(&gateway.send(by("https")).await), HIT);
    // What anybody else says of the scheme does not count.
    let gateway = origin.cached(&json!({ "default-ttl": "1m" }), "").await;
    gateway.send(by("http")).await;
    assert_eq!(status(&gateway.send(by("https")).await), HIT);
    let gateway = origin.cached(&json!({ "default-ttl": "1m", "key": { "scheme": false } }), trusting).await;
    gateway.send(by("http")).await;
    assert_eq!(status(&gateway.send(by("https")).await), HIT);
}

#[tokio::test]
async fn routes_to_different_upstreams_share_no_responses() {
    let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
    let cache = "{ name: cache, config: { default-ttl: 60s } }";
    let strip = |prefix: &str| {
        format!("{{ name: transform, config: {{ request: {{ path: {{ strip-prefix: {prefix} }} }} }} }}")
    };
    let gateway = TestGateway::start(&format!(
        "upstreams:
  one: {{ endpoints: ['http://{}'] }}
  two: {{ endpoints: ['http://{}'] }}
routes:
  - {{ name: tenants, match: {{ path: '/t/{{*rest}}', headers: {{ x-tenant: b }} }}, plugins: [{cache}], upstream: two }}
  - {{ name: others, match: {{ path: '/t/{{*rest}}' }}, plugins: [{cache}], upstream: one }}
  - {{ name: a, match: {{ path: '/a/{{*rest}}' }}, plugins: [{}, {cache}], upstream: one }}
  - {{ name: b, match: {{ path: '/b/{{*rest}}' }}, plugins: [{}, {cache}], upstream: two }}
",
        one.address(),
        two.address(),
        strip("/a"),
        strip("/b"),
    ))
    .await;
    for _ in 0..2 {
        assert_eq!(gateway.send(Request::get("/t/1").header("x-tenant", "b")).await.text(), "two");
        assert_eq!(gateway.get("/t/1").await.text(), "one");
        assert_eq!(gateway.get("/a/x").await.text(), "one");
        assert_eq!(gateway.get("/b/x").await.text(), "two");
    }
    assert_eq!(status(&gateway.get("/b/x").await), HIT);
}

#[tokio::test]
async fn a_parameter_cannot_hide_from_the_key_behind_its_encoding() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let gateway = with_key(&origin, json!({ "query": { "only": ["id"] } })).await;
    assert_eq!(gateway.get("/p?%69d=evil").await.text(), "answer 1");
    assert_eq!(gateway.get("/p").await.text(), "answer 2");
    assert_eq!(gateway.get("/p?id=evil&%69d=good").await.text(), "answer 3");
    assert_eq!(gateway.get("/p?id=evil").await.text(), "answer 4");
    assert_eq!(status(&gateway.get("/p?x=1&%69d=evil").await), HIT);
}

#[tokio::test]
async fn what_is_not_in_the_key_does_not_reach_the_upstream() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    for (query, target, seen) in [
        (json!({ "only": ["id"] }), "/p?x=1&id=2&ID=3&i%64=4&y", "/p?id=2&i%64=4"),
        (json!({ "except": ["utm"] }), "/p?%75tm=evil&id=2&utm", "/p?id=2"),
        (json!("none"), "/p?x=evil", "/p"),
        (json!("all"), "/p?x=1&&", "/p?x=1&&"),
    ] {
        let gateway = with_key(&origin, json!({ "query": query })).await;
        gateway.get(target).await;
        assert_eq!(origin.target(), seen);
        assert_eq!(status(&gateway.get(target).await), HIT);
        // A change is no resource: it goes on as it came.
        gateway.send(Request::post(target, "!")).await;
        assert_eq!(origin.target(), target);
    }
}

#[tokio::test]
async fn every_value_of_a_header_and_of_a_cookie_is_in_the_key() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let gateway = with_key(&origin, json!({ "headers": ["x-lang"], "cookies": ["tier"] })).await;
    let get = async |fields: &[(&str, &str)]| {
        let request = fields.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value));
        gateway.send(request).await.text()
    };
    assert_eq!(get(&[("x-lang", "de")]).await, "answer 1");
    assert_eq!(get(&[("x-lang", "de"), ("x-lang", "evil")]).await, "answer 2");
    assert_eq!(get(&[("x-lang", "de,evil")]).await, "answer 3");
    assert_eq!(get(&[("cookie", "tier=gold")]).await, "answer 4");
    assert_eq!(get(&[("cookie", "tier=gold; tier=evil")]).await, "answer 5");
    assert_eq!(get(&[("cookie", "tier=gold"), ("cookie", "a=b; tier =evil")]).await, "answer 5");
    assert_eq!(get(&[("cookie", "a=b"), ("cookie", "tier=gold")]).await, "answer 4");
    assert_eq!(get(&[("x-lang", "de")]).await, "answer 1");
}

#[tokio::test]
async fn a_header_that_services_merge_with_one_of_the_key_does_not_reach_them() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let gateway = with_key(&origin, json!({ "headers": ["x-lang", "x_tier", "x-both-of", "x_both-of"] })).await;
    let evil = || Request::get("/").header("x_lang", "evil").header("x-tier", "evil").header("x_other", "stays");
    assert_eq!(gateway.send(evil().header("if_none_match", "*")).await.text(), "answer 1");
    for name in ["x_lang", "x-tier", "if_none_match"] {
        assert_eq!(origin.saw(name), None, "{name}");
    }
    assert_eq!(origin.saw("x_other").as_deref(), Some("stays"));
    assert_eq!(status(&gateway.get("/").await), HIT);
    // Beside the one that is in the key.
    assert_eq!(gateway.send(evil().header("x-lang", "de")).await.text(), "answer 2");
    assert_eq!((origin.saw("x-lang").as_deref(), origin.saw("x_lang")), (Some("de"), None));
    assert_eq!(gateway.send(Request::get("/").header("x-lang", "de")).await.text(), "answer 2");
    // Both are in the key.
    let both = |one: &str| Request::get("/").header("x-both-of", "1").header("x_both-of", one);
    assert_eq!(gateway.send(both("2")).await.text(), "answer 3");
    assert_eq!((origin.saw("x-both-of").as_deref(), origin.saw("x_both-of").as_deref()), (Some("1"), Some("2")));
    assert_eq!(gateway.send(both("3")).await.text(), "answer 4");
}

#[tokio::test]
async fn a_response_that_varies_by_a_header_in_another_spelling_is_not_stored() {
    let origin = Origin::with(&[("cache-control", "max-age=60"), ("vary", "accept-encoding, X-Lang")]).await;
    let gateway = with_key(&origin, json!({})).await;
    let evil = || Request::get("/").header("x_lang", "evil");
    assert_eq!(gateway.send(evil()).await.text(), "answer 1");
    assert_eq!(gateway.get("/").await.text(), "answer 2");
    assert_eq!(status(&gateway.get("/").await), HIT);
    // Now it is known what responses vary by: what was stored is given, and what is fetched is fetched without the other spelling.
    assert_eq!(gateway.send(evil()).await.text(), "answer 2");
    assert_eq!(gateway.send(evil().header("x-lang", "de")).await.text(), "answer 3");
    assert_eq!(origin.saw("x_lang"), None);
    assert_eq!(gateway.send(Request::get("/").header("x-lang", "de")).await.text(), "answer 3");
}

#[tokio::test]
async fn a_cookie_that_services_merge_with_one_of_the_key_is_in_the_key() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let gateway = with_key(&origin, json!({ "cookies": ["my_lang"] })).await;
    let get = async |cookie: &str| gateway.send(Request::get("/").header("cookie", cookie)).await.text();
    assert_eq!(get("my_lang=de").await, "answer 1");
    assert_eq!(get("my.lang=evil; my_lang=de").await, "answer 2");
    assert_eq!(get("MY_LANG=evil").await, "answer 3");
    assert_eq!(get("my_lang=de; other=1").await, "answer 1");
}

#[tokio::test]
async fn what_a_client_can_provoke_is_stored_only_if_somebody_says_so() {
    let origin = Origin::with(&[]).await;
    let stored = async |gateway: &TestGateway, target: &str| {
        gateway.get(target).await;
        status(&gateway.get(target).await) == HIT
    };
    // Given stale, they would be stored as well.
    let config = json!({ "default-ttl": "1m", "stale-while-revalidate": "1m", "stale-if-error": "1m" });
    let gateway = origin.cached(&config, "").await;
    for (code, expected) in [
        ("200", true),
        ("203", true),
        ("301", true),
        ("308", true),
        ("302", false),
        ("400", false),
        ("404", false),
        ("405", false),
        ("410", false),
        ("414", false),
        ("500", false),
        ("501", false),
    ] {
        origin.say(&[("status", code)]);
        assert_eq!(stored(&gateway, &format!("/{code}")).await, expected, "{code}");
        origin.say(&[("status", code), ("cache-control", "max-age=60")]);
        assert!(stored(&gateway, &format!("/said/{code}")).await, "{code}");
    }
    let gateway = origin.cached(&json!({ "default-ttl": "1m", "default-ttl-statuses": [404] }), "").await;
    for (code, expected) in [("404", true), ("200", false)] {
        origin.say(&[("status", code)]);
        assert_eq!(stored(&gateway, &format!("/{code}")).await, expected, "{code}");
    }
    let wrong = origin.yaml(&json!({ "default-ttl-statuses": [200, 206] }), "");
    let error = TestGateway::try_start(&wrong).await.err().unwrap().to_string();
    assert!(error.contains("from 200 to 599, and not 206 or 304"), "{error}");
}
