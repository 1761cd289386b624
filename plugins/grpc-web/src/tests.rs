//! Requests and answers in both forms.

use base64ct::{Base64, Encoding};
use plugin_sdk::testkit::{TestHost, TestPlugin, TestRequest, TestResponse};
use serde_json::json;

use crate::{GrpcWeb, decoded};

fn plugin() -> TestPlugin<GrpcWeb> {
    TestHost::new().plugin(json!({})).unwrap()
}

fn call(kind: &str, body: impl Into<Vec<u8>>) -> TestRequest {
    TestRequest::post("/test.Echo/Unary").header("content-type", kind).header("x-grpc-web", "1").body(body)
}

fn answer() -> TestResponse {
    let response = TestResponse::new(200).header("content-type", "application/grpc").body(b"\0\0\0\0\x02\x08\x01");
    response.trailer("grpc-status", "0").trailer("x-cost", "5")
}

const LAST: &[u8] = b"\x80\0\0\0\x1bgrpc-status: 0\r\nx-cost: 5\r\n";

#[test]
fn to_the_service_it_is_grpc() {
    for (kind, expected) in [
        ("application/grpc-web", "application/grpc"),
        ("application/grpc-web+proto", "application/grpc+proto"),
        ("Application/gRPC-Web+proto; charset=x", "application/grpc+proto"),
    ] {
        let exchange = plugin().request_with_body(call(kind, "frame"));
        assert_eq!((exchange.header("content-type"), exchange.body()), (Some(expected), &b"frame"[..]));
        assert_eq!(exchange.header("x-grpc-web"), None);
    }
    let exchange = plugin().request_with_body(call("application/grpc-web-text+proto", "AAA=AAEC"));
    assert_eq!(
        (exchange.header("content-type"), exchange.body()),
        (Some("application/grpc+proto"), &[0, 0, 0, 1, 2][..])
    );
    assert_eq!(plugin().request_with_body(call("application/grpc-web-text", "AA*=")).reply().unwrap().status, 400);
}

#[test]
fn what_is_not_grpc_web_is_left_alone() {
    for kind in ["application/grpc", "application/json", "application/grpc-websocket"] {
        let mut plugin = plugin();
        let mut exchange = plugin.request_with_body(call(kind, "x"));
        assert_eq!(exchange.header("content-type"), Some(kind));
        plugin.response(&mut exchange, answer());
        assert!(!exchange.streams_response_body());
        assert_eq!(exchange.response_header("content-type"), Some("application/grpc"));
    }
}

#[test]
fn trailers_are_the_last_frame_of_the_body() {
    for part in [1, 4, 100] {
        let mut plugin = plugin();
        let mut exchange = plugin.request_with_body(call("application/grpc-web+proto", ""));
        plugin.response(&mut exchange, answer());
        plugin.stream_response(&mut exchange, part).unwrap();
        assert_eq!(exchange.response_header("content-type"), Some("application/grpc-web+proto"));
        assert_eq!(exchange.response_body(), [&b"\0\0\0\0\x02\x08\x01"[..], LAST].concat());
        assert_eq!(exchange.response_trailers(), []);
    }
}

#[test]
fn who_wants_text_gets_base64() {
    let wanting = call("application/grpc-web", "").header("accept", "text/html, application/grpc-web-text");
    for request in [call("application/grpc-web-text", ""), wanting] {
        for part in [1, 4, 100] {
            let mut plugin = plugin();
            let mut exchange = plugin.request_with_body(request.clone());
            plugin.response(&mut exchange, answer());
            plugin.stream_response(&mut exchange, part).unwrap();
            assert_eq!(exchange.response_header("content-type"), Some("application/grpc-web-text"));
            let body = decoded(exchange.response_body()).unwrap();
            assert_eq!(body, [&b"\0\0\0\0\x02\x08\x01"[..], LAST].concat());
        }
    }
}

#[test]
fn a_failure_without_messages_stays_in_the_head() {
    let mut plugin = plugin();
    let mut exchange = plugin.request_with_body(call("application/grpc-web", ""));
    plugin.response(&mut exchange, answer().header("grpc-status", "5"));
    assert!(!exchange.streams_response_body());
    assert_eq!(exchange.response_header("content-type"), Some("application/grpc-web"));
}

#[test]
fn base64_may_come_in_parts() {
    let parts = [&b"a"[..], b"bc", b"def", b"", b"gh"].map(Base64::encode_string).concat();
    assert_eq!(decoded(parts.as_bytes()).unwrap(), b"abcdefgh");
    for wrong in ["=", "A", "AA=", "AA==A", "====", "AAAA=", "\u{e4}AAA"] {
        assert_eq!(decoded(wrong.as_bytes()), None, "{wrong}");
    }
}
