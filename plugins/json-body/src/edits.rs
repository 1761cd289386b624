//! What is done to a document.

use std::collections::BTreeMap;

use plugin_sdk::{Pointer, Problems};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::pointer::BodyPointer;

/// Edits of a body. Values are removed first, then renamed, moved, and set. Places are JSON Pointers (RFC 6901): `/user/name`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EditsConfig {
    /// Values to remove. One that is not there is no matter.
    pub(crate) remove: Vec<String>,
    /// Value and its new name, in the same object; it replaces one of that name.
    pub(crate) rename: BTreeMap<String, String>,
    /// Value and its new place. Objects on the way are made.
    #[serde(rename = "move")]
    pub(crate) moved: BTreeMap<String, String>,
    /// Place and value. Objects on the way are made; in a list it is inserted, and `-` is its end. A text may have
    /// placeholders: `{attribute.KEY}`, `{header.NAME}`, `{path.NAME}`, `{request.id}`, `{client.address}`; without its value
    /// nothing is set.
    pub(crate) set: BTreeMap<String, Value>,
    /// What becomes of a body whose type is another than JSON: `reject` answers a request with 415 and a response with 502,
    /// `pass` lets it through as it is. A body that is JSON and cannot be edited, such as a compressed one, is always
    /// rejected.
    pub(crate) other_content: OtherContent,
}

/// What becomes of a body that is not JSON.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OtherContent {
    #[default]
    Reject,
    Pass,
}

pub(crate) struct Edits {
    remove: Vec<BodyPointer>,
    moved: Vec<(BodyPointer, BodyPointer)>,
    pub(crate) set: Vec<(BodyPointer, Value)>,
    pub(crate) other_content: OtherContent,
}

impl Edits {
    pub(crate) fn read(config: EditsConfig, at: &Pointer, problems: &mut Problems) -> Self {
        let other_content = config.other_content;
        let mut edits = Self { remove: Vec::new(), moved: Vec::new(), set: Vec::new(), other_content };
        for (i, text) in config.remove.iter().enumerate() {
            edits.remove.extend(problems.note(at.then("remove").then(i), BodyPointer::parse(text)));
        }
        for (from, name) in &config.rename {
            let at = at.then("rename").then(from);
            let Some(place) = problems.note(&at, BodyPointer::parse(from)) else { continue };
            let to = place.called(name);
            edits.moved.push((place, to));
        }
        for (from, to) in &config.moved {
            let at = at.then("move").then(from);
            let from = problems.note(&at, BodyPointer::parse(from));
            let to = problems.note(&at, BodyPointer::parse(to));
            if let (Some(from), Some(to)) = (from, to) {
                if to.is_within(&from) {
                    problems.add(&at, "cannot move into itself");
                }
                edits.moved.push((from, to));
            }
        }
        for (place, value) in config.set {
            edits.set.extend(
                problems.note(at.then("set").then(&place), BodyPointer::parse(&place)).map(|place| (place, value)),
            );
        }
        edits
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.moved.is_empty() && self.set.is_empty()
    }

    /// Edits a document. `fill` makes a value of a value with placeholders, if it can.
    ///
    /// # Errors
    ///
    /// Something is in the way of a value. The text names no value.
    pub(crate) fn apply(
        &self,
        document: &mut Value,
        fill: impl Fn(&Value) -> Option<Value>,
    ) -> Result<(), &'static str> {
        for place in &self.remove {
            place.take(document);
        }
        for (from, to) in &self.moved {
            if let Some(value) = from.take(document)
                && !to.put(document, value)
            {
                return Err("something that is neither object nor list is in the way of a value that is moved");
            }
        }
        for (place, value) in &self.set {
            if let Some(value) = fill(value)
                && !place.put(document, value)
            {
                return Err("something that is neither object nor list is in the way of a value that is set");
            }
        }
        Ok(())
    }
}
