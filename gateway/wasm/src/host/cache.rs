//! Responses that plugins keep. Heads and bodies stay here; a plugin has the numbers of those that it found.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway_core::model::{Data, DataAccess};
use gateway_http::{
    body::Body,
    request_headers::RequestHeaders,
    spelling::{can_be_respelled, has_other_spelling},
};
use gateway_pipeline::{Exchange, Phase, ResponseHead};
use gateway_rules::{
    fields::Headers as _,
    stored_response::{MAX_KEEP, MAX_LOCK_WAIT, MAX_RELEASE, MAX_REMEMBERED_BYTES, confirmed, fits_entry, fits_key},
};
use gateway_state::{
    CacheKey, ConsumerId, Responses,
    redis::Redis,
    responses::{self, Stored},
};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{
        self, Request, Response,
        cache::{CacheError, Entry, Host, LockResult},
    },
    cache::{
        cache_lookups::{CacheLookups, FoundResponse, Part},
        cache_writer::StorePlan,
        consumer::Audience,
    },
    instance::state::State,
    plugin_state::{Awaited, PluginState},
};

pub(super) type CacheResult<T> = std::result::Result<T, CacheError>;
type HostResult<T> = Result<CacheResult<T>>;

impl Host for State {
    /// In the memory of the process.
    fn find(
        &mut self,
        _: Resource<Request>,
        bucket: String,
        key: String,
        _: bool,
    ) -> HostResult<Vec<bindings::cache::Stored>> {
        match self.find_in_memory(&bucket, &key)? {
            Ok(found) => self.note_found(bucket, key, &found),
            Err(error) => Ok(Err(error)),
        }
    }

    fn answer(&mut self, _: Resource<Request>, id: u32, part: bindings::cache::Part) -> HostResult<()> {
        if !self.may_replace_response() {
            return Ok(Err(CacheError::Unavailable));
        }
        let exchange = self.exchange()?;
        if exchange.phase != Phase::Request {
            return Ok(Err(CacheError::Unavailable));
        }
        let held = &mut PluginState::of(exchange).held;
        Ok(chosen(held, id, part).map(|(_, part)| held.answer_with(id as usize, part)))
    }

    fn restore(
        &mut self,
        _: Resource<Request>,
        _: Resource<Response>,
        id: u32,
        part: bindings::cache::Part,
    ) -> HostResult<()> {
        if !self.may_replace_response() {
            return Ok(Err(CacheError::Unavailable));
        }
        let exchange = self.exchange()?;
        let (found, part) = match chosen(&PluginState::of(exchange).held, id, part) {
            Ok((found, part)) => (found.clone(), part),
            Err(error) => return Ok(Err(error)),
        };
        let (headers, body) = part.of(&found.stored);
        let head = ResponseHead { status: found.stored.status, headers };
        let body = if body.is_empty() { Body::Empty } else { Body::Full(body) };
        Ok(exchange.restore_response(head, body).map_err(|_| CacheError::Unavailable))
    }

    fn keep(
        &mut self,
        _: Resource<Request>,
        _: Resource<Response>,
        bucket: String,
        key: String,
        entry: Entry,
    ) -> HostResult<()> {
        let responses = match self.granted(&bucket, &key)? {
            Ok(responses) => responses,
            Err(error) => return Ok(Err(error)),
        };
        if !self.can_decide_about_storing()? {
            return Ok(Err(CacheError::Unavailable));
        }
        let exchange = self.exchange()?;
        // The answer to a HEAD has no body, and would be taken for one that has none.
        if exchange.phase != Phase::Response || exchange.request.method == Method::HEAD {
            return Ok(Err(CacheError::Unavailable));
        }
        let Some(owner) = owner(exchange, None) else { return Ok(Err(CacheError::Unavailable)) };
        let limit = usize::try_from(entry.max_bytes).unwrap_or(usize::MAX).min(responses.largest());
        let remote = self.remote_for(&entry, owner)?;
        let exchange = self.exchange()?;
        let Some(head) = &exchange.response else { return Ok(Err(CacheError::Unavailable)) };
        let stored = match stored(entry, head.status, head.headers.clone()) {
            Ok(stored) => stored,
            Err(error) => return Ok(Err(error)),
        };
        let claim = PluginState::of(exchange).held.claim.take();
        let (bucket, key) = (bucket.into(), key.into());
        let plan = StorePlan { responses, bucket, consumer: owner, key, stored, limit, claim, remote };
        let body = std::mem::take(&mut exchange.response_body);
        exchange.response_body = plan.follow(body);
        Ok(Ok(()))
    }

    fn freshen(&mut self, _: Resource<Request>, _: Resource<Response>, id: u32, entry: Entry) -> HostResult<()> {
        let responses = Arc::clone(&self.services()?.shared.responses);
        if !self.can_decide_about_storing()? {
            return Ok(Err(CacheError::Unavailable));
        }
        let exchange = self.exchange()?;
        if exchange.phase != Phase::Response {
            return Ok(Err(CacheError::Unavailable));
        }
        let Some(head) = &exchange.response else { return Ok(Err(CacheError::Unavailable)) };
        let news = head.headers.clone();
        let Some(found) = PluginState::of(exchange).held.get(id).cloned() else {
            return Ok(Err(CacheError::Unavailable));
        };
        let headers = confirmed(&found.stored.headers, &news);
        let Some(owner) = owner(exchange, Some(&headers)) else { return Ok(Err(CacheError::Unavailable)) };
        let remote = self.remote_for(&entry, owner)?;
        let stored = match stored(entry, found.stored.status, headers) {
            Ok(stored) => Stored { body: found.stored.body.clone(), ..stored },
            Err(error) => return Ok(Err(error)),
        };
        if found.consumer.is_none() && owner.is_some() {
            // It was shared, and belongs to this consumer from now on.
            self.forget_all(&responses, &found.bucket, &found.key)?;
        }
        if let Some(remote) = remote {
            remote.keep(&found.bucket, &found.key, &stored);
        }
        responses.keep(CacheKey { bucket: &found.bucket, consumer: owner, key: &found.key }, stored.clone());
        let held = &mut PluginState::of(self.exchange()?).held;
        held.claim = None;
        if let Some(place) = held.found.get_mut(id as usize) {
            *place = FoundResponse { consumer: owner, stored: Arc::new(stored), ..found };
        }
        Ok(Ok(()))
    }

    fn forget(&mut self, bucket: String, key: String) -> HostResult<()> {
        let responses = match self.granted(&bucket, &key)? {
            Ok(responses) => responses,
            Err(error) => return Ok(Err(error)),
        };
        self.forget_all(&responses, &bucket, &key)?;
        Ok(Ok(()))
    }

    fn lock(&mut self, _: Resource<Request>, bucket: String, key: String, wait_ms: u32) -> HostResult<LockResult> {
        let responses = match self.granted(&bucket, &key)? {
            Ok(responses) => responses,
            Err(error) => return Ok(Err(error)),
        };
        let exchange = self.exchange()?;
        if exchange.phase != Phase::Request {
            return Ok(Err(CacheError::Unavailable));
        }
        // No request waits for a response that is another consumer's.
        let Ok(Audience { consumer, .. }) = PluginState::audience(exchange) else { return Ok(Ok(LockResult::Free)) };
        let own = PluginState::of(exchange);
        if own.held.claim.is_some() {
            return Ok(Ok(LockResult::Acquired));
        }
        let looked = own.held.looked.filter(|_| !own.held.looked_again);
        Ok(Ok(match responses.claim(CacheKey { bucket: &bucket, consumer, key: &key }, looked) {
            responses::Turn::LookAgain => {
                // Immediately: a response was stored since.
                own.held.looked_again = true;
                own.awaited = Some(Awaited::Release(Box::pin(std::future::ready(None))));
                LockResult::Held
            }
            responses::Turn::Mine(claim) => {
                own.held.claim = Some(claim);
                LockResult::Acquired
            }
            responses::Turn::Everyone => LockResult::Free,
            responses::Turn::Another(_) if own.held.waited => LockResult::Free,
            responses::Turn::Another(mut end) => {
                let wait = Duration::from_millis(wait_ms.into()).min(MAX_LOCK_WAIT);
                own.awaited = Some(Awaited::Release(Box::pin(async move {
                    // It ends, or takes too long: the plugin goes on in both cases.
                    let _ = tokio::time::timeout(wait, end.changed()).await;
                    None
                })));
                own.held.waited = true;
                LockResult::Held
            }
        }))
    }

    fn release(&mut self, _: Resource<Request>, bucket: String, key: String, for_ms: u32) -> HostResult<()> {
        let responses = match self.granted(&bucket, &key)? {
            Ok(responses) => responses,
            Err(error) => return Ok(Err(error)),
        };
        let exchange = self.exchange()?;
        if let Ok(Audience { consumer, .. }) = PluginState::audience(exchange) {
            let key = CacheKey { bucket: &bucket, consumer, key: &key };
            responses.waive(key, Duration::from_millis(for_ms.into()).min(MAX_RELEASE));
        }
        PluginState::of(exchange).held.claim = None;
        Ok(Ok(()))
    }

    fn renew(&mut self, _: Resource<Request>, bucket: String, key: String) -> HostResult<bool> {
        let responses = match self.granted(&bucket, &key)? {
            Ok(responses) => responses,
            Err(error) => return Ok(Err(error)),
        };
        let exchange = self.exchange()?;
        if exchange.phase != Phase::Request || !exchange.request_body.is_buffered() {
            return Ok(Err(CacheError::Unavailable));
        }
        if exchange.background.is_some() || PluginState::existing(exchange).is_some_and(|state| state.held.renewal) {
            return Ok(Ok(false));
        }
        // The response may have been revalidated since.
        let looked = PluginState::existing(exchange).and_then(|state| state.held.looked);
        let Ok(audience) = PluginState::audience(exchange) else { return Ok(Ok(false)) };
        let key = CacheKey { bucket: &bucket, consumer: audience.consumer, key: &key };
        let responses::Turn::Mine(claim) = responses.claim(key, looked) else { return Ok(Ok(false)) };
        exchange.background = Some(Box::new(
            exchange.again(PluginState { held: CacheLookups::of_renewal(claim, audience), ..PluginState::default() }),
        ));
        Ok(Ok(true))
    }

    fn is_renewal(&mut self, _: Resource<Request>) -> Result<bool> {
        Ok(PluginState::existing(self.exchange()?).is_some_and(|state| state.held.renewal))
    }

    fn remember(&mut self, _: Resource<Request>, memo: Vec<u8>) -> HostResult<()> {
        if memo.len() > MAX_REMEMBERED_BYTES {
            return Ok(Err(CacheError::TooLarge));
        }
        PluginState::of(self.exchange()?).held.memo = Some(memo);
        Ok(Ok(()))
    }

    fn recall(&mut self, _: Resource<Request>) -> Result<Option<Vec<u8>>> {
        Ok(PluginState::existing(self.exchange()?).and_then(|state| state.held.memo.clone()))
    }
}

impl State {
    /// Whether the plugin can read what decides about storing the present response, and for which requests it is chosen. For a
    /// plugin that cannot, `private` and `vary` would not be there, and one client would get what is another's.
    fn can_decide_about_storing(&mut self) -> Result<bool> {
        if !self.may_tell_requests_apart() {
            return Ok(false);
        }
        let (exchange, identity) = self.exchange_for()?;
        let Some(granted) = identity.data() else { return Ok(true) };
        let Some(response) = &exchange.response else { return Ok(true) };
        let of_response = [header::CACHE_CONTROL, header::SET_COOKIE, header::VARY];
        let of_response = of_response.into_iter().filter(|name| response.headers.contains_key(name));
        let of_response = of_response.map(|name| (Data::ResponseHeaders, name));
        let sent = |name: &HeaderName| exchange.request.headers.value(name).is_some();
        let cookie = sent(&header::COOKIE).then_some(header::COOKIE);
        // Also one that this request does not have: another one may.
        let of_request = cookie.into_iter().chain(varying(&response.headers)).map(|name| (Data::RequestHeaders, name));
        let is_denied = |(data, name): &(Data, HeaderName)| !granted.allows(*data, DataAccess::Read, name.as_str());
        let denied = of_response.chain(of_request).find(is_denied);
        Ok(match denied {
            // Counts it.
            Some((data, name)) => self.may(data, DataAccess::Read, name.as_str()),
            None => true,
        })
    }

    /// Where a response is kept too. What is one consumer's stays in this gateway's memory.
    fn remote_for(&self, entry: &Entry, owner: Option<ConsumerId>) -> Result<Option<Arc<Redis>>> {
        let shared = entry.shared && owner.is_none();
        Ok(if shared { self.services()?.shared.remote.clone() } else { None })
    }

    /// Here and elsewhere, for all consumers.
    fn forget_all(&self, responses: &Responses, bucket: &str, key: &str) -> Result<()> {
        responses.forget(bucket, key);
        if let Some(remote) = &self.services()?.shared.remote {
            remote.forget(bucket, key);
        }
        Ok(())
    }

    pub(super) fn granted(&self, bucket: &str, key: &str) -> HostResult<Arc<Responses>> {
        // A zero would end the bucket's name where the key begins.
        if !self.identity.grants.store.allows(bucket) || bucket.contains('\0') {
            return Ok(Err(CacheError::Denied(bucket.to_owned())));
        }
        if !fits_key(bucket, key) {
            return Ok(Err(CacheError::TooLarge));
        }
        let services: &Rc<_> = self.services()?;
        Ok(Ok(Arc::clone(&services.shared.responses)))
    }
}

/// Whose the response is: with these fields, or those that it has now. `None` if it is not to be stored at all.
fn owner(exchange: &mut Exchange, headers: Option<&HeaderMap>) -> Option<Option<ConsumerId>> {
    // A later plugin has sent the request to another upstream than the key stands for.
    let looked = PluginState::existing(exchange).map(|state| &state.held).filter(|held| held.looked.is_some());
    if looked.is_some_and(|held| held.upstream != exchange.upstream) {
        return None;
    }
    let audience = PluginState::audience(exchange).ok()?;
    let headers = headers.or(exchange.response.as_ref().map(|head| &head.headers))?;
    if varies_by_two_spellings(&exchange.request.headers, headers) {
        return None;
    }
    audience.owner(exchange, headers).ok()
}

/// Whether a response varies by a header that its request has in another spelling too. A service that merges the two has chosen the
/// response by a value that no other request is compared with (RFC 9111 §4.1).
fn varies_by_two_spellings(request: &RequestHeaders, response: &HeaderMap) -> bool {
    // Not as a map: the gateway's own forwarding headers would be put into it.
    let sent = || request.lines().map(|(name, _)| name);
    varying(response).any(|name| can_be_respelled(name.as_str()) && has_other_spelling(sent(), name.as_str()))
}

/// The headers of requests by which a response is chosen.
fn varying(response: &HeaderMap) -> impl Iterator<Item = HeaderName> + '_ {
    let lines = response.get_all(header::VARY).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

fn chosen(held: &CacheLookups, id: u32, part: bindings::cache::Part) -> CacheResult<(&FoundResponse, Part)> {
    let found = held.get(id).ok_or(CacheError::Unavailable)?;
    let part = match part {
        bindings::cache::Part::Whole => Part::Whole,
        bindings::cache::Part::Nothing => Part::Nothing,
        bindings::cache::Part::Range((first, last)) => {
            if first > last || last >= found.stored.body.len() as u64 {
                return Err(CacheError::Unavailable);
            }
            // Both are less than a length.
            Part::Range(first as usize, last as usize)
        }
    };
    Ok((found, part))
}

/// As yet without a body.
fn stored(entry: Entry, status: StatusCode, mut headers: HeaderMap) -> CacheResult<Stored> {
    let Entry { note, secondary, keep_ms, tags, exclude_headers, max_bytes: _, shared: _ } = entry;
    if !fits_entry(&note, &secondary, &tags) {
        return Err(CacheError::TooLarge);
    }
    for name in &exclude_headers {
        headers.remove(name.as_str());
    }
    Ok(Stored {
        status,
        headers,
        body: bytes::Bytes::new(),
        note: note.into(),
        variant: secondary.into(),
        tags: tags.into_iter().map(String::into_boxed_str).collect(),
        until: Instant::now() + Duration::from_millis(keep_ms).min(MAX_KEEP),
        invalidations: 0,
    })
}
