//! Edits that are made together, by the gateway's rules.

use gateway_rules::{
    edit::EditError,
    edits::{self, Editable, Kind as K, MAX_EDIT_BYTES, MAX_EDITS, Side as S},
    headers::Change,
};
use http::HeaderName;

use super::{
    data_grants::Data,
    head::{Phase, RawRequest, RawResponse, writes},
};
use crate::{Edit, Edits, RefusedEdit, edits::Kind};

// What the SDK says about the gateway.
const _: () = assert!(Edits::MAX_EDITS == MAX_EDITS && Edits::MAX_BYTES == MAX_EDIT_BYTES);

/// The edits, as the gateway keeps them.
pub(crate) struct RawEdits {
    /// The only one: the SDK makes it by a single call, unless it waits for the response.
    single: Option<Edit>,
    edits: edits::Edits,
}

pub(crate) fn edits(list: &[Edit]) -> RawEdits {
    if let Err(problem) = Edits::check(list) {
        panic!("the gateway would refuse it, since it {problem}");
    }
    let single = if let [edit] = list { Some(edit.clone()) } else { None };
    let prepared = list.iter().map(|Edit { kind, name, value }| {
        let header = |side, kind| edits::Edit::header(side, kind, name, value.as_deref());
        match kind {
            Kind::SetHeader => header(S::Request, K::Set),
            Kind::AppendHeader => header(S::Request, K::Append),
            Kind::RemoveHeader => edits::Edit::removal(S::Request, name),
            Kind::SetResponseHeader => header(S::Response, K::Set),
            Kind::AppendResponseHeader => header(S::Response, K::Append),
            Kind::RemoveResponseHeader => edits::Edit::removal(S::Response, name),
            Kind::DefaultResponseHeader => header(S::Response, K::Default),
            Kind::JoinResponseHeader => header(S::Response, K::Join),
            Kind::SetAttribute => edits::Edit::attribute(name.clone(), value.clone()),
            Kind::RemoveAttribute => edits::Edit::attribute_removal(name.clone()),
        }
    });
    RawEdits { single, edits: prepared.collect() }
}

pub(crate) fn apply_edits<'a>(
    edits: &RawEdits,
    request: &RawRequest,
    response: Option<&RawResponse>,
    given: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<(), RefusedEdit> {
    let mut given = given.peekable();
    if let Some(Edit { kind, name, value }) = &edits.single {
        let value = value.as_deref().or_else(|| given.peek().copied().flatten());
        let alone = kind.edit_request(name, value, request);
        let alone = alone.or_else(|| kind.edit_response(name, value, response?));
        if let Some(applied) = alone {
            return applied.map_err(|error| RefusedEdit { index: 0, error });
        }
    }
    let applied = edits.edits.apply(&mut Lent { request, response }, response.is_some(), given);
    applied.map_err(|(index, error)| RefusedEdit { index, error: error.into() })
}

/// The exchange that is lent to the plugin.
struct Lent<'a> {
    request: &'a RawRequest,
    response: Option<&'a RawResponse>,
}

impl Editable for Lent<'_> {
    fn change_request_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        self.request.change(name, change)
    }

    fn change_response_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        writes(Data::ResponseHeaders, name.as_str())?;
        let mut head = self.request.0.borrow_mut();
        if head.phase != Phase::Request {
            return self.response.map_or(Err(EditError::Forbidden), |response| response.change(name, change));
        }
        let bounds = head.bounds.clone();
        head.plan.add(0, name, change, &bounds)
    }

    fn set_attribute(&mut self, key: &str, value: &str) -> Result<(), EditError> {
        self.request.set_attribute(key, value)
    }

    fn remove_attribute(&mut self, key: &str) -> Result<(), EditError> {
        self.request.remove_attribute(key)
    }

    fn has_response(&self) -> bool {
        self.request.0.borrow().phase != Phase::Request
    }
}
