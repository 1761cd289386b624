//! A response's body that is kept as it passes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use gateway_http::body::{Body, BodyError};
use gateway_state::{
    CacheKey, ConsumerId,
    redis::Redis,
    responses::{Claim, Responses, SpaceReservation, Stored},
};
use http::{HeaderValue, header};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// What is stored once the body is complete.
pub(crate) struct StorePlan {
    pub(crate) responses: Arc<Responses>,
    pub(crate) bucket: Arc<str>,
    /// Whose it is.
    pub(crate) consumer: Option<ConsumerId>,
    pub(crate) key: Arc<str>,
    /// As yet without its body.
    pub(crate) stored: Stored,
    /// The longest body that is kept.
    pub(crate) limit: usize,
    /// Held until it is kept, or is not going to be.
    pub(crate) claim: Option<Claim>,
    /// Where it is kept too.
    pub(crate) remote: Option<Arc<Redis>>,
}

impl StorePlan {
    /// Keeps a body that is at hand, and otherwise follows it.
    pub(crate) fn follow(self, body: Body) -> Body {
        // What announces too much is not even begun.
        if body.size_hint().lower() > self.limit as u64 {
            return body;
        }
        match body {
            Body::Empty => {
                self.keep(Bytes::new());
                Body::Empty
            }
            Body::Full(bytes) => {
                // It may be a small part of a large buffer.
                self.keep(Bytes::copy_from_slice(&bytes));
                Body::Full(bytes)
            }
            body @ (Body::Client(_) | Body::Stream(_)) => {
                let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
                let recorder = self.responses.recorder();
                let bytes = BytesMut::with_capacity(announced.unwrap_or(0));
                Body::Stream(Box::pin(RecordedBody {
                    inner: body,
                    writer: Some(CacheWriter { plan: self, bytes, recorder }),
                }))
            }
        }
    }

    fn keep(self, body: Bytes) {
        let Self { responses, bucket, consumer, key, mut stored, claim, remote, limit: _ } = self;
        stored.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        stored.body = body;
        if let Some(remote) = remote {
            remote.keep(&bucket, &key, &stored);
        }
        responses.keep(CacheKey { bucket: &bucket, consumer, key: &key }, stored);
        drop(claim);
    }
}

struct RecordedBody {
    inner: Body,
    /// None once it is full, or the body has ended.
    writer: Option<CacheWriter>,
}

struct CacheWriter {
    plan: StorePlan,
    bytes: BytesMut,
    recorder: SpaceReservation,
}

impl RecordedBody {
    fn hear(&mut self, data: &Bytes) {
        let Some(writer) = &mut self.writer else { return };
        if writer.bytes.len() + data.len() <= writer.plan.limit && writer.recorder.reserve(data.len()) {
            writer.bytes.extend_from_slice(data);
        } else {
            self.writer = None;
        }
    }

    fn finish(&mut self) {
        if let Some(CacheWriter { plan, bytes, recorder }) = self.writer.take() {
            // What was reserved for a length that did not come is given back.
            let bytes = if bytes.capacity() > bytes.len() { Bytes::copy_from_slice(&bytes) } else { bytes.freeze() };
            plan.keep(bytes);
            drop(recorder);
        }
    }
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.hear(data);
                }
                // It is not polled again after the last chunk.
                if frame.is_trailers() || self.inner.is_end_stream() {
                    self.finish();
                }
            }
            Some(Err(_)) => self.writer = None,
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
