//! An event stream that passes a plugin: each event goes through a call.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use gateway_core::error::Failure;
use gateway_http::{
    body::{Body, BodyError},
    events::{self, Event, EventReader, Part},
};
use gateway_pipeline::Side;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{bindings::message_filter as raw, message_filter::MessageCalls, services::LocalFuture};

/// Has a body pass through the plugin, event by event. No event may have more than `limit` bytes.
pub(super) fn filtered(inner: Body, calls: MessageCalls, limit: usize) -> Body {
    Body::Stream(Box::pin(FilteredEvents {
        inner,
        calls: Rc::new(calls),
        limit,
        reader: EventReader::default(),
        call: None,
        ended: false,
        trailers: None,
    }))
}

struct FilteredEvents {
    inner: Body,
    calls: Rc<MessageCalls>,
    limit: usize,
    reader: EventReader,
    call: Option<Call>,
    ended: bool,
    trailers: Option<HeaderMap>,
}

type Called = Result<raw::MessageResult, Failure>;

struct Call {
    event: Event,
    running: LocalFuture<'static, Called>,
}

impl FilteredEvents {
    fn begin_call(&mut self, mut event: Event) {
        let message = raw::Message::Event(raw::ServerSentEvent {
            id: event.id.take(),
            name: event.name.take(),
            data: std::mem::take(&mut event.data),
        });
        let calls = Rc::clone(&self.calls);
        let running = Box::pin(async move { calls.call(Side::Upstream, message).await });
        self.call = Some(Call { event, running });
    }

    /// What goes on in place of an event.
    fn conclude(&mut self, event: Event, called: Called) -> Result<Bytes, BodyError> {
        let raw::MessageResult { output, replies: _, close, state: _ } = called.map_err(|_| {
            self.end();
            BodyError::Plugin
        })?;
        if close.is_some() {
            self.end();
        }
        let Some(output) = output else { return Ok(event.raw) };
        let mut bytes = BytesMut::from(&event.rest[..]);
        for message in output {
            // Nothing else passes the checks.
            if let raw::Message::Event(raw::ServerSentEvent { id, name, data }) = message {
                events::write(id.as_deref(), name.as_deref(), &data, &mut bytes);
            }
        }
        Ok(bytes.freeze())
    }

    /// The upstream need not send any more.
    fn end(&mut self) {
        self.ended = true;
        self.inner = Body::Empty;
        self.reader = EventReader::default();
    }
}

impl HttpBody for FilteredEvents {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if let Some(call) = &mut this.call {
                let called = ready!(call.running.as_mut().poll(cx));
                let Some(Call { event, .. }) = this.call.take() else { continue };
                match this.conclude(event, called) {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            match this.reader.next_part() {
                Some(Part::Other(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Part::Event(event)) => {
                    this.begin_call(event);
                    continue;
                }
                None if this.ended => {
                    // The rest is an incomplete event, which clients discard.
                    return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
                }
                None => {}
            }
            if this.reader.pending() > this.limit {
                this.calls.refuse(&format!("an event is over {} bytes", this.limit));
                this.end();
                return Poll::Ready(Some(Err(BodyError::Plugin)));
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.reader.push(&data),
                    Err(frame) => {
                        this.trailers = frame.into_trailers().ok();
                        this.ended = true;
                    }
                },
                Some(Err(error)) => {
                    this.end();
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.ended = true,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
