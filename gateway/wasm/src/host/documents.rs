//! Documents of granted upstreams, shared by all instances.

use std::{rc::Rc, time::Duration};

use wasmtime::Result;

use crate::{
    bindings::documents::{Document, DocumentError, Host, Source},
    instance::state::State,
    services::documents::{self, DocumentLookup},
};
use gateway_rules::call::target;

type DocumentResult = std::result::Result<Option<Document>, DocumentError>;

/// How often a call waits for an attempt to fetch a document. An attempt that ends is not repeated within a second, so the second
/// look finds its result, unless another configuration came into force in between.
const ATTEMPTS: usize = 3;

impl Host for State {
    /// Without a grant: with one, calls run on fibers.
    fn get(&mut self, source: Source, _: u64, _: bool) -> Result<DocumentResult> {
        Ok(Err(DocumentError::Denied(source.upstream)))
    }
}

impl State {
    pub(super) async fn document(&mut self, source: Source, known: u64, force_refresh: bool) -> Result<DocumentResult> {
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
            keep: Duration::from_millis(source.max_stale_ms),
            timeout: Duration::from_millis(source.timeout_ms.into()),
        };
        if !self.is_configured {
            self.declare_document(source);
            return Ok(Err(DocumentError::Unavailable(
                "documents are fetched when the configuration becomes active".to_owned(),
            )));
        }
        let services = Rc::clone(self.services()?);
        let remote = services.shared.remote.as_ref();
        let documents = &services.shared.documents;
        for _ in 0..ATTEMPTS {
            match documents.get(source.clone(), known, force_refresh, &services.upstreams, remote) {
                DocumentLookup::Document { version, body } => {
                    return Ok(Ok(Some(Document { version, bytes: body.to_vec() })));
                }
                DocumentLookup::Same => return Ok(Ok(None)),
                DocumentLookup::Unavailable(why) => return Ok(Err(DocumentError::Unavailable(why))),
                DocumentLookup::Later(arrival) => arrival.await,
            }
        }
        Ok(Err(DocumentError::Unavailable("it is fetched again and again".to_owned())))
    }
}
