//! A request's body as it comes from the client, by either protocol.

use std::{
    error::Error,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::interim::Interim;

/// The only body that the rest of the gateway knows of requests. A further protocol is a further source.
pub struct FromClient(Source);

enum Source {
    Http1(Incoming),
    Http2(Received),
}

/// A body that comes by a stream of HTTP/2.
pub struct Received {
    stream: RecvStream,
    /// How much is to come, where the client has said that. The h2 crate holds it to its word.
    left: Option<u64>,
    /// Only trailers can follow.
    data_is_over: bool,
    /// The client waits to be asked for it.
    awaits: Option<Rc<dyn Interim>>,
}

/// Why a body did not come whole.
#[derive(Debug)]
pub struct Interruption {
    /// It cannot be read, rather than having ended early. HTTP/2 does not tell these apart, but there the client has gone in
    /// both cases.
    pub malformed: bool,
    pub error: Box<dyn Error + Send + Sync>,
}

impl FromClient {
    /// As hyper reads it from a connection of HTTP/1.1.
    pub fn http1(incoming: Incoming) -> Self {
        Self(Source::Http1(incoming))
    }

    pub fn http2(received: Received) -> Self {
        Self(Source::Http2(received))
    }

    /// Whether each part of it is at most a frame, some 16 KiB, however long it is in all.
    pub(super) fn is_framed(&self) -> bool {
        matches!(self.0, Source::Http2(_))
    }
}

impl Received {
    /// `awaits` is who tells the client that expects `100-continue` to go on.
    pub fn new(stream: RecvStream, headers: &HeaderMap, awaits: Option<Rc<dyn Interim>>) -> Self {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { stream, left: length, data_is_over: false, awaits }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_is_over {
            let data = match self.stream.poll_data(cx) {
                Poll::Ready(data) => data,
                Poll::Pending => {
                    // RFC 9110 §10.1.1: as soon as the body is read, unless some of it has arrived.
                    if let Some(client) = self.awaits.take() {
                        client.send(StatusCode::CONTINUE, &HeaderMap::new());
                    }
                    return Poll::Pending;
                }
            };
            self.awaits = None;
            if let Some(data) = data {
                let data = data?;
                // What is taken here is on its way; so more may come.
                let _ = self.stream.flow_control().release_capacity(data.len());
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.data_is_over = true;
        }
        Poll::Ready(ready!(self.stream.poll_trailers(cx))?.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

/// Hyper's decoder says the one with these kinds, the other with `UnexpectedEof`.
fn is_malformed(error: &hyper::Error) -> bool {
    let source = Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

impl HttpBody for FromClient {
    type Data = Bytes;
    type Error = Interruption;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Interruption>>> {
        match &mut self.get_mut().0 {
            Source::Http1(incoming) => Pin::new(incoming).poll_frame(cx).map_err(|error| {
                let malformed = is_malformed(&error);
                Interruption { malformed, error: error.into() }
            }),
            Source::Http2(received) => {
                received.poll(cx).map_err(|error| Interruption { malformed: false, error: error.into() })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Http1(incoming) => incoming.is_end_stream(),
            Source::Http2(received) => received.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Http1(incoming) => incoming.size_hint(),
            Source::Http2(received) => received.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
