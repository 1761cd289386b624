//! The response of an exchange on its way to the client, which carries the exchange with it: when its body is dropped, the exchange ends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use gateway_core::error::Failure;
use gateway_http::{
    body::{Body, BodyError},
    grpc,
    request_id::X_REQUEST_ID,
};
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::ext::ReasonPhrase;

use super::active_exchange::ActiveExchange;

/// The most that is handed over at once to a client that has to take it by a deadline: so that a slow one is
/// not mistaken for one that takes nothing.
const PART: usize = 16 * 1024;

/// The response as hyper shall send it. From here on the exchange lives in its body.
pub(super) fn respond(mut active: Box<ActiveExchange>) -> Response<OutgoingBody> {
    if active.grpc
        && active.local
        && let Some(head) = &mut active.slot.response
    {
        grpc::translate(head.status, &mut head.headers, active.failure);
        head.status = StatusCode::OK;
        active.slot.response_body = Body::Empty;
    }
    let head = active.slot.response.take();
    let keep = active.pipeline(&active.site).has_observers();
    let (status, mut headers) = match head {
        Some(head) => {
            if keep {
                active.slot.response = Some(head.clone());
            }
            (head.status, head.headers)
        }
        None => (StatusCode::INTERNAL_SERVER_ERROR, http::HeaderMap::new()),
    };
    let mut body = std::mem::take(&mut active.slot.response_body);
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED || active.method == Method::HEAD {
        // RFC 9110 §6.4.1: these have no body, whatever a plugin or an upstream says. A stream that is
        // dropped here gives up its connection.
        body = Body::Empty;
        if status == StatusCode::NO_CONTENT {
            headers.remove(header::CONTENT_LENGTH);
        }
    } else if body.is_end_stream() && headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0") {
        // The length of a body that was left out: a plugin made HEAD of the method, or 200 of a 304.
        headers.remove(header::CONTENT_LENGTH);
    }
    headers.entry(X_REQUEST_ID).or_insert_with(|| active.slot.id.clone());
    let is_last = active.worker().is_going_away() || active.failure.is_some_and(Failure::ends_connection);
    if is_last && active.slot.protocol <= Version::HTTP_11 {
        // RFC 9112 §9.6: a client that has read this sends no further request on the connection, so that none is lost.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    active.status = Some(status);
    active.whole = body.is_end_stream();
    active.body = body;
    let reason = reason(&mut active, status);
    let mut response = Response::new(OutgoingBody { active });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    response
}

/// What HTTP/1.1 calls a status, where that is not the usual name. HTTP/2 has no such names (RFC 9113 §8.3.2).
fn reason(active: &mut ActiveExchange, status: StatusCode) -> Option<ReasonPhrase> {
    if active.slot.protocol > Version::HTTP_11 {
        return None;
    }
    match active.reason.take() {
        Some((of, reason)) if of == status => Some(reason),
        // Hyper would invent one.
        _ => status.canonical_reason().is_none().then(|| ReasonPhrase::from_static(b"")),
    }
}

/// The body of a response on its way to the client.
pub struct OutgoingBody {
    active: Box<ActiveExchange>,
}

impl OutgoingBody {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let ActiveExchange { body, rest, delivery, .. } = &mut *self.active;
        if !rest.is_empty() {
            let part = rest.split_to(PART.min(rest.len()));
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if delivery.is_none() {
            return Poll::Ready(frame);
        }
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(mut data) if data.len() > PART => {
                    *rest = data.split_off(PART);
                    Frame::data(data)
                }
                Ok(data) => Frame::data(data),
                Err(frame) => frame,
            })
        }))
    }

    /// When the next part is asked for, the last one has been taken.
    fn time_delivery(&self, handed_over: bool) {
        match &self.active.delivery {
            Some(timer) if handed_over => timer.arm(self.active.site.config.timeouts.body),
            Some(timer) => timer.disarm(),
            None => {}
        }
    }
}

impl HttpBody for OutgoingBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.poll_part(cx);
        self.time_delivery(matches!(frame, Poll::Ready(Some(Ok(_)))));
        let frame = ready!(frame);
        let is_end_stream = self.is_end_stream();
        let active = &mut self.active;
        let mut frame = frame;
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            active.slot.clean_response_trailers(trailers);
        }
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let sent = &active.slot.traffic.sent;
                    sent.set(sent.get() + data.len() as u64);
                }
                // After trailers nothing follows, and hyper does not ask once more.
                active.whole = frame.is_trailers() || is_end_stream;
            }
            Some(Err(error)) => {
                let failure = error.failure();
                active.failure = Some(failure);
                tracing::warn!(
                    request = active.slot.id.to_str().unwrap_or_default(),
                    reason = failure.reason(),
                    "the response was cut off: {error}"
                );
            }
            None => active.whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.active.rest.is_empty() && self.active.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.active.body.size_hint()
    }
}
