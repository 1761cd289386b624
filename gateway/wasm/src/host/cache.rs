//! Responses that plugins keep. Heads and bodies stay here; a plugin has the numbers of those that it found.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway_http::{
    body::Body,
    spelling::{can_be_respelled, has_other_spelling},
};
use gateway_pipeline::{Exchange, Phase, ResponseHead};
use gateway_state::{
    CacheKey, ConsumerId, Responses,
    redis::{Redis, Reply},
    responses::{self, MAX_NOTE_BYTES, MAX_RESPONSE_KEY_BYTES, Stored},
};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use smallvec::{SmallVec, smallvec};
use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{
        self, Request, Response,
        cache::{CacheError, Entry, Host, Turn},
    },
    cache::{
        cache_lookups::{CacheLookups, FoundResponse, Part},
        cache_writer::StorePlan,
        consumer::Audience,
    },
    instance::state::State,
    pending_call::PendingCall,
    plugin_state::PluginState,
};

type CacheResult<T> = std::result::Result<T, CacheError>;
type HostResult<T> = Result<CacheResult<T>>;

/// Stored responses that one stage may look at for one exchange.
const FOUND: usize = 256;
const MEMO_BYTES: usize = 64 * 1024;
/// What may be asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIVER: Duration = Duration::from_secs(3600);
const LONGEST_KEEP: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a 304 does not change of a stored response (RFC 9111 §3.2): what its body is, and how it was framed.
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::ETAG,
    HeaderName::from_static("content-md5"),
];

impl Host for State {
    fn find(
        &mut self,
        _: Resource<Request>,
        bucket: String,
        key: String,
        shared: bool,
    ) -> HostResult<Vec<bindings::cache::Stored>> {
        let responses = match self.granted(&bucket, &key)? {
            Ok(responses) => responses,
            Err(error) => return Ok(Err(error)),
        };
        // What a body asks for is not in the key (RFC 9110 §9.3.1).
        let exchange = self.exchange()?;
        if exchange.phase == Phase::Request && !matches!(exchange.request_body, Body::Empty) {
            return Ok(Err(CacheError::Unavailable));
        }
        let Ok(audience) = PluginState::find_audience(exchange) else { return Ok(Err(CacheError::Unavailable)) };
        let Audience { consumer, shares, .. } = audience;
        let own = CacheKey { bucket: &bucket, consumer, key: &key };
        let looked = responses.lookup_mark(own);
        // Each with its owner: the consumer's own, then shared ones, if that is allowed.
        let mut found: SmallVec<[_; 2]> = smallvec![(consumer, responses.find(own))];
        if consumer.is_some() && shares {
            found.push((None, responses.find(CacheKey::anonymous(&bucket, &key))));
        }
        if shared && shares && found.iter().all(|(_, found)| found.is_empty()) {
            match self.find_elsewhere(&responses, &bucket, &key)? {
                Ok(elsewhere) => found.push((None, elsewhere)),
                Err(error) => return Ok(Err(error)),
            }
        }
        let held = &mut PluginState::of(self.exchange()?).held;
        held.looked = Some(looked);
        let count: usize = found.iter().map(|(_, found)| found.len()).sum();
        if held.found.len() + count > FOUND {
            return Ok(Err(CacheError::TooLarge));
        }
        let (bucket, key): (Arc<str>, Arc<str>) = (bucket.into(), key.into());
        let mut told = Vec::with_capacity(count);
        for (consumer, found) in &found {
            for stored in found.iter() {
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

    fn answer(&mut self, _: Resource<Request>, id: u32, part: bindings::cache::Part) -> HostResult<()> {
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
        let exchange = self.exchange()?;
        // The answer to a HEAD has no body, and would be taken for one that has none.
        if exchange.phase != Phase::Response || exchange.request.method == Method::HEAD {
            return Ok(Err(CacheError::Unavailable));
        }
        let Some(owner) = owner(exchange, None) else { return Ok(Err(CacheError::Unavailable)) };
        let limit = usize::try_from(entry.most_bytes).unwrap_or(usize::MAX).min(responses.largest());
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
        let exchange = self.exchange()?;
        if exchange.phase != Phase::Response {
            return Ok(Err(CacheError::Unavailable));
        }
        let Some(head) = &exchange.response else { return Ok(Err(CacheError::Unavailable)) };
        let news = head.headers.clone();
        let Some(found) = PluginState::of(exchange).held.get(id).cloned() else {
            return Ok(Err(CacheError::Unavailable));
        };
        let headers = renewed(&found.stored.headers, &news);
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

    fn claim(&mut self, _: Resource<Request>, bucket: String, key: String, wait_ms: u32) -> HostResult<Turn> {
        let responses = match self.granted(&bucket, &key)? {
            Ok(responses) => responses,
            Err(error) => return Ok(Err(error)),
        };
        let exchange = self.exchange()?;
        if exchange.phase != Phase::Request {
            return Ok(Err(CacheError::Unavailable));
        }
        // No request waits for a response that is another consumer's.
        let Ok(Audience { consumer, .. }) = PluginState::audience(exchange) else { return Ok(Ok(Turn::Nobodys)) };
        let held = &mut PluginState::of(exchange).held;
        if held.claim.is_some() {
            return Ok(Ok(Turn::Mine));
        }
        match responses.claim(CacheKey { bucket: &bucket, consumer, key: &key }, held.looked) {
            responses::Turn::LookAgain => {
                // Immediately: a response was stored since.
                PluginState::wait_for(exchange, PendingCall::Thing(Box::pin(async { None })));
                Ok(Err(CacheError::Later))
            }
            responses::Turn::Mine(claim) => {
                held.claim = Some(claim);
                Ok(Ok(Turn::Mine))
            }
            responses::Turn::Everyone => Ok(Ok(Turn::Nobodys)),
            responses::Turn::Another(_) if held.waited => Ok(Ok(Turn::Nobodys)),
            responses::Turn::Another(mut end) => {
                held.waited = true;
                let wait = Duration::from_millis(wait_ms.into()).min(LONGEST_WAIT);
                let ended = async move {
                    // It ends, or takes too long: the plugin goes on in both cases.
                    let _ = tokio::time::timeout(wait, end.changed()).await;
                    None
                };
                PluginState::wait_for(exchange, PendingCall::Thing(Box::pin(ended)));
                Ok(Err(CacheError::Later))
            }
        }
    }

    fn waive(&mut self, _: Resource<Request>, bucket: String, key: String, for_ms: u32) -> HostResult<()> {
        let responses = match self.granted(&bucket, &key)? {
            Ok(responses) => responses,
            Err(error) => return Ok(Err(error)),
        };
        let exchange = self.exchange()?;
        if let Ok(Audience { consumer, .. }) = PluginState::audience(exchange) {
            let key = CacheKey { bucket: &bucket, consumer, key: &key };
            responses.waive(key, Duration::from_millis(for_ms.into()).min(LONGEST_WAIVER));
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
        if memo.len() > MEMO_BYTES {
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
    /// What is not in memory may be where the state is. What is found there is in memory from then on.
    fn find_elsewhere(&mut self, responses: &Responses, bucket: &str, key: &str) -> HostResult<Arc<[Arc<Stored>]>> {
        let Some(remote) = self.services()?.shared.remote.clone() else { return Ok(Ok(Arc::new([]))) };
        let Ok(op) = remote.find(bucket, key) else { return Ok(Ok(Arc::new([]))) };
        match self.inquire(op)? {
            None => Ok(Err(CacheError::Later)),
            Some(Ok(Reply::Kept(kept))) => {
                let found = remote.found(bucket, key, kept);
                for stored in &found {
                    responses.remember(CacheKey::anonymous(bucket, key), stored.clone());
                }
                Ok(Ok(found.into_iter().map(Arc::new).collect()))
            }
            // It is fetched, as if nothing were there.
            Some(_) => Ok(Ok(Arc::new([]))),
        }
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

    fn granted(&self, bucket: &str, key: &str) -> HostResult<Arc<Responses>> {
        // A zero would end the bucket's name where the key begins.
        if !self.identity.grants.store.allows(bucket) || bucket.contains('\0') {
            return Ok(Err(CacheError::Denied(bucket.to_owned())));
        }
        if bucket.len() + key.len() > MAX_RESPONSE_KEY_BYTES {
            return Ok(Err(CacheError::TooLarge));
        }
        let services: &Rc<_> = self.services()?;
        Ok(Ok(Arc::clone(&services.shared.responses)))
    }
}

/// Whose the response is: with these fields, or those that it has now. `None` if it is not to be stored at all.
fn owner(exchange: &mut Exchange, headers: Option<&HeaderMap>) -> Option<Option<ConsumerId>> {
    let audience = PluginState::audience(exchange).ok()?;
    let headers = headers.or(exchange.response.as_ref().map(|head| &head.headers))?;
    if varies_by_two_spellings(&exchange.request.headers, headers) {
        return None;
    }
    audience.owner(exchange, headers).ok()
}

/// Whether a response varies by a header that its request has in another spelling too. A service that merges the two has chosen the
/// response by a value that no other request is compared with (RFC 9111 §4.1).
fn varies_by_two_spellings(request: &HeaderMap, response: &HeaderMap) -> bool {
    let lines = response.get_all(header::VARY).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut names = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    names.any(|name| can_be_respelled(name.as_str()) && has_other_spelling(request, name.as_str()))
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
    let Entry { note, secondary, keep_ms, tags, without, most_bytes: _, shared: _ } = entry;
    let tag_bytes: usize = tags.iter().map(|tag| tag.len() + 1).sum();
    if [note.len(), secondary.len(), tag_bytes].into_iter().any(|bytes| bytes > MAX_NOTE_BYTES) {
        return Err(CacheError::TooLarge);
    }
    for name in &without {
        headers.remove(name.as_str());
    }
    Ok(Stored {
        status,
        headers,
        body: bytes::Bytes::new(),
        note: note.into(),
        variant: secondary.into(),
        tags: tags.into_iter().map(String::into_boxed_str).collect(),
        until: Instant::now() + Duration::from_millis(keep_ms).min(LONGEST_KEEP),
        invalidations: 0,
    })
}

/// The fields of a stored response after a response that confirms it.
fn renewed(old: &HeaderMap, news: &HeaderMap) -> HeaderMap {
    let mut headers = old.clone();
    let changed: Vec<_> = news.keys().filter(|name| !OF_THE_BODY.contains(name)).collect();
    for name in &changed {
        headers.remove(*name);
    }
    for name in changed {
        for value in news.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}
