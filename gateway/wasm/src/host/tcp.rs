//! Connections to granted TCP upstreams.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use wasmtime::{Result, component::Resource};

use super::client::BYTES_WITHOUT_EXCHANGE;
use crate::{
    bindings::{
        ConnectionHandle,
        tcp::{Host, HostConnection, Message, TcpError},
    },
    instance::{handles::Connection, state::State},
    services::{CallError, Opening},
};

type HostResult<T> = Result<std::result::Result<T, TcpError>>;

/// The longest a connection may be used, whatever the plugin asks for.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Host for State {
    /// Without a grant: with one, calls run on fibers.
    fn send(&mut self, message: Message) -> HostResult<Resource<ConnectionHandle>> {
        Ok(Err(TcpError::Denied(message.upstream)))
    }

    fn release(&mut self, connection: Resource<ConnectionHandle>) -> Result<()> {
        if let Some(connection) = self.connections().take(connection.rep()) {
            connection.conversation.finish();
        }
        Ok(())
    }
}

impl HostConnection for State {
    /// Without a grant there is no connection to receive from.
    fn receive(&mut self, _: Resource<ConnectionHandle>, _: u32) -> HostResult<Vec<u8>> {
        Ok(Err(TcpError::Unavailable))
    }

    fn drop(&mut self, connection: Resource<ConnectionHandle>) -> Result<()> {
        self.connections().take(connection.rep());
        Ok(())
    }
}

impl State {
    pub(super) async fn tcp_send(&mut self, message: Message) -> HostResult<Resource<ConnectionHandle>> {
        let Message { upstream, bytes, min_bytes, timeout_ms, repeatable } = message;
        if !self.identity.grants.upstreams.allows(&upstream) {
            return Ok(Err(TcpError::Denied(upstream)));
        }
        let services = Rc::clone(self.services()?);
        if !self.connections().has_room() {
            return Ok(Err(TcpError::Unavailable));
        }
        if !self.is_configured {
            return Ok(Err(TcpError::Unavailable));
        }
        let (limit, trace) = self
            .lent()
            .map_or((BYTES_WITHOUT_EXCHANGE, None), |exchange| (exchange.bounds.buffer_bytes, exchange.trace.clone()));
        let wants = min_bytes as usize;
        if bytes.len() > limit || wants > limit {
            return Ok(Err(TcpError::TooLarge(limit as u64)));
        }
        let asked = Duration::from_millis(timeout_ms.into());
        let timeout = if asked.is_zero() { TIMEOUT } else { asked.min(TIMEOUT) };
        let opening = Opening { bytes, wants, limit, until: Instant::now() + timeout, repeatable, trace };
        let conversation = match services.upstreams.converse(&upstream, opening) {
            Ok(conversing) => conversing.await,
            Err(error) => Err(error),
        };
        Ok(match conversation {
            Ok(conversation) => {
                let connection = Connection { conversation, returned: 0, upstream, limit };
                Ok(Resource::new_own(self.connections().add(connection)))
            }
            Err(error) => Err(lowered(error, limit, &upstream)),
        })
    }

    pub(super) async fn tcp_receive(
        &mut self,
        handle: Resource<ConnectionHandle>,
        min_bytes: u32,
    ) -> HostResult<Vec<u8>> {
        let Some(mut connection) = self.connections().take(handle.rep()) else {
            return Ok(Err(TcpError::Closed("it was closed before".to_owned())));
        };
        Ok(match connection.receive(min_bytes as usize).await {
            Ok(bytes) => {
                self.connections().put_back(handle.rep(), connection);
                Ok(bytes)
            }
            Err(error) => Err(lowered(error, connection.limit, &connection.upstream)),
        })
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
