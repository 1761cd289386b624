//! Requests that two parsers could understand differently: each is refused, or goes on in the one form that
//! cannot be misunderstood. What reaches the upstream is compared byte by byte.

mod chunks;
mod framing;
mod heads;
mod http2;

use crate::support::{
    TestGateway,
    client::Request,
    strict::{End, Message, RawClient, StrictUpstream},
};

/// What an attacker wants the upstream to take for a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// What the gateway adds to every request.
const ADDED: [&str; 8] = [
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "forwarded",
    "cdn-loop",
];

struct Scene {
    gateway: TestGateway,
    upstream: StrictUpstream,
}

impl Scene {
    /// One worker, so that all requests would share an upstream connection that went out of step.
    async fn new() -> Self {
        let upstream = StrictUpstream::start().await;
        let gateway = TestGateway::start(&format!(
            "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
timeouts: {{ header-read: 300ms, body: 300ms }}
upstreams: {{ strict: {{ endpoints: ['http://{}'], host: preserve }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: strict }}]
",
            upstream.address()
        ))
        .await;
        Self { gateway, upstream }
    }

    /// The answer is this problem, the connection closes, and the upstream sees no request.
    async fn refuses(&self, status: u16, request: impl AsRef<[u8]>) {
        let case = String::from_utf8_lossy(request.as_ref()).into_owned();
        let mut client = RawClient::connect(self.gateway.address()).await;
        let response = client.say(request.as_ref()).await.response().await;
        assert_eq!(response.status(), status, "{case:?}");
        is_problem(&response, &case);
        assert_eq!(response.value("connection"), "close", "{case:?}");
        client.is_closed().await;
        assert_eq!(self.seen().await, Vec::<String>::new(), "{case:?}");
    }

    /// One answer from the upstream, which gets exactly this; `\n` stands for the end of a line.
    async fn forwards(&self, request: impl AsRef<[u8]>, expected: &str) {
        let case = String::from_utf8_lossy(request.as_ref()).into_owned();
        let mut client = RawClient::connect(self.gateway.address()).await;
        let response = client.say(request).await.response().await;
        assert_eq!((response.status(), response.text()), (200, "ok".to_owned()), "{case:?}");
        assert_eq!(self.seen().await, [expected], "{case:?}");
    }

    /// As `forwards`, and whatever follows the request on its connection is never looked at.
    async fn forwards_and_closes(&self, request: impl AsRef<[u8]>, expected: &str) {
        let case = String::from_utf8_lossy(request.as_ref()).into_owned();
        let mut client = RawClient::connect(self.gateway.address()).await;
        let response = client.say(request).await.response().await;
        assert_eq!((response.status(), response.text()), (200, "ok".to_owned()), "{case:?}");
        client.is_closed().await;
        assert_eq!(self.seen().await, [expected], "{case:?}");
    }

    /// Whole requests that the upstream has got, up to one that is sent now: what was before it on its
    /// connection must have been complete.
    async fn seen(&self) -> Vec<String> {
        assert_eq!(self.gateway.send(Request::get("/after").header("host", "after")).await.status, 200);
        let mut seen = Vec::new();
        for message in self.upstream.take_seen() {
            match message {
                Ok(message) => seen.push(plain(message)),
                // A request that was refused half-way.
                Err(End::CutOff(part)) => assert!(part.starts_with("POST /x HTTP/1.1\r\n"), "{part:?}"),
                Err(end) => panic!("{end:?}"),
            }
        }
        assert_eq!(seen.pop().as_deref(), Some("GET /after HTTP/1.1\nhost: after\n\n"));
        seen
    }
}

fn plain(message: Message) -> String {
    for name in ADDED {
        assert!(!message.value(name).is_empty(), "no {name} in {message}");
    }
    message.without(&ADDED).to_string()
}

fn is_problem(response: &Message, case: &str) {
    assert_eq!(response.value("content-type"), "application/problem+json", "{case:?}");
    let problem: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(problem["status"], response.status(), "{case:?}");
    assert_eq!(problem["request-id"], response.value("x-request-id"), "{case:?}");
}

/// A request with a body that a second request follows.
fn post(fields: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n{body}{SMUGGLED}")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n")
}
