//! Responses that never seem to end (Server-Sent Events) or to begin (long polling): each piece is with the client
//! before the next one is there, also behind plugins that look at heads only.

use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};

use crate::support::{
    Authority, Client, Gate, TestGateway, Upstream,
    client::Request,
    feed::{Feed, feed},
    in_time,
};

const NAME: &str = "api.example.com";

/// Plugins of every phase, none of which reads a body.
const PLUGINS: &str = "
  - { name: access-log, config: { sink: log } }
  - { name: rate-limit, config: { limit: 1000, per: 1m } }
  - { name: transform, config: { request: { set-headers: { x-a: b } }, response: { set-headers: { x-c: d } } } }";

async fn start(authority: &Authority, upstream: std::net::SocketAddr, settings: &str) -> TestGateway {
    let folder = TempDir::new().unwrap();
    authority.issue(folder.path(), "api", &[NAME]);
    let config = format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}, {{ address: '127.0.0.1:0', tls: {{ certificates: [{{ cert: api.pem, key: api.key }}] }} }}]
admin: {{ address: '127.0.0.1:0' }}
sinks: {{ log: {{ file: access.log }} }}
{settings}
upstreams: {{ it: {{ endpoints: ['http://{upstream}'] }} }}
global-plugins: {PLUGINS}
routes: [{{ name: all, upstream: it }}]
"
    );
    TestGateway::start_in(folder, &config).await
}

/// One for each way to speak to a gateway.
async fn clients(gateway: &TestGateway, authority: &Authority) -> [(&'static str, Client); 4] {
    let tls = gateway.addresses()[1];
    [
        ("HTTP/1.1", Client::connect(gateway.address()).await),
        ("HTTP/2", Client::connect_http2(gateway.address()).await),
        ("HTTP/1.1 over TLS", Client::connect_tls(tls, NAME, authority.client(&["http/1.1"])).await.unwrap()),
        ("HTTP/2 over TLS", Client::connect_tls(tls, NAME, authority.client(&["h2"])).await.unwrap()),
    ]
}

#[tokio::test]
async fn each_event_arrives_before_the_next_one_is_sent() {
    let (feeds, mut opened) = mpsc::unbounded_channel::<Feed<std::io::Error>>();
    let feeds = Arc::new(Mutex::new(feeds));
    let upstream = Upstream::serving(move |_| {
        let feeds = feeds.clone();
        async move {
            let (events, body) = feed();
            let _ = feeds.lock().await.send(events);
            Response::builder().header("content-type", "text/event-stream").body(body).expect("a response")
        }
    })
    .await;
    let authority = Authority::new();
    let gateway = start(&authority, upstream.address(), "").await;
    for (protocol, mut client) in clients(&gateway, &authority).await {
        let response = client.begin(Request::get("/events").header("accept", "text/event-stream")).await.unwrap();
        // The head is there before any event is.
        let events = in_time("the upstream being asked", opened.recv()).await.expect("it runs");
        assert_eq!(response.headers()["x-c"], "d");
        let mut body = response.into_body();
        for n in 0..20 {
            let event = format!("id: {n}\ndata: {}\n\n", "x".repeat(n * 37));
            assert!(events.data(event.clone()).await);
            let mut seen = Vec::new();
            while seen.len() < event.len() {
                let frame = in_time("an event", body.frame()).await.expect("no end").expect("no error");
                seen.extend(frame.into_data().expect("data"));
            }
            assert_eq!(String::from_utf8_lossy(&seen), event, "{protocol}");
        }
        // A client that leaves is noticed by whoever sends.
        drop((body, client));
        in_time("the upstream noticing", async {
            while events.data(": anybody there?\n\n").await {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_long_poll_waits_as_long_as_it_may_and_is_answered_at_once() {
    let upstream = Gate::answering("news").await;
    let authority = Authority::new();
    // That is for bodies under way, and not for who waits for the head.
    let gateway = start(&authority, upstream.address(), "timeouts: { body: 50ms }").await;
    for (protocol, mut client) in clients(&gateway, &authority).await {
        let answer = tokio::spawn(async move { client.send(Request::get("/poll")).await });
        upstream.arrivals(1).await;
        // Longer than that: here it is time itself that has to pass.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert!(!answer.is_finished(), "{protocol}");
        upstream.release(1);
        assert_eq!(in_time("the news", answer).await.unwrap().text(), "news", "{protocol}");
    }
}
