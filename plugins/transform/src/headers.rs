//! Edits of a header section.

use plugin_sdk::{Edit, EditError, Edits, Error, Pointer, Problems, Request, Response};

use crate::{
    config::HeadersConfig,
    template::{Scope, Template, Values},
};

/// What to do to a header section, in this order: remove, rename, set, append.
#[derive(Default)]
pub struct HeaderEdits {
    /// What comes before the renaming, if anything is renamed.
    before: Option<Batch>,
    rename: Vec<(String, String)>,
    after: Option<Batch>,
    /// The values of `after` that are not always the same.
    templates: Vec<Template>,
}

/// Edits that are made together.
struct Batch {
    edits: Edits,
    names: Vec<String>,
}

impl HeaderEdits {
    /// Checks names and parses templates; `place` is the section's JSON Pointer.
    pub fn new(config: &HeadersConfig<'_>, scope: Scope, place: &str, problems: &mut Problems) -> Self {
        let place = Pointer::from(place);
        let [remove, set, append]: [fn(String) -> Edit; 3] = match scope {
            Scope::Request => [Edit::remove_header, Edit::set_header, Edit::append_header],
            Scope::Response => [Edit::remove_response_header, Edit::set_response_header, Edit::append_response_header],
        };
        let mut edits = Self::default();

        let at = place.then("remove-headers");
        let mut removed = List::default();
        for (i, name) in config.remove.iter().enumerate() {
            problems.note(at.then(i), editable(name, scope, false));
            removed.push(name, remove);
        }
        let at = place.then("rename-headers");
        for (old, new) in config.rename {
            problems.note(at.then(old), editable(old, scope, false));
            problems.note(at.then(old), editable(new, scope, false));
            edits.rename.push((old.to_ascii_lowercase(), new.to_ascii_lowercase()));
        }
        let mut rest = List::default();
        if edits.rename.is_empty() {
            rest = removed;
        } else {
            edits.before = removed.batch(&place, problems);
        }
        let lists = [("set-headers", config.set, true, set), ("append-headers", config.append, false, append)];
        for (key, templates, sets, edit) in lists {
            let at = place.then(key);
            for (name, text) in templates {
                problems.note(at.then(name), editable(name, scope, sets));
                let Some(template) = problems.note(at.then(name), Template::parse(text, scope)) else { continue };
                match template.constant() {
                    Some(text) => rest.push(name, |name| edit(name).always(text)),
                    None => {
                        rest.push(name, edit);
                        edits.templates.push(template);
                    }
                }
            }
        }
        edits.after = rest.batch(&place, problems);
        edits
    }

    pub fn is_empty(&self) -> bool {
        self.before.is_none() && self.rename.is_empty() && self.after.is_none()
    }

    /// Computes the values that `apply` will use.
    pub fn compute(&self, request: &Request, response: Option<&Response>, values: &mut Values) {
        for template in &self.templates {
            values.push(template, request, response);
        }
    }

    /// Makes the edits; of the response, if there is one. A header that only the gateway may set is not there when its value is
    /// missing.
    pub fn apply(&self, request: &Request, response: Option<&Response>, values: &Values) -> Result<(), Refused> {
        if let Some(before) = &self.before {
            before.apply(request, response, [])?;
        }
        for (old, new) in &self.rename {
            match response {
                Some(response) => rename(response, old, new),
                None => rename(request, old, new),
            }
            .map_err(|error| Refused { name: new.clone(), error })?;
        }
        match &self.after {
            Some(after) => after.apply(request, response, values.iter()),
            None => Ok(()),
        }
    }
}

/// An edit that cannot be made.
#[derive(Debug)]
pub struct Refused {
    pub name: String,
    pub error: EditError,
}

impl From<Refused> for Error {
    fn from(Refused { name, error }: Refused) -> Self {
        Self::new(format!("cannot edit the header `{name}`: {error}"))
    }
}

/// Edits, as they are collected.
#[derive(Default)]
struct List {
    edits: Vec<Edit>,
    names: Vec<String>,
}

impl List {
    fn push(&mut self, name: &str, edit: impl FnOnce(String) -> Edit) {
        let name = name.to_ascii_lowercase();
        self.edits.push(edit(name.clone()));
        self.names.push(name);
    }

    /// `None` if there is nothing to do, or too much.
    fn batch(self, place: &Pointer, problems: &mut Problems) -> Option<Batch> {
        if self.edits.is_empty() {
            return None;
        }
        problems.note(place, Edits::check(&self.edits))?;
        Some(Batch { edits: Edits::new(&self.edits), names: self.names })
    }
}

impl Batch {
    fn apply<'a>(
        &self,
        request: &Request,
        response: Option<&Response>,
        values: impl IntoIterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), Refused> {
        self.edits.apply(request, response, values).map_err(|edit| {
            let name = self.names.get(edit.index).cloned().unwrap_or_default();
            Refused { name, error: edit.error }
        })
    }
}

fn rename(head: &impl Head, old: &str, new: &str) -> Result<(), EditError> {
    let values = head.values(old);
    let Some((first, others)) = values.split_first() else { return Ok(()) };
    head.remove(old)?;
    head.set(new, first)?;
    others.iter().try_for_each(|value| head.append(new, value))
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
