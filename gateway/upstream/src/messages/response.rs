//! The body of an upstream's response, which gives its connection back when it has ended.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway_core::timers::Timer;
use gateway_http::body::{Body, BodyError, Traffic};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    connections::incoming::Incoming,
    worker::{InFlight, Owner, RequestPermit},
};

/// Dropped before its end, it takes the connection with it: that is how a request is cancelled.
pub(crate) struct UpstreamBody {
    /// Until it has ended.
    under_way: Option<(Incoming, BodyLease)>,
    /// Why it ended before its end, which is said when what came before has had a chance to go out.
    failed: Option<BodyError>,
    /// Armed while nothing comes.
    stall: Timer,
    /// What had moved when it was armed.
    moved: u64,
    traffic: Rc<Traffic>,
    timeouts: BodyTimeouts,
}

/// How long a body may take.
pub(crate) struct BodyTimeouts {
    /// From one part to the next.
    pub(crate) between: Duration,
    /// Until its end.
    pub(crate) total: Option<Instant>,
}

impl BodyTimeouts {
    /// Whether the total time is over; the clock is read only where there is one.
    fn is_over(&self) -> bool {
        self.total.is_some_and(|until| Instant::now() >= until)
    }

    /// For the next part.
    fn left(&self) -> Duration {
        let total = self.total.map(|until| until.saturating_duration_since(Instant::now()));
        total.map_or(self.between, |left| left.min(self.between))
    }

    /// The one that has run out.
    fn error(&self) -> BodyError {
        if self.is_over() { BodyError::Overdue } else { BodyError::Stalled }
    }
}

/// Holds an endpoint while a response body is read.
pub(crate) struct BodyLease {
    pub(crate) endpoint: InFlight,
    /// The client connection that the connection belongs to, if it is private and kept.
    pub(crate) owner: Option<Rc<Owner>>,
    pub(crate) _permit: Option<RequestPermit>,
}

/// The response has ended: another request may follow on its connection, if that is good for one.
fn give_back(incoming: Incoming, lease: BodyLease) {
    let Some(connection) = incoming.into_connection() else { return };
    if !connection.is_private() {
        return lease.endpoint.put_idle(connection);
    }
    match lease.owner {
        Some(owner) => owner.keep(lease.endpoint.endpoint(), connection),
        None => connection.take_leave(),
    }
}

impl UpstreamBody {
    /// The body to forward. One that is here already gives its connection back at once.
    pub(crate) fn wrap(
        mut incoming: Incoming,
        lease: BodyLease,
        stall: Timer,
        traffic: Rc<Traffic>,
        timeouts: BodyTimeouts,
    ) -> Body {
        if let Some(whole) = incoming.take_whole() {
            give_back(incoming, lease);
            return whole;
        }
        stall.disarm();
        let under_way = Some((incoming, lease));
        Body::Stream(Box::pin(Self { under_way, failed: None, stall, moved: 0, traffic, timeouts }))
    }
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { under_way, failed, stall, moved, traffic, timeouts } = &mut *self;
        let Some((incoming, _)) = under_way else { return Poll::Ready(failed.take().map(Err)) };
        let Poll::Ready(frame) = incoming.poll_frame(cx) else {
            if !stall.is_armed() {
                stall.arm(timeouts.left());
                *moved = traffic.moved_bytes();
            }
            ready!(stall.poll_expired(cx));
            // Of a stream in both directions, such as a call of gRPC, either may be silent as long as the other is not.
            let present = traffic.moved_bytes();
            if std::mem::replace(moved, present) != present && !timeouts.is_over() {
                stall.arm(timeouts.left());
                ready!(stall.poll_expired(cx));
            }
            *under_way = None;
            return Poll::Ready(Some(Err(timeouts.error())));
        };
        stall.disarm();
        if timeouts.is_over() && !matches!(frame, None | Some(Err(_))) {
            *under_way = None;
            return Poll::Ready(Some(Err(BodyError::Overdue)));
        }
        if let Some(Err(error)) = frame {
            *under_way = None;
            *failed = Some(error);
            // Hyper would take its head and all that it has not yet written with it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if (frame.is_none() || incoming.is_end_stream())
            && let Some((incoming, lease)) = under_way.take()
        {
            give_back(incoming, lease);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.under_way.is_none() && self.failed.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.under_way {
            Some((incoming, _)) => incoming.size_hint(),
            None if self.failed.is_some() => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}
