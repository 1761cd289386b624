//! Where a body ends: `Transfer-Encoding` and `Content-Length`, both, twice, or disguised.

use super::{SMUGGLED, Scene, get, post};
use crate::support::strict::RawClient;

#[tokio::test]
async fn a_length_beside_chunks_is_dropped_and_the_connection_closes() {
    let scene = Scene::new().await;
    let expected = "POST /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello";
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 4\r\nTransfer-Encoding: CHUNKED\r\nContent-Length: 5",
        "Transfer-Encoding: \t chunked \t\r\nContent-Length: 0",
    ] {
        scene.forwards_and_closes(post(fields, "5\r\nhello\r\n0\r\n\r\n"), expected).await;
    }
}

#[tokio::test]
async fn transfer_codings_other_than_one_chunked_are_refused() {
    let scene = Scene::new().await;
    for coding in [
        "chunked, identity",
        "identity, chunked",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "chunked,",
        ",chunked",
        "",
        "\u{b}chunked",
        "chun\tked",
        "chunked\0",
    ] {
        scene.refuses(400, post(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n")).await;
        scene.refuses(400, post(&format!("Content-Length: 5\r\nTransfer-Encoding: {coding}"), "0\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn several_transfer_codings_are_refused() {
    let scene = Scene::new().await;
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: x\r\nContent-Length: 5\r\ntransfer-encoding: chunked",
    ] {
        scene.refuses(400, post(lines, "0\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn http_1_0_has_no_transfer_codings() {
    let scene = Scene::new().await;
    for fields in ["Transfer-Encoding: chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked"] {
        let request = post(fields, "0\r\n\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1);
        scene.refuses(400, request).await;
    }
}

#[tokio::test]
async fn a_name_that_only_looks_like_transfer_encoding_frames_nothing() {
    let scene = Scene::new().await;
    // As some servers would read it: the body is what `Content-Length` says, to everyone who gets it from here.
    let request =
        "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n";
    let expected = "POST /x HTTP/1.1\nhost: a.example\ntransfer_encoding: chunked\ncontent-length: 5\n\n0\r\n\r\n";
    scene.forwards(request, expected).await;
}

#[tokio::test]
async fn lengths_that_differ_or_are_no_plain_number_are_refused() {
    let scene = Scene::new().await;
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5.0",
        "Content-Length: 5 5",
        "Content-Length: five",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Content-Length: \u{665}",
    ] {
        scene.refuses(400, post(fields, "hello")).await;
    }
}

#[tokio::test]
async fn the_same_length_twice_becomes_one() {
    let scene = Scene::new().await;
    let request = "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello";
    scene.forwards(request, "POST /x HTTP/1.1\nhost: a.example\ncontent-length: 5\n\nhello").await;
}

#[tokio::test]
async fn a_length_beyond_every_limit_is_too_large() {
    let scene = Scene::new().await;
    scene.refuses(413, post("Content-Length: 9223372036854775807", "hello")).await;
}

#[tokio::test]
async fn requests_in_a_row_are_as_many_requests_to_the_upstream() {
    let scene = Scene::new().await;
    let first = "POST /1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
    let second = "POST /2 HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut client = RawClient::connect(scene.gateway.address()).await;
    client.say(format!("{first}{second}\r\n{}", get("/3"))).await;
    for _ in 0..3 {
        assert_eq!(client.response().await.status(), 200);
    }
    let expected = [
        "POST /1 HTTP/1.1\nhost: a.example\ncontent-length: 5\n\nhello",
        "POST /2 HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello",
        "GET /3 HTTP/1.1\nhost: a.example\n\n",
    ];
    assert_eq!(scene.seen().await, expected);
}

#[tokio::test]
async fn a_body_where_none_is_usual_is_framed_all_the_same() {
    let scene = Scene::new().await;
    for method in ["GET", "DELETE", "OPTIONS"] {
        let body = SMUGGLED.replace("\r\n", "~");
        let length = body.len();
        let request = format!("{method} /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}");
        let expected = format!("{method} /x HTTP/1.1\nhost: a.example\ncontent-length: {length}\n\n{body}");
        scene.forwards(request, &expected).await;
        let request = format!(
            "{method} /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        let expected = format!("{method} /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello");
        scene.forwards(request, &expected).await;
    }
}

#[tokio::test]
async fn connection_cannot_take_framing_or_host_away() {
    let scene = Scene::new().await;
    let request = "POST /x HTTP/1.1\r\nHost: a.example\r\nConnection: content-length, host, x-hop\r\n\
        X-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nContent-Length: 5\r\n\r\nhello";
    scene.forwards(request, "POST /x HTTP/1.1\nhost: a.example\ncontent-length: 5\n\nhello").await;
}
