//! What a shared cache may keep and give (RFC 9111), over real sockets. The suite of http-tests/cache-tests asks more:
//! `cargo xtask cache-tests`.

use std::sync::{Arc, Mutex};

use http::{HeaderName, Method, Response as Answer, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::Behind;
use crate::support::{
    Client, Response, TestGateway, Upstream,
    client::{self, Request},
    upstream::{Body, full},
};

/// An upstream whose answers have the fields that the test sets last, and the number of the request as their body.
pub(super) struct Origin {
    pub(super) upstream: Upstream,
    fields: Arc<Mutex<Vec<(&'static str, String)>>>,
    seen: Arc<Mutex<Vec<http::request::Parts>>>,
}

impl Origin {
    pub(super) async fn with(fields: &[(&'static str, &str)]) -> Self {
        let fields = Arc::new(Mutex::new(owned(fields)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = (fields.clone(), seen.clone());
        let upstream = Upstream::serving(move |request: http::Request<Incoming>| {
            let (fields, seen) = shared.clone();
            async move {
                let head = request.into_parts().0;
                let fields = fields.lock().unwrap().clone();
                let etag = fields.iter().find(|(name, _)| *name == "etag").map(|(_, value)| value.clone());
                let known = head
                    .headers
                    .get("if-none-match")
                    .is_some_and(|known| Some(known.to_str().unwrap()) == etag.as_deref());
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(head);
                    seen.len()
                };
                let mut answer = Answer::new(full(format!("answer {number}")));
                if known {
                    answer = Answer::new(full(""));
                    *answer.status_mut() = StatusCode::NOT_MODIFIED;
                }
                for (name, value) in fields {
                    if name == "status" {
                        *answer.status_mut() = value.parse().unwrap();
                    } else {
                        answer.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
                    }
                }
                answer
            }
        })
        .await;
        Self { upstream, fields, seen }
    }

    /// From the next request on.
    pub(super) fn say(&self, fields: &[(&'static str, &str)]) {
        *self.fields.lock().unwrap() = owned(fields);
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// A field of the last request.
    pub(super) fn saw(&self, name: &str) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        seen.last()?.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    /// Path and query of the last request.
    pub(super) fn target(&self) -> String {
        self.seen.lock().unwrap().last().unwrap().uri.to_string()
    }

    /// A gateway before it that caches.
    pub(super) async fn cached(&self, config: &Value, more: &str) -> TestGateway {
        TestGateway::start(&self.yaml(config, more)).await
    }

    pub(super) fn yaml(&self, config: &Value, more: &str) -> String {
        self.yaml_with(&format!("[{{ name: cache, config: {config} }}]"), more)
    }

    /// With these plugins.
    pub(super) fn yaml_with(&self, plugins: &str, more: &str) -> String {
        format!(
            "upstreams: {{ origin: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: {plugins}, upstream: origin }}]
{more}
",
            self.upstream.address()
        )
    }
}

fn owned(fields: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// What the gateway says about where a response is from, without numbers.
pub(super) fn status(response: &Response) -> &str {
    response.header("cache-status").split("; ttl").next().unwrap()
}

pub(super) const HIT: &str = "gateway; hit";

#[tokio::test]
async fn a_fresh_response_is_given_again_with_its_head_and_its_age() {
    let origin = Origin::with(&[("cache-control", "max-age=60"), ("age", "10"), ("x-own", "1"), ("x-own", "2")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    let first = gateway.get("/a?b=c").await;
    assert_eq!(first.header("cache-status"), "gateway; fwd=uri-miss; fwd-status=200; stored");
    let second = gateway.get("/a?b=c").await;
    assert_eq!((second.text(), status(&second)), ("answer 1".to_owned(), HIT));
    assert_eq!(second.header_values("x-own"), ["1", "2"]);
    assert_eq!(second.header("content-length"), "8");
    assert!(second.header("age").parse::<u32>().unwrap() >= 10);
    assert_ne!(second.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(gateway.get("/a?b=d").await.text(), "answer 2");
    let metrics = gateway.metrics().await;
    for series in ["result=\"hit\"", "result=\"miss\""] {
        assert!(
            metrics
                .lines()
                .any(|line| line.starts_with("gateway_plugin_cache_requests_total{") && line.contains(series)),
            "{metrics}"
        );
    }
}

#[tokio::test]
async fn heads_parts_and_conditions_are_answered_from_the_whole() {
    let origin =
        Origin::with(&[("cache-control", "max-age=60"), ("etag", "\"v1\""), ("content-type", "text/plain")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    gateway.get("/").await;
    let head = gateway.send(Request::new(Method::HEAD, "/")).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.text()), (200, "8", String::new()));
    let part = gateway.send(Request::get("/").header("range", "bytes=-1")).await;
    assert_eq!((part.status.as_u16(), part.text(), part.header("content-range")), (206, "1".to_owned(), "bytes 7-7/8"));
    assert_eq!((part.header("content-length"), part.header("content-type")), ("1", "text/plain"));
    let beyond = gateway.send(Request::get("/").header("range", "bytes=8-")).await;
    assert_eq!(
        (beyond.status.as_u16(), beyond.header("content-range"), beyond.text()),
        (416, "bytes */8", String::new())
    );
    let known = gateway.send(Request::get("/").header("if-none-match", "\"v0\", W/\"v1\"")).await;
    assert_eq!((known.status.as_u16(), known.header("etag"), known.header("content-type")), (304, "\"v1\"", ""));
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_stale_response_is_confirmed_by_the_upstream_and_fresh_again() {
    let origin =
        Origin::with(&[("cache-control", "max-age=5"), ("age", "5"), ("etag", "\"v1\""), ("x-of", "200")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    gateway.get("/").await;
    origin.say(&[("cache-control", "max-age=60"), ("etag", "\"v1\""), ("x-of", "304")]);
    let confirmed = gateway.send(Request::get("/").header("if-none-match", "\"other\"")).await;
    assert_eq!((confirmed.status.as_u16(), confirmed.text()), (200, "answer 1".to_owned()));
    assert_eq!((status(&confirmed), confirmed.header("x-of"), confirmed.header("age")), (HIT, "304", "0"));
    assert_eq!(origin.saw("if-none-match").unwrap(), "\"v1\"");
    let fresh = gateway.get("/").await;
    assert_eq!((status(&fresh), fresh.header("x-of"), origin.requests()), (HIT, "304", 2));
}

#[tokio::test]
async fn a_client_that_has_what_is_confirmed_gets_304() {
    let origin = Origin::with(&[("cache-control", "no-cache"), ("etag", "\"v1\"")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    assert_eq!(gateway.get("/").await.text(), "answer 1");
    let known = gateway.send(Request::get("/").header("if-none-match", "\"v1\"")).await;
    assert_eq!((known.status.as_u16(), known.text()), (304, String::new()));
    assert_eq!(gateway.get("/").await.text(), "answer 1");
    origin.say(&[("cache-control", "no-cache"), ("etag", "\"v2\"")]);
    assert_eq!(gateway.get("/").await.text(), "answer 4");
    assert_eq!(gateway.get("/").await.text(), "answer 4");
}

#[tokio::test]
async fn a_confirmation_for_one_client_is_not_given_to_others() {
    let origin = Origin::with(&[("cache-control", "no-cache"), ("etag", "\"v1\"")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    gateway.get("/").await;
    origin.say(&[("cache-control", "no-cache"), ("etag", "\"v1\""), ("set-cookie", "session=anna")]);
    let hers = gateway.get("/").await;
    assert_eq!(
        (hers.status.as_u16(), hers.text(), hers.header("set-cookie")),
        (200, "answer 1".to_owned(), "session=anna")
    );
    origin.say(&[("cache-control", "no-cache"), ("etag", "\"v1\"")]);
    let others = gateway.get("/").await;
    assert_eq!((others.text(), others.header("set-cookie")), ("answer 3".to_owned(), ""));
}

#[tokio::test]
async fn what_the_upstream_did_not_think_of_as_kept_is_nobodys_who_has_a_cookie() {
    let origin = Origin::with(&[]).await;
    let gateway = origin.cached(&json!({ "default-ttl": "1m" }), "").await;
    let with_cookie = || Request::get("/").header("cookie", "session=anna");
    assert!(gateway.send(with_cookie()).await.header("cache-status").ends_with("detail=cookie"));
    gateway.get("/").await;
    assert_eq!(status(&gateway.send(with_cookie()).await), HIT);
}

#[tokio::test]
async fn what_is_somebodys_own_is_not_kept() {
    let origin = Origin::with(&[]).await;
    let gateway = origin.cached(&json!({ "default-ttl": "1m" }), "").await;
    for (fields, why) in [
        (&[("cache-control", "private, max-age=60")][..], "private"),
        (&[("cache-control", "no-store, max-age=60")], "no-store"),
        (&[("cache-control", "max-age=60"), ("set-cookie", "a=b")], "set-cookie"),
        (&[("cache-control", "max-age=60"), ("vary", "accept, *")], "vary"),
        (&[("cache-control", "max-age=0")], "not-fresh"),
        (&[("cache-control", "max-age=60"), ("status", "206")], "partial"),
        (&[("status", "500")], "status"),
    ] {
        origin.say(fields);
        for _ in 0..2 {
            let response = gateway.get("/").await;
            assert!(response.header("cache-status").ends_with(&format!("detail={why}")), "{:?}", response.headers);
        }
    }
    origin.say(&[("cache-control", "max-age=60")]);
}

#[tokio::test]
async fn variants_are_told_apart() {
    let origin = Origin::with(&[("cache-control", "max-age=60"), ("vary", "Accept-Encoding, X-Tenant")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    let with = async |encoding: &str| gateway.send(Request::get("/").header("accept-encoding", encoding)).await.text();
    assert_eq!(with("gzip, br").await, "answer 1");
    assert_eq!(with("br").await, "answer 2");
    assert_eq!(with("GZIP,br").await, "answer 1");
    assert_eq!(with("br").await, "answer 2");
    assert_eq!(gateway.get("/").await.text(), "answer 3");
    let tenant = gateway.send(Request::get("/").header("x-tenant", "t")).await;
    assert_eq!(tenant.header("cache-status"), "gateway; fwd=vary-miss; fwd-status=200; stored");
}

#[tokio::test]
async fn clients_may_ask_for_more_or_less_unless_the_operator_says_no() {
    let origin = Origin::with(&[("cache-control", "max-age=60"), ("age", "20")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    let ask = |directives: &str| Request::get("/").header("cache-control", directives);
    let nothing = gateway.send(ask("only-if-cached")).await;
    assert_eq!((nothing.status.as_u16(), origin.requests()), (504, 0));
    nothing.problem();
    gateway.get("/").await;
    assert_eq!(status(&gateway.send(ask("only-if-cached")).await), HIT);
    for directives in ["no-cache", "max-age=10", "min-fresh=50"] {
        let fetched = gateway.send(ask(directives)).await;
        assert!(fetched.header("cache-status").contains("fwd=request"), "{directives}: {:?}", fetched.headers);
    }
    let unseen = gateway.send(ask("no-store")).await;
    assert_eq!((unseen.header("cache-status"), origin.requests()), ("", 5));
    origin.say(&[("cache-control", "max-age=60"), ("age", "70")]);
    gateway.send(ask("no-cache")).await;
    assert_eq!(status(&gateway.send(ask("max-stale=30")).await), HIT);
    assert_eq!(origin.requests(), 6);

    let gateway = origin.cached(&json!({ "client-directives": "ignore" }), "").await;
    origin.say(&[("cache-control", "max-age=60")]);
    gateway.get("/").await;
    assert_eq!(status(&gateway.send(ask("no-cache, no-store")).await), HIT);
}

#[tokio::test]
async fn a_change_makes_what_was_kept_invalid() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    gateway.get("/things/1").await;
    gateway.get("/things").await;
    origin.say(&[("status", "400")]);
    gateway.send(Request::post("/things/1", "?")).await;
    assert_eq!(status(&gateway.get("/things/1").await), HIT);
    origin.say(&[("status", "201"), ("location", "/things/1")]);
    gateway.send(Request::post("/things", "!")).await;
    origin.say(&[("cache-control", "max-age=60")]);
    assert_eq!(gateway.get("/things").await.text(), "answer 5");
    assert_eq!(gateway.get("/things/1").await.text(), "answer 6");
}

#[tokio::test]
async fn a_get_with_a_body_is_nobody_elses() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let gateway = origin.cached(&json!({}), "").await;
    let fat = || Request::get("/search").body(full_of_client("{\"query\":1}"));
    assert_eq!(gateway.send(fat()).await.text(), "answer 1");
    assert_eq!(gateway.send(fat()).await.text(), "answer 2");
    assert_eq!(gateway.get("/search").await.text(), "answer 3");
    assert_eq!(gateway.send(fat()).await.text(), "answer 4");
}

fn full_of_client(text: &'static str) -> client::Body {
    use http_body_util::BodyExt;
    http_body_util::Full::new(bytes::Bytes::from_static(text.as_bytes())).boxed()
}

#[tokio::test]
async fn keys_are_the_operators() {
    let origin = Origin::with(&[("cache-control", "max-age=60")]).await;
    let key =
        json!({ "host": false, "query": { "except": ["utm_source"] }, "headers": ["x-lang"], "cookies": ["tier"] });
    let gateway = origin.cached(&json!({ "key": key }), "").await;
    let get = async |target: &str, host: &str, lang: &str, cookie: &str| {
        let request = Request::get(target).header("host", host).header("x-lang", lang).header("cookie", cookie);
        gateway.send(request).await.text()
    };
    assert_eq!(get("/?utm_source=a&b=1", "one.example", "de", "tier=gold; x=1").await, "answer 1");
    assert_eq!(get("/?b=1&utm_source=b", "two.example", "de", "x=2;tier=gold").await, "answer 1");
    assert_eq!(get("/?b=1", "two.example", "en", "tier=gold").await, "answer 2");
    assert_eq!(get("/?b=1", "two.example", "de", "tier=free").await, "answer 3");
}

#[tokio::test]
async fn what_is_too_large_passes_by() {
    let body = |request: http::Request<Incoming>| async move {
        let size: usize = request.uri().path()[1..].parse().unwrap();
        let mut answer: Answer<Body> = Answer::new(full(vec![b'x'; size]));
        answer.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
        answer
    };
    let upstream = Upstream::serving(body).await;
    let yaml = format!(
        "upstreams: {{ origin: {{ endpoints: ['http://{}'] }} }}
limits: {{ cache-bytes: 1MiB }}
routes: [{{ name: all, plugins: [{{ name: cache, config: {{ max-body-bytes: 2000000 }} }}], upstream: origin }}]
",
        upstream.address()
    );
    let mut gateway = TestGateway::start(&yaml).await;
    for (size, kept) in [(60_000, true), (70_000, false), (3_000_000, false)] {
        let target = format!("/{size}");
        for _ in 0..2 {
            assert_eq!(gateway.get(&target).await.body.len(), size);
        }
        assert_eq!(status(&gateway.get(&target).await) == HIT, kept, "{size}");
    }
    // What is kept outlives a reload, as far as there is room.
    let before = upstream.requests();
    gateway.reload(&yaml).await.unwrap();
    assert_eq!(status(&gateway.get("/60000").await), HIT);
    gateway.reload(&yaml.replace("1MiB", "0B")).await.unwrap();
    assert_eq!(gateway.get("/60000").await.body.len(), 60_000);
    assert_eq!(upstream.requests(), before + 1);
}

#[tokio::test]
async fn the_operator_purges_by_key_prefix_and_tag() {
    let origin = Origin::with(&[("cache-control", "max-age=60"), ("cache-tag", "shoes, summer")]).await;
    let gateway = origin.cached(&json!({ "key": { "host": false } }), "").await;
    let admin = gateway.admin();
    let purge = async |order: &str| {
        let response =
            Client::connect(admin).await.send(Request::new(Method::DELETE, &format!("/api/v1/cache/{order}"))).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["purged"].as_u64().unwrap()
    };
    for target in ["/a", "/a/b?c=1", "/d"] {
        gateway.get(target).await;
    }
    assert_eq!(purge("cache?key=%2Fa%2Fb%3Fc%3D1").await, 1);
    assert_eq!(status(&gateway.get("/a").await), HIT);
    assert_eq!(purge("cache?prefix=/a").await, 1);
    assert_eq!(purge("other?all").await, 0);
    assert_eq!(status(&gateway.get("/d").await), HIT);
    assert_eq!(purge("cache?tag=summer").await, 1);
    assert_eq!(gateway.get("/d").await.text(), "answer 4");
    // A confirmation that says nothing of tags leaves them as they are.
    origin.say(&[("cache-control", "no-cache"), ("etag", "\"v1\""), ("cache-tag", "winter")]);
    gateway.get("/e").await;
    origin.say(&[("cache-control", "no-cache"), ("etag", "\"v1\"")]);
    assert_eq!(gateway.get("/e").await.text(), "answer 5");
    assert_eq!(purge("cache?tag=winter").await, 1);
    let unclear = Client::connect(admin).await.send(Request::new(Method::DELETE, "/api/v1/cache/cache")).await;
    assert_eq!(unclear.status, 400);
}

#[tokio::test]
async fn a_wrong_configuration_is_told_at_its_place() {
    let behind = Behind::plugin("cache", &json!({})).await;
    assert_eq!(behind.get("/").await.status, 200);
    let yaml = behind_yaml(
        &json!({ "name": "1 a", "lock-timeout": "2m", "key": { "headers": ["a b"] }, "default-ttl": "0s" }),
    );
    let error = TestGateway::try_start(&yaml).await.err().unwrap().to_string();
    for place in ["/name", "/lock-timeout", "/key/headers/0", "/default-ttl"] {
        assert!(error.contains(place.rsplit('/').next().unwrap()), "{place} in {error}");
    }
}

fn behind_yaml(config: &Value) -> String {
    format!(
        "upstreams: {{ origin: {{ endpoints: ['http://127.0.0.1:1'] }} }}
routes: [{{ name: all, plugins: [{{ name: cache, config: {config} }}], upstream: origin }}]
"
    )
}
