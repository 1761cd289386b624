//! Chunks and trailers that are not quite right.

use super::{SMUGGLED, Scene, post};
use crate::support::strict::RawClient;

#[tokio::test]
async fn chunk_sizes_are_plain_hexadecimal_numbers() {
    let scene = Scene::new().await;
    for body in [
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        // a line ends in CRLF
        "5\nhello\n0\n\n",
        "5\rhello\r0\r\r",
        "5\r\nhello\n0\r\n\r\n",
        // a chunk is as long as it says
        "3\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "0\r\nX",
        // too large for any counter
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
    ] {
        scene.refuses(400, post("Transfer-Encoding: chunked", body)).await;
    }
}

#[tokio::test]
async fn chunk_extensions_are_not_passed_on() {
    let scene = Scene::new().await;
    let expected = "POST /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello";
    for body in [
        "5;name=value\r\nhello\r\n0\r\n\r\n",
        "5 \t;\r\nhello\r\n0;last\r\n\r\n",
        "5;a=\"0;GET /smuggled\"\r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n00\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        let request = format!("POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        scene.forwards(request, expected).await;
    }
}

#[tokio::test]
async fn chunk_extensions_with_line_ends_in_them_or_without_end_are_refused() {
    let scene = Scene::new().await;
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000));
    for body in [
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        &long,
    ] {
        scene.refuses(400, post("Transfer-Encoding: chunked", body)).await;
    }
}

#[tokio::test]
async fn what_follows_the_last_chunk_without_an_empty_line_is_no_request() {
    let scene = Scene::new().await;
    // Read as a trailer section, which it is not.
    scene.refuses(400, post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n")).await;
    scene.refuses(400, post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-T : 1\r\n\r\n")).await;
    scene.refuses(400, post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-T: 1\r\n folded\r\n\r\n")).await;
}

#[tokio::test]
async fn a_bare_line_feed_in_trailers_does_not_begin_another_request() {
    let scene = Scene::new().await;
    // Hyper takes all up to the next empty line for trailers, and drops what follows the line feed.
    let request = post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-T: 1\n\r\n");
    scene.forwards(request, "POST /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello").await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_no_request() {
    let scene = Scene::new().await;
    let start = "POST /x HTTP/1.1\r\nHost: a.example\r\n";
    scene.refuses(408, format!("{start}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")).await;
    scene.refuses(408, format!("{start}Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n{SMUGGLED}")).await;
    scene.refuses(408, format!("{start}Content-Length: 1000\r\n\r\n{SMUGGLED}")).await;
}

#[tokio::test]
async fn trailers_cannot_say_what_a_head_says() {
    let scene = Scene::new().await;
    let request = "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\
        Trailer: x-sum, content-length, host, transfer-encoding, connection, x-forwarded-for, x-request-id\r\n\r\n\
        5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 100\r\nHost: b.example\r\nTransfer-Encoding: identity\r\n\
        Connection: close\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-Id: mine\r\nX-Unannounced: 1\r\n\r\n";
    let mut client = RawClient::connect(scene.gateway.address()).await;
    assert_eq!(client.say(request).await.response().await.status(), 200);
    let seen = scene.upstream.take_seen().remove(0).expect("a request");
    assert_eq!(seen.value("host"), "a.example");
    assert_eq!((seen.text(), seen.trailers), ("hello".to_owned(), vec![("x-sum".to_owned(), "1".to_owned())]));
}
