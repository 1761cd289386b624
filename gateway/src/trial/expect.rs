//! Expectations of a step. What a case does not state is not checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::values::{ByteString, ExpectFields, Size};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Expect {
    /// Whether the plugin answers, and the service is not asked.
    pub(super) answered: Option<bool>,
    /// What the service behind the route sees.
    pub(super) request: Option<ExpectRequest>,
    /// What the other services receive, by their names.
    pub(super) services: BTreeMap<String, ExpectCalls>,
    /// A part of the error with which the timer fails. Without it, the timer is not to fail.
    pub(super) timer_fails: Option<String>,
    /// What the client gets.
    pub(super) response: Option<ExpectResponse>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct ExpectRequest {
    pub(super) method: Option<String>,
    /// With its query.
    pub(super) path: Option<String>,
    /// Null for a field that must not be there.
    pub(super) headers: ExpectFields,
    pub(super) body: Option<ByteString>,
    /// A part of the body.
    pub(super) contains: Option<String>,
    /// The body as JSON; of an object only what is named is looked at.
    pub(super) json: Option<Value>,
    /// Of the body.
    pub(super) size: Option<Size>,
}

/// The requests that a service receives in a step.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected how many requests there are, what each of them has, or a list of them")]
pub(super) enum ExpectCalls {
    /// How many.
    Times(usize),
    /// One for each, in their order.
    InOrder(Vec<ExpectRequest>),
    /// What each of them has, and that there is one.
    Each(Box<ExpectRequest>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct ExpectResponse {
    pub(super) status: Option<u16>,
    /// Null for a field that must not be there.
    pub(super) headers: ExpectFields,
    pub(super) body: Option<ByteString>,
    /// A part of the body.
    pub(super) contains: Option<String>,
    /// The body as JSON; of an object only what is named is looked at.
    pub(super) json: Option<Value>,
    /// Of the body.
    pub(super) size: Option<Size>,
}

/// What is expected of a body.
pub(super) struct ExpectBody<'a> {
    pub(super) body: Option<&'a ByteString>,
    pub(super) contains: Option<&'a str>,
    pub(super) json: Option<&'a Value>,
    pub(super) size: Option<Size>,
}

impl ExpectRequest {
    pub(super) fn body(&self) -> ExpectBody<'_> {
        let Self { body, contains, json, size, .. } = self;
        ExpectBody { body: body.as_ref(), contains: contains.as_deref(), json: json.as_ref(), size: *size }
    }
}

impl ExpectResponse {
    pub(super) fn body(&self) -> ExpectBody<'_> {
        let Self { body, contains, json, size, .. } = self;
        ExpectBody { body: body.as_ref(), contains: contains.as_deref(), json: json.as_ref(), size: *size }
    }
}
