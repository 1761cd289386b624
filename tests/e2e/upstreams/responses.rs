//! Responses that break off, are ambiguous, or are none.

use http::Method;
use tokio::io::AsyncWriteExt;

use super::{gateway_to, is_problem};
use crate::support::{
    Client, RawUpstream,
    client::Request,
    counted::{failed, failures},
    strict::{End, Kind, Message, RawClient, StrictUpstream},
};

/// What a client sees of a response that the upstream sends in these bytes and then keeps open.
async fn seen(response: &'static [u8]) -> Result<Message, End> {
    let upstream = RawUpstream::answering(response).await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.try_response().await
}

#[tokio::test]
async fn a_response_that_breaks_off_reaches_the_client_as_broken_off() {
    for part in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nff",
    ] {
        let upstream = RawUpstream::on_head(move |mut stream| async move {
            stream.write_all(part).await.ok();
            None
        })
        .await;
        let gateway = gateway_to(upstream.address()).await;
        let mut client = RawClient::connect(gateway.address()).await;
        let response = client.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.try_response().await;
        let Err(End::CutOff(seen)) = response else { panic!("{response:?}") };
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
        failed(&gateway, "upstream-closed", 1).await;

        let mut client = Client::connect_http2(gateway.address()).await;
        let error = client.try_send(Request::get("/")).await.expect_err("no whole response");
        assert!(!error.is_user(), "{error}");
        failed(&gateway, "upstream-closed", 2).await;
    }
}

#[tokio::test]
async fn what_an_upstream_sends_over_its_length_is_dropped_with_its_connection() {
    let sent = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let upstream = StrictUpstream::answering(sent).await;
    let gateway = gateway_to(upstream.address()).await;
    for _ in 0..10 {
        let response = gateway.get("/").await;
        assert_eq!((response.status.as_u16(), response.text()), (200, "hello".to_owned()));
    }
}

#[tokio::test]
async fn a_body_where_there_can_be_none_is_dropped_with_its_connection() {
    for (method, status, sent) in [
        (Method::GET, 204, &b"HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nevil"[..]),
        (Method::GET, 304, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\netag: \"x\"\r\n\r\nevil"),
        (Method::HEAD, 200, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
        (Method::HEAD, 200, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"),
    ] {
        let upstream = StrictUpstream::answering(sent).await;
        let gateway = gateway_to(upstream.address()).await;
        for _ in 0..5 {
            let mut client = RawClient::connect(gateway.address()).await;
            client.say(format!("{method} /1 HTTP/1.1\r\nHost: a\r\n\r\n{method} /2 HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            for _ in 0..2 {
                // The second one would begin with what was too much of the first.
                let kind = if method == Method::HEAD { Kind::ResponseToHead } else { Kind::Response };
                let response = client.0.message(kind).await.expect("a response");
                assert_eq!((response.status(), &response.body[..]), (status, &b""[..]), "{response}");
                assert!(status == 200 || response.values("content-length").is_empty(), "{response}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_bad_gateway() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"\0\0\x12\x04\0\0\0\0\0",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nspace : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-a: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-a: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello!",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let upstream = RawUpstream::answering(garbage).await;
        let gateway = gateway_to(upstream.address()).await;
        is_problem(&gateway.get("/").await, 502);
        failed(&gateway, "upstream-protocol", 1).await;
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_response_framed_in_two_ways_is_a_bad_gateway() {
    for ambiguous in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 100\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nhello",
    ] {
        let upstream = RawUpstream::answering(ambiguous).await;
        let gateway = gateway_to(upstream.address()).await;
        is_problem(&gateway.get("/").await, 502);
        failed(&gateway, "upstream-protocol", 1).await;
    }
}

#[tokio::test]
async fn equal_lengths_become_one() {
    for repeated in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let response = seen(repeated).await.expect("a response");
        assert_eq!((response.value("content-length"), response.text()), ("5", "hello".to_owned()));
    }
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_a_bad_gateway() {
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let upstream = RawUpstream::answering(switching).await;
    let gateway = gateway_to(upstream.address()).await;
    is_problem(&gateway.get("/").await, 502);
    let asked = Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    is_problem(&gateway.send(asked).await, 502);
    is_problem(&Client::connect_http2(gateway.address()).await.send(Request::get("/")).await, 502);
    failed(&gateway, "upstream-protocol", 3).await;
}

#[tokio::test]
async fn interim_responses_come_before_the_response_and_are_none() {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let upstream = RawUpstream::answering(interim).await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    let hints = client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.response().await;
    assert_eq!((hints.status(), hints.value("link")), (103, "</x>"));
    let response = client.response().await;
    assert_eq!((response.status(), response.text()), (200, "hello".to_owned()));
    assert!(response.values("link").is_empty());
}

#[tokio::test]
async fn a_huge_response_head_is_a_bad_gateway() {
    let fields: &'static str = format!("x-a: {}\r\n", "x".repeat(1000)).repeat(300).leak();
    let many: &'static str = "x: 1\r\n".repeat(5000).leak();
    for fields in [fields, many] {
        let upstream = RawUpstream::on_head(move |mut stream| async move {
            // The gateway need not take it all.
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()).await;
            Some(stream)
        })
        .await;
        let gateway = gateway_to(upstream.address()).await;
        is_problem(&gateway.get("/").await, 502);
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_response_without_length_ends_with_its_connection() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.ok();
        None
    })
    .await;
    let gateway = gateway_to(upstream.address()).await;
    let mut client = RawClient::connect(gateway.address()).await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for _ in 0..2 {
        let response = client.response().await;
        assert_eq!((response.value("transfer-encoding"), response.text()), ("chunked", "hello".to_owned()));
    }
    assert_eq!(failures(&gateway, "upstream-closed").await, 0);
}
