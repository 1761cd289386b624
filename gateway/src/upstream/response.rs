//! The body of an upstream's response, which gives its connection back when it has ended.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::{connect::Connection, endpoint::Busy, pass::Pass};
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
    patience: BodyPatience,
}

/// How long a body may take.
pub(super) struct BodyPatience {
    /// From one part to the next.
    pub(super) between: Duration,
    /// Until its end.
    pub(super) whole: Option<Instant>,
}

impl BodyPatience {
    /// Whether it is over; the clock is read only where there is an end.
    fn is_over(&self) -> bool {
        self.whole.is_some_and(|until| Instant::now() >= until)
    }

    /// For the next part.
    fn left(&self) -> Duration {
        let whole = self.whole.map(|until| until.saturating_duration_since(Instant::now()));
        whole.map_or(self.between, |left| left.min(self.between))
    }
}

/// A connection in use and where it goes back to.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) endpoint: Busy,
    /// Whether another request may follow on it.
    pub(super) reusable: bool,
    pub(super) _pass: Option<Pass>,
    /// It no longer is HTTP's.
    pub(super) switched: bool,
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
    pub(super) fn wrap(incoming: Incoming, lease: Lease, stall: Timer, patience: BodyPatience) -> Body {
        // After an upgrade the connection is still in use, and whoever has the body has it.
        if incoming.is_end_stream() && !lease.switched {
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
                self.stall.arm(self.patience.left());
            }
            ready!(self.stall.poll_expired(cx));
            self.lease = None;
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        };
        self.stall.disarm();
        if self.patience.is_over() && !matches!(frame, None | Some(Err(_))) {
            self.lease = None;
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
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
