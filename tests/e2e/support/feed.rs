//! Bodies that a test hands out piece by piece, so that it decides when what moves.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// The test's end of a body. Dropped, the body ends.
pub struct Feed<E>(mpsc::Sender<Result<Frame<Bytes>, E>>);

/// A body of unknown length of which at most one piece waits to be taken.
pub fn feed<E: Send + Sync + 'static>() -> (Feed<E>, BoxBody<Bytes, E>) {
    let (sender, receiver) = mpsc::channel(1);
    (Feed(sender), Fed { receiver, size: None }.boxed())
}

/// As `feed`, with a length announced.
pub fn sized_feed<E: Send + Sync + 'static>(size: u64) -> (Feed<E>, BoxBody<Bytes, E>) {
    let (sender, receiver) = mpsc::channel(1);
    (Feed(sender), Fed { receiver, size: Some(size) }.boxed())
}

impl<E> Feed<E> {
    /// Waits until the piece before has been taken; `false` if nobody wants the body any more.
    pub async fn data(&self, data: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(data.into()))).await.is_ok()
    }

    pub async fn trailers(self, trailers: HeaderMap) {
        let _ = self.0.send(Ok(Frame::trailers(trailers))).await;
    }
}

struct Fed<E> {
    receiver: mpsc::Receiver<Result<Frame<Bytes>, E>>,
    size: Option<u64>,
}

impl<E> Body for Fed<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.receiver.poll_recv(cx)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.size.map_or_else(hyper::body::SizeHint::default, hyper::body::SizeHint::with_exact)
    }
}
