//! Conversations with granted upstreams of TCP. What goes on between two calls of the phase is kept with the exchange.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use gateway_pipeline::Phase;
use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{
        Request,
        tcp::{Answer, Host, Message, TcpError},
    },
    instance::state::State,
    pending_call::{PendingCall, Talk},
    plugin_state::PluginState,
    services::{CallError, Opening},
};

type HostResult<T> = Result<std::result::Result<T, TcpError>>;

/// The longest a conversation may take, whatever the plugin asks for.
const TIMEOUT: Duration = Duration::from_secs(60);
const MEMO_BYTES: usize = 64 * 1024;

impl Host for State {
    fn send(&mut self, _: Resource<Request>, message: Message) -> HostResult<()> {
        let Message { upstream, bytes, wants, timeout_ms, repeatable, memo } = message;
        if !self.identity.grants.upstreams.allows(&upstream) {
            return Ok(Err(TcpError::Denied(upstream)));
        }
        let services = Rc::clone(self.services()?);
        let exchange = self.exchange()?;
        if exchange.phase != Phase::Request {
            return Ok(Err(TcpError::Unavailable));
        }
        let limit = exchange.bounds.buffer_bytes;
        if bytes.len() > limit || wants as usize > limit {
            return Ok(Err(TcpError::TooLarge(limit as u64)));
        }
        if memo.len() > MEMO_BYTES {
            return Ok(Err(TcpError::TooLarge(MEMO_BYTES as u64)));
        }
        let asked = Duration::from_millis(timeout_ms.into());
        let timeout = if asked.is_zero() { TIMEOUT } else { asked.min(TIMEOUT) };
        let trace = exchange.trace.clone();
        let opening =
            Opening { bytes, wants: wants as usize, limit, until: Instant::now() + timeout, repeatable, trace };
        let conversing = match services.upstreams.converse(&upstream, opening) {
            Ok(conversing) => conversing,
            Err(error) => return Ok(Err(lowered(error, limit, &upstream))),
        };
        PluginState::take_talk(exchange);
        let answer = Box::pin(async move { Talk { conversation: conversing.await, memo, limit, upstream } });
        PluginState::wait_for(exchange, PendingCall::Talk { going_on: false, answer });
        Ok(Ok(()))
    }

    fn receive(&mut self, _: Resource<Request>) -> HostResult<Option<Answer>> {
        let exchange = self.exchange()?;
        let talk = PluginState::existing(exchange).and_then(|state| state.pending.talk.as_ref());
        let Some(talk) = talk else { return Ok(Ok(None)) };
        Ok(match &talk.conversation {
            Ok(conversation) => Ok(Some(Answer { memo: talk.memo.clone(), bytes: conversation.heard().to_vec() })),
            Err(error) => Err(lowered(error.clone(), talk.limit, &talk.upstream)),
        })
    }

    fn await_more(&mut self, _: Resource<Request>, wants: u32) -> HostResult<()> {
        let exchange = self.exchange()?;
        Ok(match PluginState::take_talk(exchange) {
            Some(Talk { conversation: Ok(mut conversation), memo, limit, upstream }) => {
                let go_on = async move {
                    let conversation = conversation.hear(wants as usize).await.map(|()| conversation);
                    Talk { conversation, memo, limit, upstream }
                };
                PluginState::wait_for(exchange, PendingCall::Talk { going_on: true, answer: Box::pin(go_on) });
                Ok(())
            }
            Some(Talk { conversation: Err(error), limit, upstream, .. }) => Err(lowered(error, limit, &upstream)),
            None => Err(TcpError::Unavailable),
        })
    }

    fn finish(&mut self, _: Resource<Request>) -> Result<()> {
        if let Some(Talk { conversation: Ok(conversation), .. }) = PluginState::take_talk(self.exchange()?) {
            conversation.finish();
        }
        Ok(())
    }
}

fn lowered(error: CallError, limit: usize, upstream: &str) -> TcpError {
    match error {
        CallError::Unknown => TcpError::Denied(upstream.to_owned()),
        CallError::Timeout => TcpError::Timeout,
        CallError::Unreachable(why) => TcpError::Unreachable(why),
        CallError::Closed(how) => TcpError::Closed(how),
        CallError::TooLarge => TcpError::TooLarge(limit as u64),
    }
}
