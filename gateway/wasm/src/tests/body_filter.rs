//! Bodies that plugins change as they pass, and plugins that do it badly.

use gateway_http::body::BodyError;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;

use super::*;

/// A body of these parts, with trailers behind it.
struct Parts(std::collections::VecDeque<Result<Frame<Bytes>, BodyError>>);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

fn parts(parts: &[&'static str]) -> Body {
    let data = parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]);
    Body::Stream(Box::pin(Parts(data.chain([Ok(Frame::trailers(trailers))]).collect())))
}

fn while_passing(deed: &str) -> Use {
    naughty_with(json!({ "do": deed, "phase": "part" }))
}

/// The body after the response phase.
async fn passing(stage: &Alone, body: Body) -> Body {
    let mut slot = answered(slot(), body);
    slot.response.as_mut().unwrap().headers.insert("content-length", HeaderValue::from_static("7"));
    stage.response(&mut slot).await.unwrap();
    assert!(slot.response.as_ref().unwrap().headers.get("content-length").is_none(), "nobody knows its length");
    std::mem::take(&mut slot.response_body)
}

async fn passed(used: Use, body: Body) -> Result<(Bytes, Option<HeaderMap>), BodyError> {
    let collected = passing(&used.stage(), body).await.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok((collected.to_bytes(), trailers))
}

#[tokio::test]
async fn what_is_not_taken_comes_again_with_more() {
    let (bytes, trailers) = passed(while_passing("shout"), parts(&["a", "bcd", "", "efgh"])).await.unwrap();
    assert_eq!(bytes, "ABCDEFGH");
    assert_eq!(trailers.unwrap()["x-end"], r#"[("x-sum", [49])]"#);
}

#[tokio::test]
async fn a_body_at_hand_passes_too_and_so_does_none() {
    assert_eq!(passed(while_passing("shout"), full("abcd")).await.unwrap().0, "ABCD");
    let (bytes, trailers) = passed(while_passing("shout"), Body::Empty).await.unwrap();
    assert_eq!((&bytes[..], trailers.unwrap()["x-end"].as_bytes()), (&b""[..], &b"[]"[..]));
}

#[tokio::test]
async fn the_state_goes_from_call_to_call_and_instances_need_know_nothing() {
    for isolation in [Isolation::Shared, Isolation::Request] {
        let mut used = Use { isolation, ..while_passing("count-parts") };
        // The exchange's own serves its body too.
        used.limits.instances = Some(1);
        let stage = used.stage();
        let mut slot = answered(slot(), parts(&["a", "b", "c"]));
        stage.response(&mut slot).await.unwrap();
        let body = std::mem::take(&mut slot.response_body);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "0 1 2 3 ");
        drop(slot);
    }
}

#[tokio::test]
async fn a_part_is_not_held_back() {
    let stage = while_passing("mark").stage();
    let mut body = passing(&stage, parts(&["a", "b"])).await;
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "b");
    assert!(body.frame().await.is_none());
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn a_plugin_that_does_it_badly_breaks_the_body_off_and_nothing_else() {
    for (deed, words) in [
        ("err", "failed on purpose"),
        ("trap", "unreachable"),
        ("panic", "the plugin's own words"),
        ("take-too-much", "it consumed 2 of 1 bytes"),
        ("want-too-much", "bytes at once, and may have 1048576"),
        ("huge-memo", "its stream state is over 65536 bytes"),
        ("illegal-trailers", "is no field name"),
        ("huge-output", ""),
        ("take-nothing", "it left 2 bytes at the end"),
        ("grow", "more memory"),
    ] {
        let world = while_passing(deed).world();
        let stage = world.stage();
        let mut body = passing(&stage, parts(&["a", "b"])).await;
        let mut failed = None;
        let mut said = String::new();
        for _ in 0..4 {
            let mut frame = None;
            said += &logged(|| frame = futures_util::FutureExt::now_or_never(body.frame()).flatten());
            if let Some(Err(error)) = frame {
                failed = Some(error);
                break;
            }
        }
        assert!(matches!(failed, Some(BodyError::Plugin)), "{deed}: {failed:?}");
        assert!(said.contains(words), "{deed}: {said}");
        assert!(body.frame().await.is_none(), "{deed}: after an error nothing follows");
        // The next exchange finds the plugin as it was.
        let mut next = slot();
        at_once(&stage, &mut next).unwrap();
    }
}

#[tokio::test]
async fn what_a_plugin_leaves_for_later_is_bounded() {
    let body =
        Body::Stream(Box::pin(Parts((0..40).map(|_| Ok(Frame::data(Bytes::from(vec![b'x'; 64 << 10])))).collect())));
    let mut body = passing(&while_passing("take-nothing").stage(), body).await;
    assert!(matches!(body.frame().await, Some(Err(BodyError::Plugin))));
}

#[tokio::test]
async fn a_body_that_breaks_off_stays_broken() {
    let frames = [Ok(Frame::data(Bytes::from_static(b"half"))), Err(BodyError::Stalled)];
    let mut body =
        passing(&while_passing("shout").stage(), Body::Stream(Box::pin(Parts(frames.into_iter().collect())))).await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "HAL");
    assert!(matches!(body.frame().await, Some(Err(BodyError::Stalled))));
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_plugin_that_took_too_long_once_is_called_on_a_fiber_from_then_on() {
    let stage = while_passing("loop").time(20).stage();
    let mut body = passing(&stage, parts(&["loop"])).await;
    assert!(matches!(body.frame().await, Some(Err(BodyError::Plugin))));
    // It does well with this one.
    let body = passing(&stage, parts(&["fine", "too"])).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "finetoo");
}
