//! Documents of granted upstreams, shared by all instances.

use std::{rc::Rc, time::Duration};

use wasmtime::Result;

use super::client::target;
use crate::{
    bindings::documents::{Document, DocumentError, Host, Source},
    instance::state::State,
    pending_call::PendingCall,
    plugin_state::PluginState,
    services::documents::{self, DocumentLookup},
};

impl Host for State {
    fn get(
        &mut self,
        source: Source,
        known: u64,
        insist: bool,
    ) -> Result<std::result::Result<Option<Document>, DocumentError>> {
        if !self.identity.grants.upstreams.allows(&source.upstream) {
            return Ok(Err(DocumentError::Denied(source.upstream)));
        }
        let target = match target(&source.path_with_query) {
            Ok(target) => target,
            Err(reason) => return Ok(Err(DocumentError::Invalid(reason))),
        };
        let source = documents::Source {
            upstream: source.upstream,
            target,
            refresh: Duration::from_millis(source.refresh_ms),
            retry: Duration::from_millis(source.retry_ms),
            keep: Duration::from_millis(source.keep_ms),
            timeout: Duration::from_millis(source.timeout_ms.into()),
        };
        let services = Rc::clone(self.services()?);
        // No request waits while a configuration is tried, and no upstream can be called.
        let Ok(exchange) = self.exchange() else { return Ok(Err(DocumentError::Later)) };
        let remote = services.shared.remote.as_ref();
        Ok(match services.shared.documents.get(source, known, insist, &services.upstreams, remote) {
            DocumentLookup::Document { version, body } => Ok(Some(Document { version, body: body.to_vec() })),
            DocumentLookup::Same => Ok(None),
            DocumentLookup::Unavailable(why) => Err(DocumentError::Unavailable(why)),
            DocumentLookup::Later(arrival) => {
                let arrived = async move {
                    arrival.await;
                    None
                };
                PluginState::wait_for(exchange, PendingCall::Thing(Box::pin(arrived)));
                Err(DocumentError::Later)
            }
        })
    }
}
