//! Events of event streams.

use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use tokio::sync::{Mutex, mpsc};

use super::{CALLS, gateway, gateway_with, logged, messenger};
use crate::support::{
    Client, TestGateway, Upstream,
    client::Request,
    counted::{failed, metric},
    feed::{Feed, feed},
    in_time,
};

type Events = Feed<std::io::Error>;

/// An upstream whose event streams the test writes.
async fn streaming() -> (Upstream, mpsc::UnboundedReceiver<Events>) {
    let (feeds, opened) = mpsc::unbounded_channel();
    let feeds = Arc::new(Mutex::new(feeds));
    let upstream = Upstream::serving(move |request: http::Request<_>| {
        let feeds = feeds.clone();
        async move {
            let (events, body) = feed();
            let _ = feeds.lock().await.send(events);
            let mut response = Response::builder().header("content-type", "text/event-stream; charset=utf-8");
            if let Some(coding) = request.headers().get("accept-encoding") {
                response = response.header("x-accepted", coding);
            }
            if request.uri().path() == "/encoded" {
                response = response.header("content-encoding", "gzip");
            }
            response.body(body).expect("a response")
        }
    })
    .await;
    (upstream, opened)
}

struct Listening {
    events: Events,
    body: hyper::body::Incoming,
    seen: String,
    _client: Client,
}

async fn listen(gateway: &TestGateway, opened: &mut mpsc::UnboundedReceiver<Events>, http2: bool) -> Listening {
    let mut client = match http2 {
        true => Client::connect_http2(gateway.address()).await,
        false => Client::connect(gateway.address()).await,
    };
    let request = Request::get("/").header("accept", "text/event-stream").header("accept-encoding", "gzip, br");
    let response = client.begin(request).await.unwrap();
    assert_eq!(response.headers()["x-accepted"], "identity");
    let events = in_time("the upstream being asked", opened.recv()).await.expect("it runs");
    Listening { events, body: response.into_body(), seen: String::new(), _client: client }
}

impl Listening {
    async fn send(&self, text: &str) {
        assert!(self.events.data(text.to_owned()).await);
    }

    /// The next bytes are these.
    async fn sees(&mut self, text: &str) {
        while self.seen.len() < text.len() {
            let frame = in_time("an event", self.body.frame()).await.expect("no end").expect("no error");
            self.seen.push_str(&String::from_utf8_lossy(&frame.into_data().expect("data")));
        }
        assert_eq!(self.seen, text);
        self.seen.clear();
    }

    /// Whether it ends in good order.
    async fn ends(&mut self) -> bool {
        loop {
            match in_time("the end", self.body.frame()).await {
                None => return true,
                Some(Err(_)) => return false,
                // HTTP/2 may end a body with an empty frame.
                Some(Ok(frame)) if frame.data_ref().is_some_and(bytes::Bytes::is_empty) => {}
                Some(Ok(frame)) => panic!("{frame:?}"),
            }
        }
    }
}

#[tokio::test]
async fn events_are_changed_dropped_and_added_and_all_else_passes_as_it_came() {
    let (upstream, mut opened) = streaming().await;
    let gateway = gateway(upstream.address(), "", &messenger("a", ""), "").await;
    for http2 in [false, true] {
        let mut stream = listen(&gateway, &mut opened, http2).await;
        stream.send(": hello\nretry: 7\n").await;
        stream.sees(": hello\nretry: 7\n").await;
        // In pieces, and there with its empty line.
        for piece in ["id: 1\r", "\nevent: news\r\nda", "ta: x\r\n", ": comment\r\ndata: y\r\n\r\n"] {
            stream.send(piece).await;
        }
        stream.sees(": comment\r\nid: 1\nevent: news\ndata: x\ndata: ya\n\n").await;
        stream.send("data:a:pass\nunknown: 1\n\n").await;
        stream.sees("data:a:pass\nunknown: 1\n\n").await;
        stream.send("data: a:drop\n\ndata: a:two\n\n").await;
        stream.sees("data: one\n\ndata: two\n\n").await;
        // Half an event is none.
        stream.send("data: half").await;
        drop(std::mem::replace(&mut stream.events, feed().0));
        assert!(stream.ends().await);
    }
    logged(&gateway, "messages 4 -").await;
    let calls = format!("{CALLS}{{plugin=\"messenger\",route=\"filtered\",phase=\"message\"}}");
    assert_eq!(metric(&gateway, &calls).await, 8);
}

#[tokio::test]
async fn events_pass_the_last_plugin_first() {
    let (upstream, mut opened) = streaming().await;
    let plugins = format!("{}, {}", messenger("a", ""), messenger("b", ""));
    let gateway = gateway(upstream.address(), "", &plugins, "").await;
    let mut stream = listen(&gateway, &mut opened, false).await;
    stream.send("data: x\n\n").await;
    stream.sees("data: xba\n\n").await;
}

#[tokio::test]
async fn a_plugin_ends_a_stream_and_one_that_fails_breaks_it_off() {
    let (upstream, mut opened) = streaming().await;
    let gateway = gateway(upstream.address(), "", &messenger("a", ""), "    limits: { buffer-bytes: 1KiB }").await;
    let mut stream = listen(&gateway, &mut opened, false).await;
    stream.send("data: a:close-events\n\n").await;
    stream.sees("data: a:close-events\n\n").await;
    assert!(stream.ends().await);
    let large = format!("data: {}", "x".repeat(1100));
    // An event has no sender to reply to, and is no text message.
    for (times, event) in
        (1..).zip(["data: a:fail\n\n", "data: a:trap\n\n", "data: a:reply\n\n", "data: a:binary\n\n", &large])
    {
        let mut stream = listen(&gateway, &mut opened, false).await;
        stream.send("data: x\n\n").await;
        stream.sees("data: xa\n\n").await;
        stream.send(event).await;
        assert!(!stream.ends().await, "{event}");
        failed(&gateway, "plugin-failed", times).await;
    }
}

#[tokio::test]
async fn an_event_stream_that_is_encoded_or_not_granted_has_no_messages() {
    let (upstream, mut opened) = streaming().await;
    let plugin = messenger("a", "");
    let gateway = gateway(upstream.address(), "", &plugin, "").await;
    assert_eq!(gateway.get("/encoded").await.status, 500);
    let granted = "grants: { sinks: [log], body: { read: [request] } }";
    let gateway = gateway_with(upstream.address(), granted, &plugin, "").await;
    assert_eq!(gateway.get("/").await.status, 500);
    while opened.try_recv().is_ok() {}
}
