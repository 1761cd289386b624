//! Bodies, whole and in chunks.

use super::*;

#[test]
fn a_body_that_is_read_comes_with_its_trailers_or_with_the_reason_why_not() {
    let host = TestHost::new();
    let mut plugin = puppet(&host, |request| {
        request.set_header("x-seen", "1")?;
        Ok(Decision::ReadBody)
    });
    let exchange = plugin.request(TestRequest::post("/").body("body"));
    assert!(exchange.reads_request_body());
    let exchange = plugin.request_with_body(TestRequest::post("/").body("body").trailer("x-sum", "7"));
    assert!(!exchange.reads_request_body());
    assert_eq!((exchange.attribute("read"), exchange.body()), (Some("4 1"), &b"body!"[..]));
    assert_eq!(exchange.trailers(), [("x-end".to_owned(), b"1".to_vec())]);
    assert_eq!(exchange.header("x-seen"), Some("1"), "edits of the call before are in effect");
    let exchange = plugin.request_with_body(TestRequest::post("/").body("bo").interrupted("gone"));
    assert_eq!(exchange.attribute("read"), Some("the body ended early: gone"));
    let error = plugin.try_request_with_body(TestRequest::post("/").body("again")).expect_err("it fails");
    assert!(error.to_string().contains("read-body"), "{error}");
}

#[test]
fn bodies_pass_in_chunks_and_their_last_states_are_in_the_outcome() {
    let host = TestHost::new();
    let mut plugin = puppet(&host, |_| Ok(Decision::StreamBody(b"0".to_vec())));
    for size in [1, 2, 3, 100] {
        let mut exchange = plugin.request(TestRequest::post("/").body("abcdefgh").trailer("x-sum", "7"));
        assert!(exchange.streams_request_body());
        plugin.stream_request(&mut exchange, size).expect("it passes");
        assert_eq!((exchange.body(), exchange.trailers().len()), (&b"ABCDEFGH"[..], 1), "{size}");
        plugin.response(&mut exchange, TestResponse::new(200).header("x-stream", "1").body("ijkl"));
        assert!(exchange.streams_response_body());
        plugin.stream_response(&mut exchange, size).expect("it passes");
        assert_eq!(exchange.response_body(), b"IJKL");
        plugin.complete(&mut exchange, &Outcome::default());
    }
    assert_eq!(host.counter("streamed", &[("direction", "up")]), 4 * 8);
    assert_eq!(host.counter("streamed", &[("direction", "down")]), 4 * 4);
    let mut exchange = plugin.request(TestRequest::post("/").body("greedy"));
    let error = plugin.stream_request(&mut exchange, 100).expect_err("it consumes too much");
    assert_eq!(error.to_string(), "it consumed 7 of 6 bytes");
}

#[test]
fn a_state_of_a_stream_has_a_limit() {
    let mut plugin = puppet(&TestHost::new(), |_| Ok(Decision::StreamBody(vec![0; 65 * 1024])));
    let error = plugin.try_request(TestRequest::post("/")).expect_err("it is too large");
    assert_eq!(error.to_string(), "its stream state is over 65536 bytes");
}
