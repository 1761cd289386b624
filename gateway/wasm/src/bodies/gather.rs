//! Bodies that a plugin wants whole.

use bytes::Bytes;
use gateway_http::body::{self, Body};
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::{bindings::BodyError, replay::Replay};

/// Why a body is not to be had whole.
pub(crate) enum Unread {
    /// Over the limit of so many bytes.
    TooLarge(u64),
    Interrupted(String),
}

impl From<Unread> for BodyError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge(limit) => Self::TooLarge(limit),
            Unread::Interrupted(cause) => Self::Interrupted(cause),
        }
    }
}

/// A body that was read whole.
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Collects a body and leaves it in its place, so that the next reader gets the same bytes: also when it is
/// too large, and also when the call is cancelled half-way.
pub(crate) async fn read(place: &mut Body, limit: usize) -> Result<Whole, Unread> {
    Reading::new(place).collect(limit).await
}

/// Holds a body that is being read, and puts it back.
struct Reading<'a> {
    place: &'a mut Body,
    body: Replay,
}

impl<'a> Reading<'a> {
    fn new(place: &'a mut Body) -> Self {
        let body = Replay::new(std::mem::take(place));
        Self { place, body }
    }

    async fn collect(&mut self, limit: usize) -> Result<Whole, Unread> {
        let over = || Unread::TooLarge(limit as u64);
        if self.body.rest.size_hint().lower() > limit as u64 {
            return Err(over());
        }
        loop {
            match self.body.rest.frame().await {
                Some(Ok(frame)) => {
                    if self.body.keep(frame) > limit {
                        return Err(over());
                    }
                }
                Some(Err(error)) => {
                    let answer = match error {
                        body::BodyError::TooLarge(limit) => Unread::TooLarge(limit),
                        ref error => Unread::Interrupted(error.to_string()),
                    };
                    self.body.break_off(error);
                    return Err(answer);
                }
                None => {
                    self.body.rest = Body::Empty;
                    return Ok(Whole { bytes: self.body.bytes(), trailers: self.body.trailers.clone() });
                }
            }
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        *self.place = std::mem::take(&mut self.body).into_body();
    }
}
