//! Lists of edits that are made together: what they are is looked at once, when they are made known.

use std::fmt;

use http::{HeaderName, HeaderValue, header::HOST};

use crate::{edit::EditError, headers::Change};

/// Edits of a list.
pub const MAX_EDITS: usize = 256;
/// Bytes of their names and values.
pub const MAX_EDIT_BYTES: usize = 64 * 1024;
/// Lists that an instance of a plugin has.
pub const MAX_LISTS: usize = 16;

/// The message that an edit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The request.
    Request,
    /// The response, which may not be there yet.
    Response,
}

/// What is done to a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Replaces every value. Where the value is missing, the header is removed.
    Set,
    /// Adds a line.
    Append,
    /// Sets it where there is none.
    Default,
    /// Adds a member to a list of tokens, unless it is there.
    Join,
}

/// An exchange whose edits are made in lists.
pub trait Editable {
    /// Changes a header of the request.
    ///
    /// # Errors
    ///
    /// The edit is refused.
    fn change_request_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError>;

    /// Changes a header of the response: in the request phase, when the response passes the present stage.
    ///
    /// # Errors
    ///
    /// The edit is refused.
    fn change_response_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError>;

    /// Sets an attribute.
    ///
    /// # Errors
    ///
    /// The edit is refused.
    fn set_attribute(&mut self, key: &str, value: &str) -> Result<(), EditError>;

    /// Removes an attribute.
    ///
    /// # Errors
    ///
    /// The edit is refused.
    fn remove_attribute(&mut self, key: &str) -> Result<(), EditError>;

    /// Whether there is a response.
    fn has_response(&self) -> bool;
}

/// A list of edits.
#[derive(Debug)]
pub struct Edits(Box<[Edit]>);

/// An edit, its name and its value in the form in which they are used.
#[derive(Debug)]
pub struct Edit(Prepared);

#[derive(Debug)]
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
    AttributeRemoval {
        key: String,
    },
    /// It is always refused.
    Never {
        takes_value: bool,
        error: EditError,
    },
}

/// Where a value comes from.
#[derive(Debug)]
enum Source<T> {
    Always(T),
    /// The next of those that come with the call.
    Given,
}

impl<T> Source<T> {
    /// `None` if it is missing.
    fn value<'own, 'given, V>(
        &'own self,
        given: &mut impl Iterator<Item = Option<&'given [u8]>>,
        own: impl FnOnce(&'own T) -> V,
        read: impl FnOnce(&'given [u8]) -> Option<V>,
    ) -> Result<Option<V>, EditError> {
        match self {
            Self::Always(value) => Ok(Some(own(value))),
            Self::Given => given.next().flatten().map(|value| read(value).ok_or(EditError::InvalidSyntax)).transpose(),
        }
    }
}

/// A list has too many edits, or their names and values are too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditsTooLarge;

impl fmt::Display for EditsTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of more than {MAX_EDITS} edits or {MAX_EDIT_BYTES} bytes of names and values")
    }
}

impl std::error::Error for EditsTooLarge {}

impl Edits {
    /// Checks the size of a list: how many edits it has, and the bytes of their names and values.
    ///
    /// # Errors
    ///
    /// It is too large.
    pub fn check(edits: usize, bytes: usize) -> Result<(), EditsTooLarge> {
        if edits > MAX_EDITS || bytes > MAX_EDIT_BYTES {
            return Err(EditsTooLarge);
        }
        Ok(())
    }

    /// Adds the names of the headers that it sets or removes, so that no value of theirs comes from elsewhere.
    pub fn note_owned(&self, mut note: impl FnMut(Side, &HeaderName)) {
        for Edit(edit) in &self.0 {
            match edit {
                Prepared::Header { side, kind: Kind::Set, name, .. } if name != HOST => note(*side, name),
                Prepared::Removal { side, name } => note(*side, name),
                _ => {}
            }
        }
    }

    /// Applies every edit that is valid. `given` are the values of the edits that have none of their own. Where one is missing, a
    /// header that would have been set is removed (except `host`), and other edits do nothing. Edits of a
    /// response that has arrived need `with_response`.
    ///
    /// # Errors
    ///
    /// The index of the first that was refused, and why.
    pub fn apply<'a>(
        &self,
        exchange: &mut impl Editable,
        with_response: bool,
        mut given: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), (usize, EditError)> {
        let mut refused = None;
        for (index, Edit(edit)) in self.0.iter().enumerate() {
            if let Err(error) = edit.apply(exchange, with_response, &mut given) {
                refused.get_or_insert((index, error));
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

impl FromIterator<Edit> for Edits {
    fn from_iter<T: IntoIterator<Item = Edit>>(edits: T) -> Self {
        Self(edits.into_iter().collect())
    }
}

impl Edit {
    /// A change of a header, with a value that is always the same or comes with each call.
    pub fn header(side: Side, kind: Kind, name: &str, value: Option<&[u8]>) -> Self {
        let takes_value = value.is_none();
        let value = value.map(HeaderValue::from_bytes).transpose();
        Self(match (HeaderName::from_bytes(name.as_bytes()), value) {
            (Ok(name), Ok(value)) => {
                Prepared::Header { side, kind, name, value: value.map_or(Source::Given, Source::Always) }
            }
            _ => Prepared::Never { takes_value, error: EditError::InvalidSyntax },
        })
    }

    /// Removes a header. It takes no value.
    pub fn removal(side: Side, name: &str) -> Self {
        Self(match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Prepared::Removal { side, name },
            Err(_) => Prepared::Never { takes_value: false, error: EditError::InvalidSyntax },
        })
    }

    /// Sets an attribute, to a value that is always the same or comes with each call.
    pub fn attribute(key: String, value: Option<Vec<u8>>) -> Self {
        Self(match value.map(String::from_utf8) {
            None => Prepared::Attribute { key, value: Source::Given },
            Some(Ok(value)) => Prepared::Attribute { key, value: Source::Always(value) },
            Some(Err(_)) => Prepared::Never { takes_value: false, error: EditError::InvalidSyntax },
        })
    }

    /// Removes an attribute. It takes no value.
    pub fn attribute_removal(key: String) -> Self {
        Self(Prepared::AttributeRemoval { key })
    }

    /// An edit of what is not granted. It is refused each time, and its header is not among those that the list owns.
    pub fn denied(takes_value: bool) -> Self {
        Self(Prepared::Never { takes_value, error: EditError::Forbidden })
    }
}

impl Prepared {
    fn apply<'a>(
        &self,
        exchange: &mut impl Editable,
        with_response: bool,
        given: &mut impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), EditError> {
        match self {
            Self::Header { side, kind, name, value } => {
                let value = value.value(given, HeaderValue::clone, |value| HeaderValue::from_bytes(value).ok())?;
                let change = kind.of(name, value);
                change.map_or(Ok(()), |change| side.change(name, change, exchange, with_response))
            }
            Self::Removal { side, name } => side.change(name, Change::Remove, exchange, with_response),
            Self::Attribute { key, value } => {
                let value = value.value(given, |value| value.as_str(), |value| std::str::from_utf8(value).ok())?;
                value.map_or(Ok(()), |value| exchange.set_attribute(key, value))
            }
            Self::AttributeRemoval { key } => exchange.remove_attribute(key),
            Self::Never { takes_value, error } => {
                if *takes_value {
                    given.next();
                }
                Err(*error)
            }
        }
    }
}

impl Side {
    fn change(
        self,
        name: &HeaderName,
        change: Change,
        exchange: &mut impl Editable,
        with_response: bool,
    ) -> Result<(), EditError> {
        match self {
            Self::Request => exchange.change_request_header(name.clone(), change),
            // Only what is lent is changed.
            Self::Response if !with_response && exchange.has_response() => Err(EditError::Forbidden),
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
