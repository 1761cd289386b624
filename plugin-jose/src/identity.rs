//! Who the client is, as later plugins and the upstream are told: claims as headers and attributes.

use plugin_sdk::{Edit, EditError, Edits, Pointer, Problems, RefusedEdit, Request, names};
use serde_json::{Map, Value};

use crate::{
    claim::{ClaimPath, Unusable, text},
    options::ClaimNames,
};

/// Which claims are passed on, and under which names.
pub struct Mapping {
    headers: Vec<(String, ClaimPath)>,
    attributes: Vec<(String, ClaimPath)>,
    /// The headers, then the attributes, and then the digest.
    edits: Edits,
}

/// The claims of one token as they are passed on, in the order of the mapping.
pub struct Identity {
    headers: Box<[Option<Box<str>>]>,
    attributes: Box<[Option<Box<str>>]>,
    digest: Box<str>,
}

impl Mapping {
    /// Reads the options. The attributes `PLUGIN.sub` and `PLUGIN.iss` are always set, and so is the one called `digest`: it says
    /// that the client is known, and tells one credential from another where the claims do not.
    pub fn read(
        plugin: &str,
        digest: &str,
        ClaimNames(headers): ClaimNames,
        ClaimNames(attributes): ClaimNames,
        problems: &mut Problems,
    ) -> Self {
        let at = Pointer::from("/claims-to-headers");
        let mut mapping = Self { headers: Vec::new(), attributes: Vec::new(), edits: Edits::new(&[]) };
        for (name, claim) in headers {
            let at = at.then(&name);
            if let Err(message) = names::check_settable_header(&name) {
                problems.add(&at, message);
            }
            let name = name.to_ascii_lowercase();
            if mapping.header_names().any(|other| other == name) {
                problems.add(&at, "names the same header as another entry");
            }
            mapping.headers.extend(ClaimPath::read(&claim, &at, problems).map(|path| (name, path)));
        }
        let at = Pointer::from("/claims-to-attributes");
        for (name, claim) in attributes {
            let at = at.then(&name);
            if let Err(message) = names::check_attribute(&name) {
                problems.add(&at, message);
            }
            if name == digest {
                problems.add(&at, "is set by the plugin itself");
            }
            mapping.attributes.extend(ClaimPath::read(&claim, &at, problems).map(|path| (name, path)));
        }
        for claim in ["sub", "iss"] {
            let name = format!("{plugin}.{claim}");
            if mapping.attributes.iter().all(|(other, _)| *other != name) {
                mapping.attributes.push((name, ClaimPath::Name(claim.into())));
            }
        }
        let headers = mapping.headers.iter().map(|(name, _)| Edit::set_header(name.as_str()));
        let attributes = mapping.attributes.iter().map(|(name, _)| Edit::set_attribute(name.as_str()));
        let edits: Vec<Edit> = headers.chain(attributes).chain([Edit::set_attribute(digest)]).collect();
        if problems.note("", Edits::check(&edits)).is_some() {
            mapping.edits = Edits::new(&edits);
        }
        mapping
    }

    /// The headers that claims become.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    /// Renders what is passed on of a token.
    ///
    /// # Errors
    ///
    /// A claim that a header cannot carry.
    pub fn identity(&self, claims: &Map<String, Value>, digest: &str) -> Result<Identity, Unusable> {
        let render = |pairs: &[(String, ClaimPath)]| {
            let texts = pairs.iter().map(|(_, path)| path.find(claims).map(text).transpose());
            texts.map(|text| Ok(text?.map(String::into_boxed_str))).collect::<Result<_, Unusable>>()
        };
        let (headers, attributes) = (render(&self.headers)?, render(&self.attributes)?);
        Ok(Identity { headers, attributes, digest: digest.into() })
    }

    /// Tells later plugins and the upstream who the client is. What the client itself said about it is gone after.
    ///
    /// # Errors
    ///
    /// See [`RefusedEdit`].
    pub fn announce(&self, identity: &Identity, request: &Request) -> Result<(), RefusedEdit> {
        let values = identity.headers.iter().chain(&identity.attributes).map(Option::as_deref);
        let values = values.chain([Some(&*identity.digest)]);
        self.edits.apply(request, None, values.map(|value| value.map(str::as_bytes)))
    }

    /// Removes what a client without a token said about itself.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn announce_anonymous(&self, request: &Request) -> Result<(), EditError> {
        self.header_names().try_for_each(|name| request.remove_header(name))
    }
}

impl Identity {
    /// Bytes of text in it.
    pub fn size(&self) -> usize {
        let texts = self.headers.iter().chain(&self.attributes);
        texts.map(|text| size_of_val(text) + text.as_deref().map_or(0, str::len)).sum::<usize>() + self.digest.len()
    }
}
