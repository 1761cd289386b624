//! Stored responses, for one test in one thread.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    time::Duration,
};

use gateway_rules::stored_response::{
    MAX_FOUND, MAX_KEEP, MAX_RELEASE, MAX_REMEMBERED_BYTES, MAX_VARIANTS, confirmed, fits_entry, fits_key,
};
use http::{HeaderMap, Method, StatusCode};

use super::head::{RequestHead, ResponseHead};
use crate::{
    Reply,
    cache::{CacheError, Entry, LockResult, Part, Stored},
};

type Address = (String, String);

#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<Address, Vec<Rc<Kept>>>,
    locks: HashSet<Address>,
    released: HashMap<Address, Duration>,
    pub(super) renewals: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    entry: Entry,
    until: Duration,
}

/// What belongs to one exchange.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold {
    found: Vec<(Address, Rc<Kept>)>,
    pub(crate) memo: Option<Vec<u8>>,
    pub(crate) answer: Option<(u32, Part)>,
    pub(crate) renewal: bool,
    pub(super) lock: Waiting,
}

/// What an exchange has to do with locks of others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Waiting {
    #[default]
    No,
    /// A lock is held, and the plugin may wait for it.
    Possible,
    Over,
}

fn address(bucket: &str, key: &str) -> Result<Address, CacheError> {
    fits_key(bucket, key).then(|| (bucket.to_owned(), key.to_owned())).ok_or(CacheError::TooLarge)
}

fn checked(entry: &Entry) -> Result<(), CacheError> {
    fits_entry(&entry.note, &entry.secondary, &entry.tags).then_some(()).ok_or(CacheError::TooLarge)
}

impl Cache {
    pub(crate) fn find(
        &self,
        request: &mut RequestHead,
        bucket: &str,
        key: &str,
        now: Duration,
    ) -> Result<Vec<Stored>, CacheError> {
        let address = address(bucket, key)?;
        if !request.body.is_empty() {
            return Err(CacheError::Unavailable);
        }
        let entries = self.entries.get(&address).into_iter().flatten().filter(|kept| kept.until > now);
        if request.cache.found.len() + entries.clone().count() > MAX_FOUND {
            return Err(CacheError::TooLarge);
        }
        let found = entries.map(|kept| {
            request.cache.found.push((address.clone(), kept.clone()));
            Stored {
                id: u32::try_from(request.cache.found.len() - 1).unwrap_or(u32::MAX),
                status: kept.status.as_u16(),
                body_bytes: kept.body.len() as u64,
                note: kept.entry.note.clone(),
            }
        });
        Ok(found.collect())
    }

    pub(crate) fn keep(
        &mut self,
        request: &RequestHead,
        response: &ResponseHead,
        bucket: &str,
        key: &str,
        entry: Entry,
        now: Duration,
    ) -> Result<(), CacheError> {
        let address = address(bucket, key)?;
        checked(&entry)?;
        // The response to a HEAD has no body, and would be taken for one that has none.
        if request.method == Method::HEAD {
            return Err(CacheError::Unavailable);
        }
        if response.body.len() as u64 > entry.max_bytes {
            return Ok(());
        }
        self.put(address, response.status, response.headers.clone(), response.body.clone(), entry, now);
        Ok(())
    }

    pub(crate) fn freshen(
        &mut self,
        request: &mut RequestHead,
        response: &ResponseHead,
        id: u32,
        entry: Entry,
        now: Duration,
    ) -> Result<(), CacheError> {
        checked(&entry)?;
        let (address, old) = request.cache.get(id)?.clone();
        let headers = confirmed(&old.headers, &response.headers);
        let kept = self.put(address.clone(), old.status, headers, old.body.clone(), entry, now);
        request.cache.found[id as usize] = (address, kept);
        Ok(())
    }

    fn put(
        &mut self,
        address: Address,
        status: StatusCode,
        mut headers: HeaderMap,
        body: Vec<u8>,
        entry: Entry,
        now: Duration,
    ) -> Rc<Kept> {
        for name in &entry.exclude_headers {
            headers.remove(name.as_str());
        }
        self.locks.remove(&address);
        let kept = Rc::new(Kept { status, headers, body, until: now + entry.keep.min(MAX_KEEP), entry });
        let entries = self.entries.entry(address).or_default();
        entries.retain(|other| other.entry.secondary != kept.entry.secondary);
        entries.insert(0, kept.clone());
        entries.truncate(MAX_VARIANTS);
        kept
    }

    pub(crate) fn forget(&mut self, bucket: &str, key: &str) -> Result<(), CacheError> {
        self.entries.remove(&address(bucket, key)?);
        Ok(())
    }

    pub(crate) fn lock(
        &mut self,
        request: &mut RequestHead,
        bucket: &str,
        key: &str,
        now: Duration,
    ) -> Result<LockResult, CacheError> {
        let address = address(bucket, key)?;
        if self.released.get(&address).is_some_and(|until| *until > now) {
            return Ok(LockResult::Free);
        }
        if !self.locks.contains(&address) {
            self.locks.insert(address);
            return Ok(LockResult::Acquired);
        }
        if request.cache.lock == Waiting::Over {
            return Ok(LockResult::Free);
        }
        request.cache.lock = Waiting::Possible;
        Ok(LockResult::Held)
    }

    pub(crate) fn release(&mut self, bucket: &str, key: &str, time: Duration, now: Duration) -> Result<(), CacheError> {
        let address = address(bucket, key)?;
        self.locks.remove(&address);
        self.released.insert(address, now + time.min(MAX_RELEASE));
        Ok(())
    }

    pub(crate) fn renew(&mut self, request: &RequestHead, bucket: &str, key: &str) -> Result<bool, CacheError> {
        let address = address(bucket, key)?;
        if request.cache.renewal || !self.locks.insert(address) {
            return Ok(false);
        }
        self.renewals.push(key.to_owned());
        Ok(true)
    }
}

impl Hold {
    pub(crate) fn remember(&mut self, memo: &[u8]) -> Result<(), CacheError> {
        if memo.len() > MAX_REMEMBERED_BYTES {
            return Err(CacheError::TooLarge);
        }
        self.memo = Some(memo.to_vec());
        Ok(())
    }

    fn get(&self, id: u32) -> Result<&(Address, Rc<Kept>), CacheError> {
        self.found.get(id as usize).ok_or(CacheError::Unavailable)
    }

    /// Head and body of a part.
    pub(crate) fn part(&self, id: u32, part: Part) -> Result<(StatusCode, HeaderMap, Vec<u8>), CacheError> {
        let (_, kept) = self.get(id)?;
        let body = match part {
            Part::Whole => kept.body.clone(),
            Part::Nothing => Vec::new(),
            Part::Range(first, last) if first <= last && last < kept.body.len() as u64 => {
                kept.body[first as usize..=last as usize].to_vec()
            }
            Part::Range(..) => return Err(CacheError::Unavailable),
        };
        Ok((kept.status, kept.headers.clone(), body))
    }

    /// The reply of a call that chose a stored response before.
    pub(crate) fn complete(&mut self, reply: Reply) -> Reply {
        let taken = self.answer.take().and_then(|(id, part)| self.part(id, part).ok());
        let Some((_, stored, body)) = taken else { return reply };
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, value) in &stored {
            let own = reply.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name.as_str()));
            if !own && name != http::header::CONTENT_LENGTH {
                headers.push((name.as_str().to_owned(), value.as_bytes().to_vec()));
            }
        }
        headers.extend(reply.headers);
        Reply { status: reply.status, headers, body }
    }
}
