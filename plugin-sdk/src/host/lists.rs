//! Lists that the gateway keeps for the plugin, through the component's imports: of what is read together, and of what is
//! changed together.

use std::cell::RefCell;

use super::{
    generated::imports::gateway::plugin as raw,
    wasm::{RawRequest, RawResponse, edit_error},
};
use crate::{Edit, Item, RefusedEdit, edits::Kind};

pub(crate) use raw::http::Selection as RawSelection;

/// Edits that are known to the gateway, and room for the values of the next time that they are made.
pub(crate) struct RawEdits {
    /// The only one: for it there is a call that is cheaper, unless it waits for the response.
    single: Option<Edit>,
    edits: raw::http::Edits,
    values: RefCell<raw::http::Values>,
}

pub(crate) fn selection(items: &[Item]) -> RawSelection {
    let items = items.iter().map(|item| match item {
        Item::RequestId => raw::http::Item::RequestId,
        Item::Method => raw::http::Item::Method,
        Item::Scheme => raw::http::Item::Scheme,
        Item::Authority => raw::http::Item::Authority,
        Item::Path => raw::http::Item::Path,
        Item::Query => raw::http::Item::Query,
        Item::OriginalTarget => raw::http::Item::OriginalTarget,
        Item::Protocol => raw::http::Item::Protocol,
        Item::ClientAddress => raw::http::Item::ClientAddress,
        Item::Route => raw::http::Item::Route,
        Item::Header(name) => raw::http::Item::Header(name.clone()),
        Item::ResponseHeader(name) => raw::http::Item::ResponseHeader(name.clone()),
        Item::Attribute(key) => raw::http::Item::Attribute(key.clone()),
        Item::PathParameter(name) => raw::http::Item::PathParameter(name.clone()),
        Item::ResponseStatus => raw::http::Item::ResponseStatus,
    });
    RawSelection::new(&items.collect::<Vec<_>>())
}

pub(crate) fn read_selection(
    selection: &RawSelection,
    request: &RawRequest,
    response: Option<&RawResponse>,
) -> (Vec<u8>, Vec<Option<u32>>) {
    let raw::http::Values { bytes, lengths } = selection.read(request, response);
    (bytes, lengths)
}

pub(crate) fn edits(edits: &[Edit]) -> RawEdits {
    let single = if let [edit] = edits { Some(edit.clone()) } else { None };
    let edits = edits.iter().map(|Edit { kind, name, value }| {
        let named = || raw::http::NamedValue { name: name.clone(), value: value.clone() };
        match kind {
            Kind::SetHeader => raw::http::Edit::SetHeader(named()),
            Kind::AppendHeader => raw::http::Edit::AppendHeader(named()),
            Kind::RemoveHeader => raw::http::Edit::RemoveHeader(name.clone()),
            Kind::SetResponseHeader => raw::http::Edit::SetResponseHeader(named()),
            Kind::AppendResponseHeader => raw::http::Edit::AppendResponseHeader(named()),
            Kind::RemoveResponseHeader => raw::http::Edit::RemoveResponseHeader(name.clone()),
            Kind::DefaultResponseHeader => raw::http::Edit::DefaultResponseHeader(named()),
            Kind::JoinResponseHeader => raw::http::Edit::JoinResponseHeader(named()),
            Kind::SetAttribute => raw::http::Edit::SetAttribute(named()),
            Kind::RemoveAttribute => raw::http::Edit::RemoveAttribute(name.clone()),
        }
    });
    let values = raw::http::Values { bytes: Vec::new(), lengths: Vec::new() };
    RawEdits { single, edits: raw::http::Edits::new(&edits.collect::<Vec<_>>()), values: RefCell::new(values) }
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
    let mut values = edits.values.borrow_mut();
    values.bytes.clear();
    values.lengths.clear();
    for value in given {
        values.bytes.extend_from_slice(value.unwrap_or_default());
        values.lengths.push(value.map(|value| value.len() as u32));
    }
    let applied = edits.edits.apply(request, response, &values);
    applied.map_err(|refused| RefusedEdit { index: refused.index as usize, error: edit_error(refused.error) })
}
