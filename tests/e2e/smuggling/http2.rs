//! HTTP/2 requests that would become two of HTTP/1.1.

use super::Scene;
use crate::support::frames::{self, Fate, Frames};

/// `POST /x`, and what else there is to say.
fn h2_post(more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a.example")];
    fields.extend(more);
    frames::headers(1, 0, &fields)
}

async fn h2_fate(scene: &Scene, frames: &[Vec<u8>]) -> Fate {
    let mut client = Frames::connect(scene.gateway.address()).await;
    for frame in frames {
        client.try_send(frame).await;
    }
    client.fate(1).await
}

#[tokio::test]
async fn http_2_fields_that_would_break_http_1_are_refused() {
    let scene = Scene::new().await;
    let end = frames::frame(frames::DATA, frames::END_STREAM, 1, b"0\r\n\r\n");
    for field in [
        ("transfer-encoding", "chunked"),
        ("connection", "transfer-encoding"),
        ("x-a", "1\r\ntransfer-encoding: chunked"),
        ("x-a", "1\nx: y"),
        ("x-a", "1\0"),
        ("x-a: 1\r\nx-b", "1"),
        ("x a", "1"),
        ("X-A", "1"),
        ("", "1"),
        (":path", "/other"),
        (":made-up", "1"),
        ("host", "b.example"),
        ("te", "gzip"),
        ("content-length", "100"),
        ("content-length", "1"),
        ("content-length", "+5"),
        ("content-length", "5, 5"),
    ] {
        let fate = h2_fate(&scene, &[h2_post(&[field]), end.clone()]).await;
        assert!(matches!(fate, Fate::Reset | Fate::Ended | Fate::Answered(400)), "{field:?}: {fate:?}");
        assert_eq!(scene.seen().await, Vec::<String>::new(), "{field:?}");
    }
}

#[tokio::test]
async fn http_2_pseudo_fields_that_would_break_a_request_line_are_refused() {
    let scene = Scene::new().await;
    let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "a.example")];
    for field in [
        (":method", "GET /smuggled HTTP/1.1\r\nx:"),
        (":method", "GET "),
        (":method", ""),
        (":path", "/x HTTP/1.1\r\nHost: b.example\r\n\r\nGET /smuggled"),
        (":path", "/x y"),
        (":path", "x"),
        (":path", ""),
        (":path", "*"),
        (":authority", "a.example\r\nx: y"),
        (":authority", "user@a.example"),
        (":authority", "a.example/x"),
        (":authority", ""),
        (":scheme", "ftp"),
        (":scheme", "http://b.example/?"),
    ] {
        let fields = usual.map(|(name, value)| if name == field.0 { field } else { (name, value) });
        let fate = h2_fate(&scene, &[frames::headers(1, frames::END_STREAM, &fields)]).await;
        assert!(matches!(fate, Fate::Reset | Fate::Ended | Fate::Answered(400)), "{field:?}: {fate:?}");
        assert_eq!(scene.seen().await, Vec::<String>::new(), "{field:?}");
    }
}

#[tokio::test]
async fn an_http_2_body_is_framed_anew() {
    let scene = Scene::new().await;
    let end = frames::frame(frames::DATA, frames::END_STREAM, 1, b"0\r\n\r\nGET /smuggled");
    assert_eq!(h2_fate(&scene, &[h2_post(&[]), end.clone()]).await, Fate::Answered(200));
    let expected = "POST /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\n0\r\n\r\nGET /smuggled";
    assert_eq!(scene.seen().await, [expected]);
    assert_eq!(h2_fate(&scene, &[h2_post(&[("content-length", "18")]), end]).await, Fate::Answered(200));
    let expected = "POST /x HTTP/1.1\nhost: a.example\ncontent-length: 18\n\n0\r\n\r\nGET /smuggled";
    assert_eq!(scene.seen().await, [expected]);
}
