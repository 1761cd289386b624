//! Uploads that take their time: each part of a body has a time of its own, and the service's begins when it has it all.

use std::{net::SocketAddr, time::Duration};

use http::{Method, Response};
use http_body_util::combinators::BoxBody;

use super::{connect, mirror};
use crate::support::{
    Gate, RawUpstream, TestGateway, Upstream,
    client::{Body, Request},
    feed::{Feed, feed},
    guests, in_time,
};

/// A request may take so long.
const REQUEST: Duration = Duration::from_millis(300);

async fn gateway(upstream: SocketAddr, timeouts: &str, route: &str) -> TestGateway {
    TestGateway::start(&format!(
        "timeouts: {{ {timeouts} }}
upstreams: {{ it: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, upstream: it{route} }}]
"
    ))
    .await
}

/// A body of which a part comes every third of the time that a request may take, for several times as long.
fn steady() -> Body {
    let (sending, body) = feed();
    tokio::spawn(async move {
        for _ in 0..12 {
            tokio::time::sleep(REQUEST / 3).await;
            if !sending.data("part ").await {
                return;
            }
        }
    });
    body
}

fn upload(body: BoxBody<bytes::Bytes, std::convert::Infallible>) -> Request {
    Request::new(Method::POST, "/").body(body)
}

#[tokio::test]
async fn a_steady_upload_may_take_longer_than_a_request() {
    let upstream = Upstream::echo().await;
    for timeouts in ["request: 300ms", "request: 1h"] {
        // The service's own time is counted the same way.
        let own = if timeouts == "request: 1h" { ", timeouts: { response: 300ms }" } else { "" };
        let yaml = format!(
            "timeouts: {{ {timeouts} }}
upstreams: {{ it: {{ endpoints: ['http://{}']{own} }} }}
routes: [{{ name: all, upstream: it }}]
",
            upstream.address()
        );
        let gateway = TestGateway::start(&yaml).await;
        for http2 in [false, true] {
            let response = connect(&gateway, http2).await.send(upload(steady())).await;
            assert_eq!(response.status, 200, "{timeouts} {http2} {}", response.text());
            assert_eq!(response.json()["body"], "part ".repeat(12));
        }
    }
}

#[tokio::test]
async fn a_plugin_may_wait_for_a_steady_upload() {
    let upstream = Upstream::echo().await;
    let guest = guests::waiter("upstreams: [it]", "");
    let yaml = format!(
        "timeouts: {{ request: 300ms }}
plugins: {{ {guest} }}
upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, upstream: it, plugins: [{{ name: waiter, config: {{ do: read-request }} }}] }}]
",
        upstream.address()
    );
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    let response = connect(&gateway, false).await.send(upload(steady())).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

#[tokio::test]
async fn a_service_that_has_the_whole_upload_has_its_own_time_to_answer() {
    let upstream = Gate::answering("late").await;
    let gateway = gateway(upstream.address(), "request: 300ms", "").await;
    let response = connect(&gateway, false).await.send(upload(steady())).await;
    assert_eq!(response.problem()["status"], 504);
}

#[tokio::test]
async fn a_service_that_reads_nothing_of_an_upload_is_too_late() {
    // Its sockets' buffers are full at some time, and the client is not to blame.
    let upstream = RawUpstream::on_head(|stream| async move {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Some(stream)
    })
    .await;
    let yaml = format!(
        "limits: {{ body-bytes: 1GiB }}
timeouts: {{ request: 300ms, body: 1h }}
upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, upstream: it }}]
",
        upstream.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    for http2 in [false, true] {
        let (sending, body) = feed();
        let uploading = tokio::spawn(async move { while sending.data(vec![b'x'; 1 << 20]).await {} });
        let response = connect(&gateway, http2).await.begin(upload(body)).await.expect("a response");
        assert_eq!(response.status(), 504, "{http2}");
        drop(response);
        uploading.abort();
    }
}

#[tokio::test]
async fn an_upload_that_stalls_is_the_clients_fault() {
    let upstream = Upstream::echo().await;
    let gateway = gateway(upstream.address(), "request: 1h, body: 300ms", "").await;
    let (sending, body) = feed();
    assert!(sending.data("half").await);
    let response = connect(&gateway, true).await.send(upload(body)).await;
    assert_eq!(response.problem()["status"], 408);
    drop(sending);
}

#[tokio::test]
async fn a_route_can_do_without_a_time_limit() {
    let upstream = Gate::answering("late").await;
    let gateway = gateway(upstream.address(), "request: 100ms", ", timeouts: { request: off }").await;
    let mut client = connect(&gateway, false).await;
    let asking = tokio::spawn(async move { client.send(Request::get("/")).await });
    upstream.arrivals(1).await;
    tokio::time::sleep(REQUEST).await;
    upstream.release(1);
    assert_eq!(asking.await.expect("no panic").text(), "late");
}

#[tokio::test]
async fn in_a_stream_both_ways_either_side_may_be_silent_while_the_other_is_not() {
    // What the client sends comes back.
    let upstream = mirror().await;
    let gateway = gateway(upstream.address(), "request: 1h, body: 300ms", "").await;
    let mut client = connect(&gateway, true).await;
    let (sending, body): (Feed<_>, Body) = feed();
    let mut receiving = client.begin(upload(body)).await.expect("a response").into_body();
    for _ in 0..12 {
        tokio::time::sleep(REQUEST / 3).await;
        assert!(sending.data("part ").await);
        assert_eq!(super::piece(&mut receiving).await.expect("it goes on"), "part ");
    }
    drop(sending);

    // The client says nothing more, and the service goes on.
    let upstream = Upstream::serving(|request| async move {
        let (sending, body) = feed();
        tokio::spawn(async move {
            let _request = request;
            for _ in 0..12 {
                tokio::time::sleep(REQUEST / 3).await;
                if !sending.data("event ").await {
                    return;
                }
            }
        });
        Response::new(body)
    })
    .await;
    let gateway = self::gateway(upstream.address(), "request: 1h, body: 300ms", "").await;
    let mut client = connect(&gateway, true).await;
    let (sending, body): (Feed<_>, Body) = feed();
    assert!(sending.data("subscribe").await);
    let mut receiving = client.begin(upload(body)).await.expect("a response").into_body();
    for _ in 0..12 {
        assert_eq!(in_time("an event", super::piece(&mut receiving)).await.expect("it goes on"), "event ");
    }
}
