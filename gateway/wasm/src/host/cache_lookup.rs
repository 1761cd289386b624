//! Looking for stored responses: in the memory of the process, then in Redis, which other gateways share.

use std::sync::Arc;

use gateway_http::body::Body;
use gateway_pipeline::Phase;
use gateway_rules::stored_response::MAX_FOUND;
use gateway_state::{CacheKey, ConsumerId, redis::Reply, responses::Stored};
use smallvec::{SmallVec, smallvec};
use wasmtime::Result;

use crate::{
    bindings::{self, cache::CacheError},
    cache::{cache_lookups::FoundResponse, consumer::Audience},
    instance::state::State,
    plugin_state::PluginState,
};

type HostResult<T> = Result<std::result::Result<T, CacheError>>;

/// Stored responses with their owner.
type List = (Option<ConsumerId>, Arc<[Arc<Stored>]>);

/// What is stored under a key: the consumer's own, then shared ones, if that is allowed.
pub(super) struct Found {
    lists: SmallVec<[List; 2]>,
    /// Responses that belong to no consumer may be used.
    shares: bool,
}

impl State {
    pub(super) fn find_in_memory(&mut self, bucket: &str, key: &str) -> HostResult<Found> {
        let responses = match self.granted(bucket, key)? {
            Ok(responses) => responses,
            Err(error) => return Ok(Err(error)),
        };
        // It could not give what it finds, or would find what is for another request.
        if !self.may_replace_response() || !self.may_tell_requests_apart() {
            return Ok(Err(CacheError::Unavailable));
        }
        // What a body asks for is not in the key (RFC 9110 §9.3.1).
        let exchange = self.exchange()?;
        if exchange.phase == Phase::Request && !matches!(exchange.request_body, Body::Empty) {
            return Ok(Err(CacheError::Unavailable));
        }
        let Ok(audience) = PluginState::find_audience(exchange) else { return Ok(Err(CacheError::Unavailable)) };
        let Audience { consumer, shares, .. } = audience;
        let own = CacheKey { bucket, consumer, key };
        let upstream = exchange.upstream.clone();
        let held = &mut PluginState::of(exchange).held;
        held.looked = Some(responses.lookup_mark(own));
        held.upstream = upstream;
        let mut lists: SmallVec<[_; 2]> = smallvec![(consumer, responses.find(own))];
        if consumer.is_some() && shares {
            lists.push((None, responses.find(CacheKey::anonymous(bucket, key))));
        }
        Ok(Ok(Found { lists, shares }))
    }

    /// The same, and with `shared` also in Redis, if nothing is in memory. What is found there is in memory from then on.
    pub(in crate::host) async fn find_stored(
        &mut self,
        bucket: String,
        key: String,
        shared: bool,
    ) -> HostResult<Vec<bindings::cache::Stored>> {
        let mut found = match self.find_in_memory(&bucket, &key)? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        if shared && found.shares && found.lists.iter().all(|(_, list)| list.is_empty()) {
            found.lists.push((None, self.find_remote(&bucket, &key).await?));
        }
        self.note_found(bucket, key, &found)
    }

    /// Nothing where Redis has nothing or cannot be asked: the response is fetched then.
    async fn find_remote(&mut self, bucket: &str, key: &str) -> Result<Arc<[Arc<Stored>]>> {
        let shared = Arc::clone(&self.services()?.shared);
        let Some(remote) = &shared.remote else { return Ok(Arc::new([])) };
        let Ok(asked) = remote.find(bucket, key).and_then(|op| remote.ask(op)) else { return Ok(Arc::new([])) };
        let Ok(Reply::Kept(kept)) = asked.answer().await else { return Ok(Arc::new([])) };
        let found = remote.found(bucket, key, kept);
        for stored in &found {
            shared.responses.remember(CacheKey::anonymous(bucket, key), stored.clone());
        }
        Ok(found.into_iter().map(Arc::new).collect())
    }

    /// Gives the plugin numbers for what was found.
    pub(super) fn note_found(
        &mut self,
        bucket: String,
        key: String,
        found: &Found,
    ) -> HostResult<Vec<bindings::cache::Stored>> {
        let held = &mut PluginState::of(self.exchange()?).held;
        let count: usize = found.lists.iter().map(|(_, list)| list.len()).sum();
        if held.found.len() + count > MAX_FOUND {
            return Ok(Err(CacheError::TooLarge));
        }
        let (bucket, key): (Arc<str>, Arc<str>) = (bucket.into(), key.into());
        let mut told = Vec::with_capacity(count);
        for (consumer, list) in &found.lists {
            for stored in list.iter() {
                told.push(bindings::cache::Stored {
                    id: u32::try_from(held.found.len()).unwrap_or(u32::MAX),
                    status: stored.status.as_u16(),
                    body_bytes: stored.body.len() as u64,
                    note: stored.note.to_vec(),
                });
                let (bucket, key, stored) = (bucket.clone(), key.clone(), stored.clone());
                held.found.push(FoundResponse { bucket, consumer: *consumer, key, stored });
            }
        }
        Ok(Ok(told))
    }
}
