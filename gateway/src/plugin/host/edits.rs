//! Several changes of an exchange in one call: what they are is looked at once, when they are made known.

use http::{HeaderName, HeaderValue, header::HOST};
use wasmtime::{Result, component::Resource};

use super::kept::Kept;
use crate::{
    pipeline::{Change, EditError, Exchange, OwnedHeaders},
    plugin::{
        bindings::{Edit, Named, RefusedEdit, Request, Response, Values, http::HostEdits},
        host::http::edit_error,
        state::State,
    },
};

/// Bounds of what a guest can keep here: lists of an instance, their edits, and the bytes of names and values.
const LISTS: usize = 16;
const EDITS: usize = 256;
const BYTES: usize = 64 * 1024;

pub(in crate::plugin) type AllEdits = Kept<Edits, LISTS>;

/// A list of edits. It is handed to guests by its place among the instance's lists.
pub struct Edits(Box<[Prepared]>);

/// An edit, its name and its value in the form in which they are used.
enum Prepared {
    Header {
        side: Side,
        kind: Kind,
        name: HeaderName,
        value: Source<HeaderValue>,
    },
    Removal {
        side: Side,
        name: HeaderName,
    },
    Attribute {
        key: String,
        value: Source<String>,
    },
    /// Not the name or the value of any header, or no text.
    Never {
        takes_value: bool,
    },
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Response,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Set,
    Append,
    Default,
    Join,
}

/// Where a value comes from.
enum Source<T> {
    Always(T),
    /// The next of those that come with the call.
    Given,
}

impl<T> Source<T> {
    /// `None` if it is missing.
    fn value<'a, V>(
        &'a self,
        given: &mut Given<'a>,
        own: impl FnOnce(&'a T) -> V,
        read: impl FnOnce(&'a [u8]) -> Option<V>,
    ) -> std::result::Result<Option<V>, EditError> {
        match self {
            Self::Always(value) => Ok(Some(own(value))),
            Self::Given => given.next().map(|value| read(value).ok_or(EditError::InvalidSyntax)).transpose(),
        }
    }
}

/// The values that come with a call, one after another.
struct Given<'a> {
    bytes: &'a [u8],
    lengths: std::slice::Iter<'a, Option<u32>>,
}

impl<'a> Given<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let length = (*self.lengths.next()?)?;
        let (value, rest) = self.bytes.split_at_checked(length as usize)?;
        self.bytes = rest;
        Some(value)
    }
}

impl Edits {
    fn new(edits: Vec<Edit>) -> Result<Self> {
        let size = |named: &Named| named.name.len() + named.value.as_ref().map_or(0, Vec::len);
        let bytes = |edit: &Edit| match edit {
            Edit::RemoveHeader(name) | Edit::RemoveResponseHeader(name) => name.len(),
            Edit::SetHeader(named)
            | Edit::AppendHeader(named)
            | Edit::SetResponseHeader(named)
            | Edit::AppendResponseHeader(named)
            | Edit::DefaultResponseHeader(named)
            | Edit::JoinResponseHeader(named)
            | Edit::SetAttribute(named) => size(named),
        };
        if edits.len() > EDITS || edits.iter().map(bytes).sum::<usize>() > BYTES {
            wasmtime::bail!("a list of more than {EDITS} edits or {BYTES} bytes of names and values");
        }
        Ok(Self(edits.into_iter().map(Prepared::from).collect()))
    }

    /// Adds the headers that it sets or removes, so that no value of theirs comes from elsewhere.
    pub(in crate::plugin) fn note_owned(&self, owned: &mut OwnedHeaders) {
        for edit in &self.0 {
            let (side, name) = match edit {
                Prepared::Header { side, kind: Kind::Set, name, .. } if name != HOST => (side, name),
                Prepared::Removal { side, name } => (side, name),
                _ => continue,
            };
            match side {
                Side::Request => owned.request.push(name.clone()),
                Side::Response => owned.response.push(name.clone()),
            }
        }
    }

    /// Makes all that can be made; the error is that of the first that cannot.
    pub(in crate::plugin) fn make(
        &self,
        exchange: &mut Exchange,
        with_response: bool,
        values: &Values,
    ) -> std::result::Result<(), RefusedEdit> {
        let mut given = Given { bytes: &values.bytes, lengths: values.lengths.iter() };
        let mut refused = None;
        for (place, edit) in self.0.iter().enumerate() {
            if let Err(error) = edit.make(exchange, with_response, &mut given) {
                refused.get_or_insert(RefusedEdit { place: place as u32, error: edit_error(error) });
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

impl From<Edit> for Prepared {
    fn from(edit: Edit) -> Self {
        use {Kind as K, Side as S};
        match edit {
            Edit::SetHeader(named) => Self::header(S::Request, K::Set, named),
            Edit::AppendHeader(named) => Self::header(S::Request, K::Append, named),
            Edit::RemoveHeader(name) => Self::removal(S::Request, &name),
            Edit::SetResponseHeader(named) => Self::header(S::Response, K::Set, named),
            Edit::AppendResponseHeader(named) => Self::header(S::Response, K::Append, named),
            Edit::RemoveResponseHeader(name) => Self::removal(S::Response, &name),
            Edit::DefaultResponseHeader(named) => Self::header(S::Response, K::Default, named),
            Edit::JoinResponseHeader(named) => Self::header(S::Response, K::Join, named),
            Edit::SetAttribute(Named { name, value }) => match value.map(String::from_utf8) {
                None => Self::Attribute { key: name, value: Source::Given },
                Some(Ok(value)) => Self::Attribute { key: name, value: Source::Always(value) },
                Some(Err(_)) => Self::Never { takes_value: false },
            },
        }
    }
}

impl Prepared {
    fn header(side: Side, kind: Kind, Named { name, value }: Named) -> Self {
        let takes_value = value.is_none();
        let value = value.map(|value| HeaderValue::from_maybe_shared(bytes::Bytes::from(value))).transpose();
        match (HeaderName::from_bytes(name.as_bytes()), value) {
            (Ok(name), Ok(value)) => {
                Self::Header { side, kind, name, value: value.map_or(Source::Given, Source::Always) }
            }
            _ => Self::Never { takes_value },
        }
    }

    fn removal(side: Side, name: &str) -> Self {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Self::Removal { side, name },
            Err(_) => Self::Never { takes_value: false },
        }
    }

    fn make<'a>(
        &'a self,
        exchange: &mut Exchange,
        with_response: bool,
        given: &mut Given<'a>,
    ) -> std::result::Result<(), EditError> {
        match self {
            Self::Header { side, kind, name, value } => {
                let value = value.value(given, HeaderValue::clone, |value| HeaderValue::from_bytes(value).ok())?;
                let change = kind.of(name, value);
                change.map_or(Ok(()), |change| side.change(name, change, exchange, with_response))
            }
            Self::Removal { side, name } => side.change(name, Change::Remove, exchange, with_response),
            Self::Attribute { key, value } => {
                let value = value.value(given, String::as_str, |value| std::str::from_utf8(value).ok())?;
                value.map_or(Ok(()), |value| exchange.set_attribute(key, value))
            }
            Self::Never { takes_value } => {
                if *takes_value {
                    given.next();
                }
                Err(EditError::InvalidSyntax)
            }
        }
    }
}

impl Side {
    fn change(
        self,
        name: &HeaderName,
        change: Change,
        exchange: &mut Exchange,
        with_response: bool,
    ) -> std::result::Result<(), EditError> {
        match self {
            Self::Request => exchange.change_request_header(name.clone(), change),
            // Only what is lent is changed.
            Self::Response if !with_response && exchange.response.is_some() => Err(EditError::Forbidden),
            Self::Response => exchange.change_response_header(name.clone(), change),
        }
    }
}

impl Kind {
    /// What it comes to with this value; `None` if to nothing.
    fn of(self, name: &HeaderName, value: Option<HeaderValue>) -> Option<Change> {
        match (self, value) {
            // A request always has one.
            (Self::Set, None) if name == HOST => None,
            (Self::Set, Some(value)) => Some(Change::Set(value)),
            (Self::Append, Some(value)) => Some(Change::Append(value)),
            (Self::Default, Some(value)) => Some(Change::Default(value)),
            (Self::Join, Some(value)) => Some(Change::Join(value)),
            (Self::Set, None) => Some(Change::Remove),
            (Self::Append | Self::Default | Self::Join, None) => None,
        }
    }
}

impl HostEdits for State {
    fn new(&mut self, edits: Vec<Edit>) -> Result<Resource<Edits>> {
        Ok(Resource::new_own(self.edits.add(Edits::new(edits)?, "lists of edits")?))
    }

    fn make(
        &mut self,
        edits: Resource<Edits>,
        _: Resource<Request>,
        response: Option<Resource<Response>>,
        values: Values,
    ) -> Result<std::result::Result<(), RefusedEdit>> {
        self.edit(edits.rep(), response.is_some(), &values)
    }

    fn drop(&mut self, edits: Resource<Edits>) -> Result<()> {
        self.edits.remove(edits.rep());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::tests::slot;

    fn named(name: &str, value: Option<&[u8]>) -> Named {
        Named { name: name.to_owned(), value: value.map(<[u8]>::to_vec) }
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
        assert!(Edits::new(many(EDITS)).is_ok());
        assert!(Edits::new(many(EDITS + 1)).is_err());
        assert!(Edits::new(vec![Edit::SetAttribute(named("a", Some(&vec![b'v'; BYTES])))]).is_err());
        assert!(Edits::new(vec![Edit::RemoveHeader("a".repeat(BYTES + 1))]).is_err());
    }

    #[test]
    fn each_edit_that_has_no_value_takes_the_next_one_given() {
        let edits = Edits::new(vec![
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
        assert!(edits.make(&mut exchange, false, &given).is_ok());
        assert_eq!(exchange.request.headers["x-a"], "1");
        assert_eq!(exchange.request.headers["x-b"], "always");
        assert_eq!(exchange.request.headers["x-c"], "2");
        assert!(!exchange.request.headers.contains_key("x-in"), "one without a value is not there");
        assert_eq!(exchange.request.authority, "example.com");
        assert_eq!(exchange.attribute("a"), Some("3"));
        // Lengths that lie, or are not there, are values that are missing.
        let lying = Values { bytes: b"123".to_vec(), lengths: vec![Some(1), Some(u32::MAX)] };
        assert!(edits.make(&mut exchange, false, &lying).is_ok());
        assert_eq!(exchange.request.headers["x-a"], "1");
        assert_eq!(exchange.attribute("a"), Some("3"));
    }

    #[test]
    fn one_that_is_refused_is_named_and_the_others_are_made() {
        let edits = Edits::new(vec![
            Edit::SetHeader(named("not a name", None)),
            Edit::SetResponseHeader(named("connection", Some(b"close"))),
            Edit::SetHeader(named("x-a", None)),
            Edit::SetAttribute(named("a", Some(&[0xff]))),
            Edit::SetHeader(named("x-b", None)),
        ]);
        let (edits, mut exchange) = (edits.unwrap(), slot());
        let refused = edits.make(&mut exchange, false, &values(&[Some(b"1"), Some(b"2"), Some(b"3\n")])).unwrap_err();
        assert_eq!((refused.place, exchange.request.headers["x-a"].as_bytes()), (0, &b"2"[..]));
        assert!(!exchange.request.headers.contains_key("x-b"));
        let none = Edits::new(vec![Edit::RemoveResponseHeader("x-a".to_owned())]).unwrap();
        assert!(none.make(&mut exchange, false, &values(&[])).is_ok(), "it waits for the response");
    }
}
