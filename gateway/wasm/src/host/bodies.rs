//! Whole bodies, for the plugins that ask for them.

use gateway_http::body::Body;
use gateway_pipeline::{Exchange, Phase};
use send_wrapper::SendWrapper;
use wasmtime::{Result, component::Resource};

use crate::{
    admission::GaveWay,
    bindings::{
        Request, Response,
        bodies::{BodyError, Host},
    },
    bodies::gather::{Unread, read},
    instance::state::State,
    pending_call::PendingCall,
    plugin_state::PluginState,
};

type HostResult<T> = Result<std::result::Result<T, BodyError>>;

impl Host for State {
    async fn read_request(&mut self, _: Resource<Request>) -> HostResult<Vec<u8>> {
        SendWrapper::new(async { whole(self, Phase::Request, |exchange| &mut exchange.request_body).await }).await
    }

    async fn replace_request(&mut self, _: Resource<Request>, body: Vec<u8>) -> HostResult<()> {
        let exchange = self.exchange()?;
        Ok(within_bounds(exchange, body)
            .and_then(|body| exchange.replace_request_body(body).map_err(|_| BodyError::Unavailable)))
    }

    async fn read_response(&mut self, _: Resource<Response>) -> HostResult<Vec<u8>> {
        SendWrapper::new(async { whole(self, Phase::Response, |exchange| &mut exchange.response_body).await }).await
    }

    async fn replace_response(&mut self, _: Resource<Response>, body: Vec<u8>) -> HostResult<()> {
        let exchange = self.exchange()?;
        Ok(within_bounds(exchange, body)
            .and_then(|body| exchange.replace_response_body(body).map_err(|_| BodyError::Unavailable)))
    }
}

/// Reads a body to its end. A call that could be made again from its beginning does not wait for it while others wait for its
/// instance.
async fn whole(state: &mut State, phase: Phase, place: fn(&mut Exchange) -> &mut Body) -> HostResult<Vec<u8>> {
    let contention = state.may_give_way();
    let exchange = state.exchange()?;
    if exchange.phase != phase {
        return Ok(Err(BodyError::Unavailable));
    }
    let limit = exchange.bounds.buffer_bytes;
    let reading = read(place(exchange), limit);
    let whole = match contention {
        None => reading.await,
        Some(contention) => {
            tokio::select! {
                biased;
                whole = reading => whole,
                () = contention.wanted() => {
                    PluginState::wait_for(exchange, PendingCall::Body);
                    return Err(GaveWay.into());
                }
            }
        }
    };
    Ok(whole.map(|whole| whole.bytes.into()).map_err(told))
}

fn within_bounds(exchange: &Exchange, body: Vec<u8>) -> std::result::Result<Body, BodyError> {
    exchange.bounds.check_body(body.len()).map_err(BodyError::TooLarge)?;
    Ok(body.into())
}

fn told(unread: Unread) -> BodyError {
    match unread {
        Unread::TooLarge(limit) => BodyError::TooLarge(limit),
        Unread::Interrupted(cause) => BodyError::Interrupted(cause),
    }
}
