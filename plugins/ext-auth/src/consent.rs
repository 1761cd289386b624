//! What a consent says, and whom it is told.

use plugin_sdk::{Edit, EditError, Edits, Reply, Request};
use serde::{Deserialize, Serialize};

use crate::Config;

/// What the service says about a request that may pass. Octets are written as the characters of the same numbers, so that a
/// consent can be kept as text.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Consent {
    /// For each of `set-headers` its values.
    headers: Vec<Vec<String>>,
    /// For each of `set-attributes` what it gets.
    attributes: Vec<Option<String>>,
    /// For each of `client-headers-on-success` its values. They are for the client that the service was asked about, and not for the
    /// next one that sends the same.
    #[serde(skip)]
    client: Vec<Vec<String>>,
}

impl Consent {
    pub(crate) fn of(reply: &Reply, config: &Config) -> Self {
        let values = |name: &String| {
            let values = reply.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            values.map(|(_, value)| value.iter().map(|byte| char::from(*byte)).collect()).collect()
        };
        let joined = |name: &String| {
            let values = reply.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            let values: Vec<_> = values.map(|(_, value)| value.as_slice()).collect();
            if values.is_empty() { None } else { String::from_utf8(values.join(&b", "[..])).ok() }
        };
        Self {
            headers: config.set_headers.iter().map(values).collect(),
            attributes: config.set_attributes.values().map(joined).collect(),
            client: config.client_headers_on_success.iter().map(values).collect(),
        }
    }

    /// What the upstream and later plugins are told: the values of each header, and of each attribute.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[String]> {
        self.headers.iter().map(Vec::as_slice).chain(self.attributes.iter().map(Option::as_slice))
    }
}

/// How a consent is told to the upstream, to later plugins and to the client.
pub(crate) struct Announcement {
    /// Each of `set-headers` with its first value, so that what the client sent under its name is gone, and the attributes.
    set: Edits,
    /// The further values of `set-headers`.
    append: Edits,
    /// One value for each of `client-headers-on-success`.
    client: Edits,
}

impl Announcement {
    pub(crate) fn new(config: &Config) -> Self {
        let names = |list: &[String], edit: fn(&str) -> Edit| list.iter().map(|name| edit(name)).collect::<Vec<_>>();
        let mut set = names(&config.set_headers, |name| Edit::set_header(name));
        set.extend(config.set_attributes.keys().map(Edit::set_attribute));
        Self {
            set: Edits::new(&set),
            append: Edits::new(&names(&config.set_headers, |name| Edit::append_header(name))),
            client: Edits::new(&names(&config.client_headers_on_success, |name| Edit::append_response_header(name))),
        }
    }

    pub(crate) fn apply(&self, consent: &Consent, request: &Request) -> Result<(), EditError> {
        let Consent { headers, attributes, client } = consent;
        // Without a consent there are no values, and then the headers go.
        let first = headers.iter().map(|values| values.first().map(|value| bytes(value)));
        let set: Vec<_> = first.chain(attributes.iter().map(|value| value.clone().map(String::into_bytes))).collect();
        self.set.apply(request, None, set.iter().map(Option::as_deref)).map_err(|refused| refused.error)?;
        for (edits, lists, before) in [(&self.append, headers, 1), (&self.client, client, 0)] {
            let most = lists.iter().map(Vec::len).max().unwrap_or_default();
            for place in before..most {
                let values: Vec<_> = lists.iter().map(|values| values.get(place).map(|value| bytes(value))).collect();
                edits.apply(request, None, values.iter().map(Option::as_deref)).map_err(|refused| refused.error)?;
            }
        }
        Ok(())
    }
}

/// The bytes again. A kept text that was never one of ours loses what cannot be one.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().filter_map(|character| u8::try_from(character).ok()).collect()
}
