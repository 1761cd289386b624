//! Several things about an exchange in one call: what they are is looked at once, when the selection is made.

use std::io::Write as _;

use gateway_core::model::{Data, DataAccess};
use gateway_pipeline::{Exchange, ResponseHead};
use gateway_rules::{
    data_grants::{HOST, PATH},
    fields::is_host,
    selection,
};
use gateway_telemetry::metrics::PluginMetrics;
use http::{HeaderName, Version};
use wasmtime::Result;

use super::{kept::Kept, plugin_identity::Identity};
use crate::bindings::{Item, Values};

/// Selections that an instance can have here.
const SELECTIONS: usize = 64;

/// The items of a selection. It is handed to guests by its place among the instance's selections.
pub(crate) struct Selection {
    items: Box<[Picked]>,
    /// Items that the plugin may not read, and that are always missing.
    denied: Box<[(Data, Box<str>)]>,
}

/// An item, its name in the form in which it is looked up.
enum Picked {
    RequestId,
    Method,
    Scheme,
    Authority,
    Path,
    Query,
    OriginalTarget,
    Protocol,
    ClientAddress,
    Route,
    Header(HeaderName),
    ResponseHeader(HeaderName),
    Attribute(String),
    PathParameter(String),
    ResponseStatus,
    /// Not the name of any header, or not granted.
    Nothing,
}

pub(crate) type Selections = Kept<Selection, SELECTIONS>;

impl Selection {
    pub(crate) fn new(items: Vec<Item>, identity: &Identity) -> Result<Self> {
        let named = |item: &Item| match item {
            Item::Header(name) | Item::ResponseHeader(name) | Item::Attribute(name) | Item::PathParameter(name) => {
                name.len()
            }
            _ => 0,
        };
        let checked = selection::check(items.len(), items.iter().map(named).sum());
        checked.map_err(|why| wasmtime::format_err!("{why}"))?;
        let mut denied = Vec::new();
        let items = items.into_iter().map(|item| match name_of(&item) {
            Some((data, name))
                if identity.data().is_some_and(|data_grants| !data_grants.allows(data, DataAccess::Read, name)) =>
            {
                denied.push((data, name.into()));
                Picked::Nothing
            }
            _ => Picked::from(item),
        });
        let items = items.collect();
        Ok(Self { items, denied: denied.into() })
    }

    /// Counts the items that are denied each time they are read.
    pub(crate) fn note_denied(&self, identity: &Identity, metrics: &PluginMetrics) {
        self.denied.iter().for_each(|(data, name)| identity.denied(*data, DataAccess::Read, name, metrics));
    }

    /// Reads everything; a response that is not there has no headers.
    pub(crate) fn read(&self, exchange: &mut Exchange, with_response: bool) -> Values {
        for picked in &self.items {
            if let Picked::Header(name) = picked {
                exchange.note_read(name.as_str());
            }
        }
        let mut values = Values { bytes: Vec::with_capacity(256), lengths: Vec::with_capacity(self.items.len()) };
        let response = exchange.response.as_ref().filter(|_| with_response);
        for picked in &self.items {
            let before = values.bytes.len();
            let there = picked.write(exchange, response, &mut values.bytes);
            values.lengths.push(there.map(|()| (values.bytes.len() - before) as u32));
        }
        values
    }
}

/// The name under which an item is granted; `None` if it is no data that is.
fn name_of(item: &Item) -> Option<(Data, &str)> {
    Some(match item {
        Item::Authority => (Data::RequestHeaders, HOST),
        Item::Path | Item::Query | Item::OriginalTarget | Item::PathParameter(_) => (Data::RequestHeaders, PATH),
        Item::Header(name) => (Data::RequestHeaders, name),
        Item::ResponseHeader(name) => (Data::ResponseHeaders, name),
        Item::Attribute(key) => (Data::Attributes, key),
        Item::RequestId
        | Item::Method
        | Item::Scheme
        | Item::Protocol
        | Item::ClientAddress
        | Item::Route
        | Item::ResponseStatus => return None,
    })
}

impl From<Item> for Picked {
    fn from(item: Item) -> Self {
        let header = |name: String, kind: fn(HeaderName) -> Self| {
            HeaderName::from_bytes(name.as_bytes()).map_or(Self::Nothing, kind)
        };
        match item {
            Item::RequestId => Self::RequestId,
            Item::Method => Self::Method,
            Item::Scheme => Self::Scheme,
            Item::Authority => Self::Authority,
            Item::Path => Self::Path,
            Item::Query => Self::Query,
            Item::OriginalTarget => Self::OriginalTarget,
            Item::Protocol => Self::Protocol,
            Item::ClientAddress => Self::ClientAddress,
            Item::Route => Self::Route,
            Item::Header(name) if is_host(&name) => Self::Authority,
            Item::Header(name) => header(name, Self::Header),
            Item::ResponseHeader(name) => header(name, Self::ResponseHeader),
            Item::Attribute(key) => Self::Attribute(key),
            Item::PathParameter(name) => Self::PathParameter(name),
            Item::ResponseStatus => Self::ResponseStatus,
        }
    }
}

impl Picked {
    /// Appends the value, if there is one.
    fn write(&self, exchange: &Exchange, response: Option<&ResponseHead>, out: &mut Vec<u8>) -> Option<()> {
        let request = &exchange.request;
        let value = match self {
            Self::RequestId => exchange.id.as_bytes(),
            Self::Method => request.method.as_str().as_bytes(),
            Self::Scheme => request.scheme.as_bytes(),
            Self::Authority => request.authority.as_bytes(),
            Self::Path => request.target.path().as_bytes(),
            Self::Query => request.target.query()?.as_bytes(),
            Self::OriginalTarget => exchange.original_target().as_str().as_bytes(),
            Self::Protocol => protocol(exchange.protocol).as_bytes(),
            // Writing to memory does not fail.
            Self::ClientAddress => return write!(out, "{}", exchange.client).ok(),
            Self::Route => exchange.route.as_bytes(),
            Self::Header(name) => request.headers.value(name)?.as_bytes(),
            Self::ResponseHeader(name) => response?.headers.get(name)?.as_bytes(),
            Self::Attribute(key) => exchange.attribute(key)?.as_bytes(),
            Self::PathParameter(name) => {
                out.extend_from_slice(exchange.parameter(name)?.as_bytes());
                return Some(());
            }
            Self::ResponseStatus => response?.status.as_str().as_bytes(),
            Self::Nothing => return None,
        };
        out.extend_from_slice(value);
        Some(())
    }
}

/// A version as HTTP writes it.
pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use gateway_rules::selection::{MAX_ITEMS, MAX_NAME_BYTES};

    use super::*;

    #[test]
    fn what_a_guest_can_keep_is_bounded() {
        let made = |items| Selection::new(items, &Identity::of_tests());
        assert!(made(vec![Item::Method; MAX_ITEMS]).is_ok());
        assert!(made(vec![Item::Method; MAX_ITEMS + 1]).is_err());
        assert!(made(vec![Item::Attribute("a".repeat(MAX_NAME_BYTES + 1))]).is_err());
    }
}
