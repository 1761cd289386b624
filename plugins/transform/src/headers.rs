//! Edits of a header section.

use plugin_sdk::{EditError, Error, Pointer, Problems, Request, Response};

use crate::{
    config::HeadersConfig,
    template::{Scope, Template, Values},
};

/// What to do to a header section, in this order.
#[derive(Default)]
pub struct HeaderEdits {
    remove: Vec<String>,
    rename: Vec<(String, String)>,
    set: Vec<(String, Template)>,
    append: Vec<(String, Template)>,
}

impl HeaderEdits {
    /// Checks names and parses templates; `place` is the section's JSON Pointer.
    pub fn new(config: &HeadersConfig<'_>, scope: Scope, place: &str, problems: &mut Problems) -> Self {
        let place = Pointer::from(place);
        let mut edits = Self::default();

        let at = place.then("remove-headers");
        for (i, name) in config.remove.iter().enumerate() {
            problems.note(at.then(i), editable(name, scope, false));
            edits.remove.push(name.to_ascii_lowercase());
        }
        let at = place.then("rename-headers");
        for (old, new) in config.rename {
            problems.note(at.then(old), editable(old, scope, false));
            problems.note(at.then(old), editable(new, scope, false));
            edits.rename.push((old.to_ascii_lowercase(), new.to_ascii_lowercase()));
        }
        let lists = [
            ("set-headers", config.set, true, &mut edits.set),
            ("append-headers", config.append, false, &mut edits.append),
        ];
        for (key, templates, sets, list) in lists {
            let at = place.then(key);
            for (name, text) in templates {
                problems.note(at.then(name), editable(name, scope, sets));
                if let Some(template) = problems.note(at.then(name), Template::parse(text, scope)) {
                    list.push((name.to_ascii_lowercase(), template));
                }
            }
        }
        edits
    }

    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.rename.is_empty() && self.set.is_empty() && self.append.is_empty()
    }

    /// Computes the values that `apply` will use.
    pub fn compute(&self, request: &Request, response: Option<&Response>, values: &mut Values) {
        for (_, template) in self.set.iter().chain(&self.append) {
            values.push(template, request, response);
        }
    }

    pub fn apply(&self, head: &impl Head, values: &Values) -> Result<(), Error> {
        for name in &self.remove {
            head.remove(name).map_err(|error| refused(name, error))?;
        }
        for (old, new) in &self.rename {
            rename(head, old, new).map_err(|error| refused(new, error))?;
        }
        let mut values = values.iter();
        for ((name, _), value) in self.set.iter().zip(&mut values) {
            // A header that only the gateway may set must not be there because its value is missing.
            match value {
                Some(value) => head.set(name, value),
                None if name == "host" => Ok(()),
                None => head.remove(name),
            }
            .map_err(|error| refused(name, error))?;
        }
        for ((name, _), value) in self.append.iter().zip(values) {
            if let Some(value) = value {
                head.append(name, value).map_err(|error| refused(name, error))?;
            }
        }
        Ok(())
    }
}

fn rename(head: &impl Head, old: &str, new: &str) -> Result<(), EditError> {
    let values = head.values(old);
    let Some((first, others)) = values.split_first() else { return Ok(()) };
    head.remove(old)?;
    head.set(new, first)?;
    others.iter().try_for_each(|value| head.append(new, value))
}

fn refused(name: &str, error: EditError) -> Error {
    Error::new(format!("cannot edit the header `{name}`: {error}"))
}

/// A token (RFC 9110 §5.6.2).
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Whether the gateway will allow this edit.
fn editable(name: &str, scope: Scope, sets: bool) -> Result<(), String> {
    const OWNED: [&str; 8] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
    ];
    if !is_name(name) {
        return Err(format!("`{name}` is not a header name"));
    }
    if OWNED.iter().any(|owned| name.eq_ignore_ascii_case(owned)) {
        return Err(format!("`{name}` belongs to the gateway and cannot be edited"));
    }
    if scope == Scope::Request && name.eq_ignore_ascii_case("host") && !sets {
        return Err("`host` can be set, and edited in no other way".to_owned());
    }
    Ok(())
}

/// What requests and responses have in common.
pub trait Head {
    fn values(&self, name: &str) -> Vec<Vec<u8>>;
    fn set(&self, name: &str, value: &[u8]) -> Result<(), EditError>;
    fn append(&self, name: &str, value: &[u8]) -> Result<(), EditError>;
    fn remove(&self, name: &str) -> Result<(), EditError>;
}

impl Head for Request {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        self.header_values(name)
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        self.set_header(name, value)
    }

    fn append(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        self.append_header(name, value)
    }

    fn remove(&self, name: &str) -> Result<(), EditError> {
        self.remove_header(name)
    }
}

impl Head for Response {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        self.header_values(name)
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        self.set_header(name, value)
    }

    fn append(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        self.append_header(name, value)
    }

    fn remove(&self, name: &str) -> Result<(), EditError> {
        self.remove_header(name)
    }
}
