//! Several changes of an exchange in one call: what they are is looked at once, when they are made known.

use gateway_core::model::{Data, DataAccess};
use gateway_pipeline as pipeline;
use gateway_pipeline::{Exchange, OwnedHeaders};
use gateway_rules::edits::{self, Kind as K, MAX_LISTS, Side as S};
use gateway_telemetry::metrics::PluginMetrics;
use wasmtime::Result;

use super::{kept::Kept, plugin_identity::Identity};
use crate::bindings::{Edit, EditError, NamedValue, RefusedEdit, Values};

pub(crate) type AllEdits = Kept<Edits, MAX_LISTS>;

/// A list of edits. It is handed to guests by its place among the instance's lists.
pub(crate) struct Edits {
    edits: edits::Edits,
    /// Edits that the plugin is not granted, and that are always refused.
    denied: Box<[(Data, Box<str>)]>,
}

impl Edits {
    pub(crate) fn new(edits: Vec<Edit>, identity: &Identity) -> Result<Self> {
        let size = |named: &NamedValue| named.name.len() + named.value.as_ref().map_or(0, Vec::len);
        let bytes = |edit: &Edit| match edit {
            Edit::RemoveHeader(name) | Edit::RemoveResponseHeader(name) | Edit::RemoveAttribute(name) => name.len(),
            Edit::SetHeader(named)
            | Edit::AppendHeader(named)
            | Edit::SetResponseHeader(named)
            | Edit::AppendResponseHeader(named)
            | Edit::DefaultResponseHeader(named)
            | Edit::JoinResponseHeader(named)
            | Edit::SetAttribute(named) => size(named),
        };
        edits::Edits::check(edits.len(), edits.iter().map(bytes).sum())
            .map_err(|why| wasmtime::format_err!("{why}"))?;
        let mut denied = Vec::new();
        let edits = edits.into_iter().map(|edit| {
            let (data, name, takes_value) = target(&edit);
            match identity.data() {
                Some(granted) if !granted.allows(data, DataAccess::Write, name) => {
                    denied.push((data, name.into()));
                    edits::Edit::denied(takes_value)
                }
                _ => prepared(edit),
            }
        });
        let edits = edits.collect();
        Ok(Self { edits, denied: denied.into() })
    }

    /// Counts the edits that are denied each time the list is applied.
    pub(crate) fn note_denied(&self, identity: &Identity, metrics: &PluginMetrics) {
        self.denied.iter().for_each(|(data, name)| identity.denied(*data, DataAccess::Write, name, metrics));
    }

    /// Adds the headers that it sets or removes, so that no value of theirs comes from elsewhere.
    pub(crate) fn note_owned(&self, owned: &mut OwnedHeaders) {
        self.edits.note_owned(|side, name| match side {
            S::Request => owned.request.push(name.clone()),
            S::Response => owned.response.push(name.clone()),
        });
    }

    /// Applies every edit that is valid; the error is that of the first that is refused.
    pub(crate) fn apply(
        &self,
        exchange: &mut Exchange,
        with_response: bool,
        values: &Values,
    ) -> std::result::Result<(), RefusedEdit> {
        let mut bytes = &*values.bytes;
        // Lengths that lie are values that are missing.
        let given = values.lengths.iter().map(|length| {
            let (value, rest) = bytes.split_at_checked((*length)? as usize)?;
            bytes = rest;
            Some(value)
        });
        let applied = self.edits.apply(exchange, with_response, given);
        applied.map_err(|(index, error)| RefusedEdit { index: index as u32, error: edit_error(error) })
    }
}

/// What an edit is about, its name, and whether each call supplies its value.
fn target(edit: &Edit) -> (Data, &str, bool) {
    fn of(data: Data, NamedValue { name, value }: &NamedValue) -> (Data, &str, bool) {
        (data, name, value.is_none())
    }
    match edit {
        Edit::SetHeader(named) | Edit::AppendHeader(named) => of(Data::RequestHeaders, named),
        Edit::RemoveHeader(name) => (Data::RequestHeaders, name, false),
        Edit::SetResponseHeader(named)
        | Edit::AppendResponseHeader(named)
        | Edit::DefaultResponseHeader(named)
        | Edit::JoinResponseHeader(named) => of(Data::ResponseHeaders, named),
        Edit::RemoveResponseHeader(name) => (Data::ResponseHeaders, name, false),
        Edit::SetAttribute(named) => of(Data::Attributes, named),
        Edit::RemoveAttribute(key) => (Data::Attributes, key, false),
    }
}

fn prepared(edit: Edit) -> edits::Edit {
    let header = |side, kind, named: NamedValue| edits::Edit::header(side, kind, &named.name, named.value.as_deref());
    match edit {
        Edit::SetHeader(named) => header(S::Request, K::Set, named),
        Edit::AppendHeader(named) => header(S::Request, K::Append, named),
        Edit::RemoveHeader(name) => edits::Edit::removal(S::Request, &name),
        Edit::SetResponseHeader(named) => header(S::Response, K::Set, named),
        Edit::AppendResponseHeader(named) => header(S::Response, K::Append, named),
        Edit::RemoveResponseHeader(name) => edits::Edit::removal(S::Response, &name),
        Edit::DefaultResponseHeader(named) => header(S::Response, K::Default, named),
        Edit::JoinResponseHeader(named) => header(S::Response, K::Join, named),
        Edit::SetAttribute(NamedValue { name, value }) => edits::Edit::attribute(name, value),
        Edit::RemoveAttribute(name) => edits::Edit::attribute_removal(name),
    }
}

/// The same for a guest.
pub(crate) fn edit_error(error: pipeline::EditError) -> EditError {
    match error {
        pipeline::EditError::InvalidSyntax => EditError::InvalidSyntax,
        pipeline::EditError::Forbidden => EditError::Forbidden,
        pipeline::EditError::TooLarge => EditError::TooLarge,
    }
}

#[cfg(test)]
mod tests {
    use gateway_rules::edits::{MAX_EDIT_BYTES, MAX_EDITS};

    use super::*;
    use crate::tests::slot;

    fn made(edits: Vec<Edit>) -> Result<Edits> {
        Edits::new(edits, &Identity::of_tests())
    }

    fn named(name: &str, value: Option<&[u8]>) -> NamedValue {
        NamedValue { name: name.to_owned(), value: value.map(<[u8]>::to_vec) }
    }

    fn values(values: &[Option<&[u8]>]) -> Values {
        Values {
            bytes: values.iter().flatten().copied().flatten().copied().collect(),
            lengths: values.iter().map(|value| value.map(|value| value.len() as u32)).collect(),
        }
    }

    #[test]
    fn what_a_guest_can_keep_is_bounded() {
        let many = |number| vec![Edit::RemoveHeader("x-a".to_owned()); number];
        assert!(made(many(MAX_EDITS)).is_ok());
        assert!(made(many(MAX_EDITS + 1)).is_err());
        assert!(made(vec![Edit::SetAttribute(named("a", Some(&vec![b'v'; MAX_EDIT_BYTES])))]).is_err());
        assert!(made(vec![Edit::RemoveHeader("a".repeat(MAX_EDIT_BYTES + 1))]).is_err());
    }

    #[test]
    fn each_edit_that_has_no_value_takes_the_next_one_given() {
        let edits = made(vec![
            Edit::SetHeader(named("x-a", None)),
            Edit::SetHeader(named("x-b", Some(b"always"))),
            Edit::AppendHeader(named("x-c", None)),
            Edit::SetHeader(named("x-in", None)),
            Edit::RemoveHeader("x-d".to_owned()),
            Edit::SetHeader(named("host", None)),
            Edit::SetAttribute(named("a", None)),
        ]);
        let (edits, mut exchange) = (edits.unwrap(), slot());
        exchange.set_request_header("x-in", b"some value").unwrap();
        let given = values(&[Some(b"1"), Some(b"2"), None, None, Some(b"3")]);
        assert!(edits.apply(&mut exchange, false, &given).is_ok());
        assert_eq!(exchange.request.headers["x-a"], "1");
        assert_eq!(exchange.request.headers["x-b"], "always");
        assert_eq!(exchange.request.headers["x-c"], "2");
        assert!(!exchange.request.headers.contains_key("x-in"), "one without a value is not there");
        assert_eq!(exchange.request.authority, "example.com");
        assert_eq!(exchange.attribute("a"), Some("3"));
        // Lengths that lie, or are not there, are values that are missing.
        let lying = Values { bytes: b"123".to_vec(), lengths: vec![Some(1), Some(u32::MAX)] };
        assert!(edits.apply(&mut exchange, false, &lying).is_ok());
        assert_eq!(exchange.request.headers["x-a"], "1");
        assert_eq!(exchange.attribute("a"), Some("3"));
    }

    #[test]
    fn one_that_is_refused_is_named_and_the_others_are_made() {
        let edits = made(vec![
            Edit::SetHeader(named("not a name", None)),
            Edit::SetResponseHeader(named("connection", Some(b"close"))),
            Edit::SetHeader(named("x-a", None)),
            Edit::SetAttribute(named("a", Some(&[0xff]))),
            Edit::SetHeader(named("x-b", None)),
        ]);
        let (edits, mut exchange) = (edits.unwrap(), slot());
        let refused = edits.apply(&mut exchange, false, &values(&[Some(b"1"), Some(b"2"), Some(b"3\n")])).unwrap_err();
        assert_eq!((refused.index, exchange.request.headers["x-a"].as_bytes()), (0, &b"2"[..]));
        assert!(!exchange.request.headers.contains_key("x-b"));
        let none = made(vec![Edit::RemoveResponseHeader("x-a".to_owned())]).unwrap();
        assert!(none.apply(&mut exchange, false, &values(&[])).is_ok(), "it waits for the response");
    }
}
