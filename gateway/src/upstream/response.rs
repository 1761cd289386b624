//! The body of an upstream's response, which gives its connection back when it has ended.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::{connect::Connection, endpoint::Busy};
use crate::{
    http::body::{Body, BodyError},
    timers::Timer,
};

/// Dropped before its end, it takes the connection with it: that is how a request is cancelled.
pub(super) struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease>,
    /// Armed while nothing comes.
    stall: Timer,
    patience: Duration,
}

/// A connection in use and where it goes back to.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) endpoint: Busy,
    /// Whether another request may follow on it.
    pub(super) reusable: bool,
}

impl Lease {
    pub(super) fn give_back(self) {
        if self.reusable {
            self.endpoint.put_idle(self.connection);
        }
    }
}

impl UpstreamBody {
    /// The body to forward; a response without one gives its connection back at once.
    pub(super) fn wrap(incoming: Incoming, lease: Lease, stall: Timer, patience: Duration) -> Body {
        if incoming.is_end_stream() {
            lease.give_back();
            return Body::Empty;
        }
        stall.disarm();
        Body::Stream(Box::pin(Self { incoming, lease: Some(lease), stall, patience }))
    }
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            if !self.stall.is_armed() {
                self.stall.arm(self.patience);
            }
            ready!(self.stall.poll_expired(cx));
            self.lease = None;
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        };
        self.stall.disarm();
        let ended = match &frame {
            // After trailers nothing follows, and hyper does not ask once more.
            Some(Ok(frame)) => frame.is_trailers() || self.incoming.is_end_stream(),
            Some(Err(_)) => {
                self.lease = None;
                false
            }
            None => true,
        };
        if ended && let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Interrupted)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
