//! Bodies that plugins read, replace and change as they pass.

use gateway_http::body::BodyError;
use gateway_pipeline::{Entry, Pipeline};
use http_body_util::BodyExt;

use super::*;

fn reads() -> Alone {
    Use::of(test_guests::waiter(), json!({ "do": "read-request" })).stage()
}

/// A body that comes in parts, and then ends, breaks or hangs.
fn parts(parts: Vec<&'static str>, end: End) -> Body {
    let frames = parts.into_iter().map(|part| Ok(http_body::Frame::data(Bytes::from_static(part.as_bytes()))));
    let mut frames: std::collections::VecDeque<_> = frames.collect();
    if matches!(end, End::Breaks) {
        frames.push_back(Err(BodyError::Stalled));
    }
    Body::Stream(Box::pin(Scripted { frames, hangs: matches!(end, End::Hangs) }))
}

enum End {
    Whole,
    Breaks,
    Hangs,
}

struct Scripted {
    frames: std::collections::VecDeque<Result<http_body::Frame<Bytes>, BodyError>>,
    hangs: bool,
}

impl http_body::Body for Scripted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        match self.frames.pop_front() {
            Some(frame) => std::task::Poll::Ready(Some(frame)),
            None if self.hangs => std::task::Poll::Pending,
            None => std::task::Poll::Ready(None),
        }
    }
}

async fn bytes(body: &mut Body) -> Result<Bytes, BodyError> {
    std::mem::take(body).collect().await.map(|collected| collected.to_bytes())
}

#[tokio::test]
async fn a_body_is_read_and_still_forwarded() {
    let mut slot = slot_with(parts(vec!["one ", "two"], End::Whole));
    let stage = reads();
    for _ in 0..2 {
        in_time(&stage, &mut slot).await.unwrap();
        assert_eq!(header(&slot, "x-length"), "7");
    }
    assert!(slot.request_body.is_buffered());
    assert_eq!(bytes(&mut slot.request_body).await.unwrap(), "one two");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_to_the_plugin_and_still_whole() {
    let mut slot = slot_with(parts(vec!["x"; 5], End::Whole));
    let bounds = Bounds { buffer_bytes: 3, ..Bounds::clone(&slot.bounds) };
    slot.bounds = Rc::new(bounds);
    in_time(&reads(), &mut slot).await.unwrap();
    assert!(header(&slot, "x-length").contains("over the limit of 3 bytes"));
    assert_eq!(bytes(&mut slot.request_body).await.unwrap(), "xxxxx");
}

#[tokio::test]
async fn a_broken_body_does_not_pass_as_whole() {
    let mut slot = slot_with(parts(vec!["half"], End::Breaks));
    in_time(&reads(), &mut slot).await.unwrap();
    assert!(header(&slot, "x-length").contains("ended early"));
    assert!(matches!(bytes(&mut slot.request_body).await, Err(BodyError::Stalled)));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_read_loses_nothing() {
    let mut slot = slot_with(parts(vec!["half"], End::Hangs));
    let world = Use::of(test_guests::waiter(), json!({ "do": "read-request" })).world();
    let stage = world.stage();
    tokio::select! {
        biased;
        _ = in_time(&stage, &mut slot) => panic!("the body hangs"),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    let first = slot.request_body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "half");
    assert_eq!(world.metric("gateway_wasm_instances{plugin=\"tested\"}"), "1", "idle, while the body is awaited");
    in_time(&stage, &mut slot_with(full("whole"))).await.unwrap();
}

#[tokio::test]
async fn a_response_body_is_read() {
    let stage = Use::of(test_guests::waiter(), json!({ "do": "read-response" })).stage();
    let mut slot = answered(slot(), parts(vec!["a", "bc"], End::Whole));
    stage.response(&mut slot).await.unwrap();
    assert_eq!(slot.response.as_ref().unwrap().headers["x-length"], "3");
    assert_eq!(bytes(&mut slot.response_body).await.unwrap(), "abc");
}

#[tokio::test]
async fn bodies_are_replaced() {
    let stage = Use::of(test_guests::waiter(), json!({ "do": "replace" })).stage();
    let mut slot = slot_with(full("original"));
    slot.request.headers.insert("content-length", HeaderValue::from_static("8"));
    in_time(&stage, &mut slot).await.unwrap();
    assert!(!slot.request.headers.contains_key("content-length"));
    assert_eq!(bytes(&mut slot.request_body).await.unwrap(), "replaced");
    let mut slot = answered(slot, full("original"));
    stage.response(&mut slot).await.unwrap();
    assert_eq!(bytes(&mut slot.response_body).await.unwrap(), "replaced");
}

#[tokio::test]
async fn a_skipped_plugins_replacement_is_undone() {
    let stage = Use::of(test_guests::waiter(), json!({ "do": "replace-then-trap" })).in_pipeline();
    let pipeline = Pipeline::new(Scope::default(), vec![Entry::new(stage, true)]);
    let mut slot = slot_with(parts(vec!["the ", "original"], End::Whole));
    pipeline.request(&mut slot, later()).await;
    assert_eq!(bytes(&mut slot.request_body).await.unwrap(), "the original");
}
