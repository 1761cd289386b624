//! The rest of a response, by whichever protocol it comes.

use std::task::{Context, Poll};

use bytes::Bytes;
use gateway_http::body::{Body, BodyError};
use http::{Request, response::Parts};
use http_body::{Frame, SizeHint};

use super::{
    broken::{Broken, Unsendable},
    http1,
    http2::{Stream, StreamPermit},
    request_head::RequestHead,
};

/// How a request is sent: on its own connection, or on a shared one.
pub(crate) enum Transport {
    Http1(Box<http1::Connection>),
    Http2(StreamPermit),
}

pub(crate) enum Incoming {
    Http1(http1::Reading),
    Http2(Stream),
}

impl Transport {
    /// Sends what `head` and `request` make of the request for either protocol. The body is taken, unless the request
    /// turns out to be unsent.
    pub(crate) async fn send(
        self,
        head: &RequestHead<'_>,
        request: impl FnOnce(Body) -> Result<Request<Body>, Unsendable>,
        body: &mut Body,
    ) -> Result<(Parts, Incoming), Broken> {
        match self {
            Self::Http1(connection) => {
                let (head, reading) = connection.send(head, body).await?;
                Ok((head, Incoming::Http1(reading)))
            }
            Self::Http2(slot) => {
                let request = request(std::mem::take(body))?;
                let (head, stream) = slot.send(request, body).await?;
                Ok((head, Incoming::Http2(stream)))
            }
        }
    }
}

impl Incoming {
    /// Whether the connection is for one client only. One of HTTP/2 that is has no other requests, and is not kept.
    pub(crate) fn is_private(&self) -> bool {
        match self {
            Self::Http1(reading) => reading.is_private(),
            Self::Http2(_) => false,
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(reading) => reading.is_end_stream(),
            Self::Http2(stream) => stream.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(reading) => reading.size_hint(),
            Self::Http2(stream) => stream.size_hint(),
        }
    }

    /// The whole body, if it is known already.
    pub(crate) fn take_whole(&mut self) -> Option<Body> {
        match self {
            Self::Http1(reading) => reading.take_whole(),
            Self::Http2(stream) => stream.is_end_stream().then_some(Body::Empty),
        }
    }

    /// The connection for another request, where it has to be given back.
    pub(crate) fn into_connection(self) -> Option<Box<http1::Connection>> {
        match self {
            Self::Http1(reading) => reading.into_connection(),
            Self::Http2(_) => None,
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http1(reading) => reading.poll_frame(cx),
            Self::Http2(stream) => stream.poll_frame(cx),
        }
    }
}
