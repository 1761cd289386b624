//! What a plugin that keeps responses has of an exchange, from one call to the next.

use std::{cell::Cell, sync::Arc};

use bytes::Bytes;
use gateway_pipeline::{Exchange, Reply, UnknownCaller};
use gateway_state::{
    ConsumerId,
    responses::{Claim, Moment, Stored},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::consumer::Audience;

/// In the exchange's stash, under its stage's position.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) found: Vec<Found>,
    /// Whose they are.
    audience: Option<Audience>,
    /// When it looked last.
    pub(crate) looked: Option<Moment>,
    pub(crate) memo: Option<Vec<u8>>,
    pub(crate) claim: Option<Claim>,
    /// It has waited for somebody else's claim, and does so only once.
    pub(crate) waited: bool,
    /// The request is made behind the client's back.
    pub(crate) renewal: bool,
    /// What the reply takes over.
    answer: Cell<Option<(usize, Part)>>,
}

/// A stored response, and where it is.
#[derive(Clone)]
pub(crate) struct Found {
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

impl Held {
    pub(crate) fn of(exchange: &mut Exchange) -> &mut Self {
        let stage = exchange.stage;
        let is_own = |(at, kept): &(usize, Box<dyn std::any::Any>)| *at == stage && kept.is::<Self>();
        let index = exchange.stash.iter().position(is_own).unwrap_or_else(|| {
            exchange.stash.push((stage, Box::new(Self::default())));
            exchange.stash.len() - 1
        });
        exchange.stash[index].1.downcast_mut().expect("it was looked for by its type")
    }

    /// Where a request is made behind the client's back.
    pub(crate) fn of_renewal(claim: Claim, audience: Audience) -> Self {
        Self { claim: Some(claim), audience: Some(audience), renewal: true, ..Self::default() }
    }

    /// Finds out whose responses are looked for. A request in the background asks for whom the client's did.
    pub(crate) fn find_audience(exchange: &mut Exchange) -> Result<Audience, UnknownCaller> {
        if let Some(audience) = Self::existing(exchange).filter(|held| held.renewal).and_then(|held| held.audience) {
            return Ok(audience);
        }
        let audience = Audience::of(exchange)?;
        Self::of(exchange).audience = Some(audience);
        Ok(audience)
    }

    /// Whose responses were looked for, or would be.
    pub(crate) fn audience(exchange: &mut Exchange) -> Result<Audience, UnknownCaller> {
        match Self::existing(exchange).and_then(|held| held.audience) {
            Some(audience) => Ok(audience),
            None => Self::find_audience(exchange),
        }
    }

    pub(crate) fn existing(exchange: &Exchange) -> Option<&Self> {
        let own = exchange.stash.iter().filter(|(at, _)| *at == exchange.stage);
        own.filter_map(|(_, kept)| kept.downcast_ref()).next()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Found> {
        self.found.get(usize::try_from(id).ok()?)
    }

    pub(crate) fn answer_with(&self, id: usize, part: Part) {
        self.answer.set(Some((id, part)));
    }
}

/// The stage replies: with what it took over of a stored response, if it did.
pub(crate) fn complete(reply: Reply, exchange: &Exchange) -> Reply {
    let held = Held::existing(exchange);
    let taken = held.and_then(|held| held.answer.take().and_then(|(id, part)| Some((held.found.get(id)?, part))));
    match taken {
        Some((found, part)) => merged(reply, &found.stored, part),
        None => reply,
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
