//! Whole bodies, for the plugins that ask for them.

use send_wrapper::SendWrapper;
use wasmtime::{Result, component::Resource};

use crate::{
    http::body::Body,
    pipeline::{Exchange, Phase},
    plugin::{
        bindings::{
            Request, Response,
            bodies::{BodyError, Host},
        },
        gather::{Unread, read},
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
            Ok(read(&mut exchange.request_body, limit).await.map(|whole| whole.bytes.into()).map_err(told))
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
            Ok(read(&mut exchange.response_body, limit).await.map(|whole| whole.bytes.into()).map_err(told))
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

fn told(unread: Unread) -> BodyError {
    match unread {
        Unread::TooLarge(limit) => BodyError::TooLarge(limit),
        Unread::Interrupted(cause) => BodyError::Interrupted(cause),
    }
}
