//! A body on its way into a stream of HTTP/2 (RFC 9113 §8.1), as fast as the other side takes it.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as HttpBody;

use super::body::BodyError;

/// Dropped before its end, it resets the stream.
pub struct Pipe<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// A part of the body for which there is no room yet, and whether it is the last one.
    waiting: Option<(Bytes, bool)>,
}

impl<B: HttpBody<Data = Bytes, Error = BodyError> + Unpin> Pipe<B> {
    pub fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, waiting: None }
    }

    /// Ready when nothing more will be sent: all of it was, or the stream has been reset by either side.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            if self.waiting.is_some() {
                while self.stream.capacity() == 0 {
                    match ready!(self.stream.poll_capacity(cx)) {
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return Poll::Ready(()),
                    }
                }
            }
            if let Some((data, last)) = self.waiting.take() {
                if self.stream.send_data(data, last).is_err() || last {
                    return Poll::Ready(());
                }
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() && !self.body.is_end_stream() => {}
                    Ok(data) => {
                        let last = self.body.is_end_stream();
                        if data.is_empty() {
                            let _ = self.stream.send_data(data, true);
                            return Poll::Ready(());
                        }
                        // One byte only: what is asked for and not used is missing on the other streams of the connection.
                        // `send_data` asks for the rest.
                        self.stream.reserve_capacity(1);
                        self.waiting = Some((data, last));
                    }
                    Err(frame) => {
                        let Ok(trailers) = frame.into_trailers() else { continue };
                        self.stream.reserve_capacity(0);
                        let _ = self.stream.send_trailers(trailers);
                        return Poll::Ready(());
                    }
                },
                Some(Err(error)) => {
                    self.stream.send_reset(reason(&error));
                    return Poll::Ready(());
                }
                None => {
                    let _ = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// The error for the other side: the same as on this side, if the body came by HTTP/2 too.
fn reason(error: &BodyError) -> Reason {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason().unwrap_or(Reason::INTERNAL_ERROR);
        }
        cause = error.source();
    }
    Reason::INTERNAL_ERROR
}
