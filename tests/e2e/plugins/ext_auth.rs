//! A service that is asked whether a request may pass, over real sockets.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Response as Answer, StatusCode};
use serde_json::{Value, json};

use super::yaml;
use crate::support::{Gate, RawUpstream, TestGateway, Upstream, client::Request, upstream::full};

/// Lets in anna, and remembers what it was told.
struct Authorizer {
    upstream: Upstream,
    told: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Authorizer {
    async fn start() -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let shared = told.clone();
        let upstream = Upstream::serving(move |request| {
            shared.lock().unwrap().push(request.headers().clone());
            let user = request.headers().get("authorization").cloned();
            async move {
                let mut answer = Answer::new(full("who are you?"));
                let (status, header, value) = match user.as_ref().map(HeaderValue::as_bytes) {
                    Some(b"anna") => (StatusCode::OK, "x-user", "anna"),
                    Some(b"broken") => (StatusCode::INTERNAL_SERVER_ERROR, "x-user", "root"),
                    Some(b"session") => (StatusCode::OK, "x-user", "bea"),
                    Some(b"zipped") => (StatusCode::FORBIDDEN, "content-encoding", "gzip"),
                    Some(b"browser") => (StatusCode::FOUND, "location", "https://login.example/"),
                    _ => (StatusCode::UNAUTHORIZED, "www-authenticate", "Bearer"),
                };
                *answer.status_mut() = status;
                answer.headers_mut().insert(header, HeaderValue::from_static(value));
                answer.headers_mut().insert("x-internal", HeaderValue::from_static("secret"));
                if user.is_some_and(|user| user == "session") {
                    for (name, value) in [("x-user", "of two"), ("set-cookie", "session=2"), ("set-cookie", "seen=1")] {
                        answer.headers_mut().append(name, HeaderValue::from_static(value));
                    }
                }
                answer
            }
        })
        .await;
        Self { upstream, told }
    }

    /// A gateway that asks it.
    async fn gateway(&self, echo: &Upstream, more: Value) -> TestGateway {
        gateway(self.upstream.address(), echo, more).await
    }
}

async fn gateway(service: std::net::SocketAddr, echo: &Upstream, more: Value) -> TestGateway {
    let mut config = json!({ "upstream": "authorizer", "path": "/check?x=1", "set-headers": ["x-user"] });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let plugins = format!("[{{ name: ext-auth, config: {config} }}]");
    let grants = "plugins: { ext-auth: { grants: { upstreams: [authorizer] } } }";
    let service = format!("upstreams: {{ authorizer: {{ endpoints: ['http://{service}'] }},");
    TestGateway::start(&yaml(echo, &plugins, grants).replacen("upstreams: {", &service, 1)).await
}

fn from(user: &str) -> Request {
    Request::post("/orders?page=2", b"a body".to_vec()).header("authorization", user).header("x-user", "root")
}

#[tokio::test]
async fn a_consent_lets_in_and_tells_the_upstream_who_it_is() {
    let (authorizer, echo) = (Authorizer::start().await, Upstream::echo().await);
    let gateway = authorizer.gateway(&echo, json!({})).await;
    assert_eq!(authorizer.upstream.requests(), 0, "nothing is asked before a request comes");
    let response = gateway.send(from("anna")).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.upstream_saw("x-user"), ["anna"]);
    assert!(response.upstream_saw("x-internal").is_empty());
    let told = authorizer.told.lock().unwrap()[0].clone();
    assert_eq!(
        (&told["x-forwarded-method"], &told["x-forwarded-uri"]),
        (&"POST".parse().unwrap(), &"/orders?page=2".parse().unwrap())
    );
    assert_eq!(told["x-forwarded-for"], "127.0.0.1");
    assert!(!told.contains_key("x-user"));
}

#[tokio::test]
async fn a_refusal_is_the_service_s_own() {
    let (authorizer, echo) = (Authorizer::start().await, Upstream::echo().await);
    let gateway = authorizer.gateway(&echo, json!({ "cache-ttl": "1m" })).await;
    let response = gateway.send(from("ben")).await;
    assert_eq!((response.status.as_u16(), response.text().as_str()), (401, "who are you?"));
    assert_eq!((response.header("www-authenticate"), response.header("x-internal")), ("Bearer", ""));
    let response = gateway.send(from("browser")).await;
    assert_eq!((response.status.as_u16(), response.header("location")), (302, "https://login.example/"));
    assert_eq!(echo.requests(), 0);
    for _ in 0..10 {
        assert_eq!(gateway.send(from("anna")).await.status, 200);
    }
    assert_eq!((echo.requests(), authorizer.upstream.requests()), (10, 3), "a consent is kept");
    assert_eq!(gateway.send(from("ben")).await.status, 401);
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_plugin_ext_auth_requests_total{"), "{metrics}");
}

#[tokio::test]
async fn a_consent_gives_the_client_its_cookies_and_the_upstream_all_values() {
    let (authorizer, echo) = (Authorizer::start().await, Upstream::echo().await);
    let gateway = authorizer.gateway(&echo, json!({ "cache-ttl": "1m" })).await;
    for cookies in [&["session=2", "seen=1"][..], &[]] {
        let response = gateway.send(from("session")).await;
        assert_eq!(response.upstream_saw("x-user"), ["bea", "of two"]);
        assert_eq!(response.header_values("set-cookie"), cookies, "only who the service was asked about gets them");
    }
    let none = authorizer.gateway(&echo, json!({ "client-headers-on-success": [] })).await;
    assert!(none.send(from("session")).await.header_values("set-cookie").is_empty());
}

#[tokio::test]
async fn a_refusal_says_how_its_body_is_encoded() {
    let (authorizer, echo) = (Authorizer::start().await, Upstream::echo().await);
    let refused = authorizer.gateway(&echo, json!({})).await.send(from("zipped")).await;
    assert_eq!((refused.status.as_u16(), refused.header("content-encoding")), (403, "gzip"));
}

#[tokio::test]
async fn a_question_has_room_for_all_that_a_client_may_send() {
    let authorizer = RawUpstream::answering(b"HTTP/1.1 200 OK\r\nx-user: anna\r\ncontent-length: 0\r\n\r\n").await;
    let service = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let config =
        json!({ "upstream": "authorizer", "headers": ["x-many"], "set-headers": ["x-user"], "on-failure": "allow" });
    let yaml = format!(
        "plugins: {{ ext-auth: {{ grants: {{ upstreams: [authorizer] }} }} }}
upstreams: {{ authorizer: {{ endpoints: ['http://{}'] }}, raw: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: ext-auth, config: {config} }}], upstream: raw }}]",
        authorizer.address(),
        service.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    let request = (0..98).fold(Request::get("/"), |request, _| request.header("x-many", "1"));
    assert_eq!(gateway.send(request.header("x-user", "root")).await.status, 200);
    assert_eq!(authorizer.received().matches("x-many: 1\r\n").count(), 98, "it is asked");
    assert!(service.received().contains("x-user: anna\r\n") && !service.received().contains("root"));
}

#[tokio::test]
async fn without_an_answer_it_is_as_configured() {
    let (authorizer, echo) = (Authorizer::start().await, Upstream::echo().await);
    let deny = authorizer.gateway(&echo, json!({})).await;
    let refused = deny.send(from("broken")).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    assert_eq!(refused.problem()["detail"], "nobody can say at present whether the request may pass");

    let silent = Gate::answering("never").await;
    let allow = gateway(silent.address(), &echo, json!({ "timeout": "50ms", "on-failure": "allow" })).await;
    let passed = allow.send(from("anna")).await;
    assert_eq!(passed.status, 200);
    assert!(passed.upstream_saw("x-user").is_empty(), "nobody has said who it is");
}
