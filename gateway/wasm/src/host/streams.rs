//! Bodies with their trailers, and bodies that are changed as they pass.

use gateway_http::body::Body;
use gateway_pipeline::{Exchange, Phase};
use gateway_rules::reply::MAX_MEMO_BYTES;
use http_body_util::BodyExt;
use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{
        Request, Response,
        streams::{Content, Host, StreamError},
    },
    bodies::gather::{Unread, read_at_once},
    fields,
    instance::state::State,
    pending_call::PendingCall,
    plugin_state::PluginState,
};

type StreamResult<T> = std::result::Result<T, StreamError>;
type HostResult<T> = Result<StreamResult<T>>;

impl Host for State {
    fn read_request(&mut self, _: Resource<Request>) -> HostResult<Content> {
        let exchange = self.exchange()?;
        Ok(whole(exchange, Phase::Request, |exchange| &mut exchange.request_body))
    }

    fn replace_request(&mut self, _: Resource<Request>, body: Vec<u8>) -> HostResult<()> {
        let exchange = self.exchange()?;
        Ok(within_bounds(exchange, &body)
            .and_then(|()| exchange.replace_request_body(body.into()).map_err(|_| StreamError::Unavailable)))
    }

    fn read_response(&mut self, _: Resource<Response>) -> HostResult<Content> {
        let exchange = self.exchange()?;
        Ok(whole(exchange, Phase::Response, |exchange| &mut exchange.response_body))
    }

    fn replace_response(&mut self, _: Resource<Response>, content: Content) -> HostResult<()> {
        let exchange = self.exchange()?;
        if let Err(error) = within_bounds(exchange, &content.body) {
            return Ok(Err(error));
        }
        let Content { body, trailers } = content;
        let body = if trailers.is_empty() {
            Body::from(body)
        } else {
            match fields::trailers(trailers) {
                Ok(trailers) => Body::Stream(Box::pin(Body::from(body).with_trailers(async { Some(Ok(trailers)) }))),
                Err(error) => return Ok(Err(StreamError::Invalid(error.to_string()))),
            }
        };
        Ok(exchange.replace_response_body(body).map_err(|_| StreamError::Unavailable))
    }

    fn follow_response(&mut self, _: Resource<Response>, memo: Vec<u8>) -> HostResult<()> {
        let exchange = self.exchange()?;
        if exchange.phase != Phase::Response {
            return Ok(Err(StreamError::Unavailable));
        }
        if memo.len() > MAX_MEMO_BYTES {
            return Ok(Err(StreamError::TooLarge(MAX_MEMO_BYTES as u64)));
        }
        PluginState::of(exchange).follows = Some(memo);
        Ok(Ok(()))
    }
}

fn whole(exchange: &mut Exchange, phase: Phase, place: fn(&mut Exchange) -> &mut Body) -> StreamResult<Content> {
    if exchange.phase != phase {
        return Err(StreamError::Unavailable);
    }
    let limit = exchange.bounds.buffer_bytes;
    match read_at_once(place(exchange), limit) {
        Some(Ok(whole)) => {
            let trailers = whole.trailers.as_ref().map(|trailers| fields::all(trailers).collect());
            Ok(Content { body: whole.bytes.into(), trailers: trailers.unwrap_or_default() })
        }
        Some(Err(Unread::TooLarge(limit))) => Err(StreamError::TooLarge(limit)),
        Some(Err(Unread::Interrupted(cause))) => Err(StreamError::Interrupted(cause)),
        None => {
            PluginState::wait_for(exchange, PendingCall::Body);
            Err(StreamError::Later)
        }
    }
}

fn within_bounds(exchange: &Exchange, body: &[u8]) -> StreamResult<()> {
    exchange.bounds.check_body(body.len()).map_err(StreamError::TooLarge)
}
