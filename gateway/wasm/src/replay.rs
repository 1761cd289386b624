//! A body of which a part was read already: that part again, and then the rest.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use gateway_http::body::{Body, BodyError};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Keeps what was read, in order.
#[derive(Default)]
pub(super) struct Replay {
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    pub(super) trailers: Option<HeaderMap>,
    /// What was not read yet.
    pub(super) rest: Body,
    /// Reading ended with an error: the body is not whole, and must not pass as if it were.
    broken: Option<BodyError>,
}

impl Replay {
    pub(super) fn new(rest: Body) -> Self {
        Self { rest, ..Self::default() }
    }

    /// Keeps a frame, and says how many bytes there are now.
    pub(super) fn keep(&mut self, frame: Frame<Bytes>) -> usize {
        match frame.into_data() {
            Ok(data) => {
                self.kept_bytes += data.len();
                self.kept.push_back(data);
            }
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
        self.kept_bytes
    }

    /// There is no rest, because of this.
    pub(super) fn break_off(&mut self, error: BodyError) {
        self.rest = Body::Empty;
        self.broken = Some(error);
    }

    /// What was kept, as one.
    pub(super) fn bytes(&mut self) -> Bytes {
        if self.kept.len() > 1 {
            let mut whole = BytesMut::with_capacity(self.kept_bytes);
            self.kept.drain(..).for_each(|part| whole.extend_from_slice(&part));
            self.kept.push_back(whole.freeze());
        }
        self.kept.front().cloned().unwrap_or_default()
    }

    /// Back into the simplest form that has the same bytes.
    pub(super) fn into_body(mut self) -> Body {
        if self.trailers.is_some() || self.broken.is_some() || !self.rest.is_end_stream() {
            return Body::Stream(Box::pin(self));
        }
        let bytes = self.bytes();
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }
}

impl HttpBody for Replay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(data) = self.kept.pop_front() {
            self.kept_bytes -= data.len();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_empty() && self.broken.is_none() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        if self.broken.is_some() {
            // It will not end, so it has no length; what the head announces stays unfulfilled.
            return hint;
        }
        let rest = self.rest.size_hint();
        hint.set_lower(rest.lower() + self.kept_bytes as u64);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + self.kept_bytes as u64);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_was_kept_comes_before_the_rest() {
        let mut replay = Replay::new(Body::Full(Bytes::from_static(b"rest")));
        replay.keep(Frame::data(Bytes::from_static(b"begin ")));
        let body = replay.into_body();
        assert_eq!(body.size_hint().exact(), Some(10));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "begin rest");
    }

    #[tokio::test]
    async fn a_whole_body_is_full_again() {
        let mut replay = Replay::new(Body::Empty);
        replay.keep(Frame::data(Bytes::from_static(b"a")));
        replay.keep(Frame::data(Bytes::from_static(b"b")));
        let Body::Full(bytes) = replay.into_body() else { panic!("nothing is left to stream") };
        assert_eq!(bytes, "ab");
    }

    #[tokio::test]
    async fn trailers_survive() {
        let mut replay = Replay::new(Body::Empty);
        replay.keep(Frame::data(Bytes::from_static(b"a")));
        replay.keep(Frame::trailers(HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))])));
        let whole = replay.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["etag"], "x");
        assert_eq!(whole.to_bytes(), "a");
    }

    #[tokio::test]
    async fn a_broken_body_stays_broken() {
        let mut replay = Replay::new(Body::Empty);
        replay.keep(Frame::data(Bytes::from_static(b"half")));
        replay.break_off(BodyError::Stalled);
        let mut body = replay.into_body();
        assert_eq!(body.size_hint().exact(), None, "half a body has no length");
        assert!(body.frame().await.unwrap().is_ok());
        assert!(matches!(body.frame().await, Some(Err(BodyError::Stalled))));
    }
}
