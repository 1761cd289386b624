//! Whole bodies, for the plugins that ask for them.

use http_body::Body as _;
use http_body_util::BodyExt;
use send_wrapper::SendWrapper;
use wasmtime::{Result, component::Resource};

use crate::{
    http::body::{self, Body},
    pipeline::{Exchange, Phase},
    plugin::{
        bindings::{
            Request, Response,
            bodies::{BodyError, Host},
        },
        replay::Replay,
        state::State,
    },
};

type Answer<T> = Result<std::result::Result<T, BodyError>>;

impl Host for State {
    async fn read_request(&mut self, _: Resource<Request>) -> Answer<Vec<u8>> {
        SendWrapper::new(async {
            let exchange = self.exchange()?;
            if exchange.phase != Phase::Request {
                return Ok(Err(BodyError::Unavailable));
            }
            let limit = exchange.bounds.buffer_bytes;
            Ok(read(&mut exchange.request_body, limit).await)
        })
        .await
    }

    async fn replace_request(&mut self, _: Resource<Request>, body: Vec<u8>) -> Answer<()> {
        let exchange = self.exchange()?;
        Ok(within_bounds(exchange, body)
            .and_then(|body| exchange.replace_request_body(body).map_err(|_| BodyError::Unavailable)))
    }

    async fn read_response(&mut self, _: Resource<Response>) -> Answer<Vec<u8>> {
        SendWrapper::new(async {
            let exchange = self.exchange()?;
            if exchange.phase != Phase::Response {
                return Ok(Err(BodyError::Unavailable));
            }
            let limit = exchange.bounds.buffer_bytes;
            Ok(read(&mut exchange.response_body, limit).await)
        })
        .await
    }

    async fn replace_response(&mut self, _: Resource<Response>, body: Vec<u8>) -> Answer<()> {
        let exchange = self.exchange()?;
        Ok(within_bounds(exchange, body)
            .and_then(|body| exchange.replace_response_body(body).map_err(|_| BodyError::Unavailable)))
    }
}

fn within_bounds(exchange: &Exchange, body: Vec<u8>) -> std::result::Result<Body, BodyError> {
    let limit = exchange.bounds.buffer_bytes;
    if body.len() > limit { Err(BodyError::TooLarge(limit as u64)) } else { Ok(body.into()) }
}

/// Collects a body and leaves it in its place, so that whoever comes next meets the same bytes: also when it
/// is too large, and also when the call is cancelled half-way.
async fn read(place: &mut Body, limit: usize) -> std::result::Result<Vec<u8>, BodyError> {
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

    async fn collect(&mut self, limit: usize) -> std::result::Result<Vec<u8>, BodyError> {
        let over = || BodyError::TooLarge(limit as u64);
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
                        body::BodyError::TooLarge(limit) => BodyError::TooLarge(limit),
                        ref error => BodyError::Interrupted(error.to_string()),
                    };
                    self.body.break_off(error);
                    return Err(answer);
                }
                None => {
                    self.body.rest = Body::Empty;
                    return Ok(self.body.bytes().into());
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
