//! What a plugin that keeps responses has of an exchange, from one call to the next.

use std::{cell::Cell, rc::Rc, sync::Arc};

use bytes::Bytes;
use gateway_pipeline::Reply;
use gateway_state::{
    ConsumerId,
    responses::{Claim, LookupMark, Stored},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::consumer::Audience;

/// Part of its stage's state.
#[derive(Default)]
pub(crate) struct CacheLookups {
    pub(crate) found: Vec<FoundResponse>,
    /// Whose they are.
    pub(crate) audience: Option<Audience>,
    /// When it looked last.
    pub(crate) looked: Option<LookupMark>,
    pub(crate) memo: Option<Vec<u8>>,
    pub(crate) claim: Option<Claim>,
    /// It has waited for the claim of another request, and does so only once.
    pub(crate) waited: bool,
    /// It has looked again, because a response was stored since, and does so only once.
    pub(crate) looked_again: bool,
    /// The upstreams that the request could go to when it looked: responses of another one are not stored under the same key.
    pub(crate) upstream: Option<Rc<str>>,
    /// It is a background request.
    pub(crate) renewal: bool,
    /// What the reply takes over.
    answer: Cell<Option<(usize, Part)>>,
}

/// A stored response, and where it is.
#[derive(Clone)]
pub(crate) struct FoundResponse {
    pub(crate) bucket: Arc<str>,
    pub(crate) consumer: Option<ConsumerId>,
    pub(crate) key: Arc<str>,
    pub(crate) stored: Arc<Stored>,
}

/// Of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Nothing,
    /// From the first to the last byte.
    Range(usize, usize),
}

/// What a 304 has of the fields that the 200 would have (RFC 9110 §15.4.5).
const IN_NOT_MODIFIED: [HeaderName; 7] = [
    header::CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::VARY,
];

impl CacheLookups {
    /// For background requests.
    pub(crate) fn of_renewal(claim: Claim, audience: Audience) -> Self {
        Self { claim: Some(claim), audience: Some(audience), renewal: true, ..Self::default() }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&FoundResponse> {
        self.found.get(usize::try_from(id).ok()?)
    }

    /// The stage replies: with what it took over of a stored response, if it did.
    pub(crate) fn complete(&self, reply: Reply) -> Reply {
        let taken = self.answer.take().and_then(|(id, part)| Some((self.found.get(id)?, part)));
        match taken {
            Some((found, part)) => merged(reply, &found.stored, part),
            None => reply,
        }
    }

    pub(crate) fn answer_with(&self, id: usize, part: Part) {
        self.answer.set(Some((id, part)));
    }
}

fn merged(reply: Reply, stored: &Stored, part: Part) -> Reply {
    let Reply { status, headers: own, .. } = reply;
    let (mut headers, body) = part.of(stored);
    if status == StatusCode::NOT_MODIFIED {
        let kept = headers.iter().filter(|(name, _)| IN_NOT_MODIFIED.contains(name));
        headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    }
    for name in own.keys() {
        headers.remove(name);
    }
    for (name, value) in &own {
        headers.append(name.clone(), value.clone());
    }
    Reply { status, headers, body }
}

impl Part {
    /// The fields and the body of this part.
    pub(crate) fn of(self, stored: &Stored) -> (HeaderMap, Bytes) {
        let mut headers = stored.headers.clone();
        let body = match self {
            Self::Whole => stored.body.clone(),
            Self::Nothing => Bytes::new(),
            Self::Range(first, last) => {
                let body = stored.body.slice(first..=last);
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
                body
            }
        };
        (headers, body)
    }
}
