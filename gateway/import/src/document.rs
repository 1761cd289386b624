//! YAML and JSON sources: values that know their lines.

use gateway_config::yaml::{self, Node};
use serde_json::Value;

use crate::ImportError;

/// One document of a source.
pub(crate) struct Document {
    node: Node,
    json: Value,
    /// Lines of the source before it.
    before: usize,
}

/// A value in a document.
#[derive(Clone)]
pub(crate) struct At<'a> {
    document: &'a Document,
    pub(crate) value: &'a Value,
    pointer: String,
}

/// Reads a source of one document.
pub(crate) fn one(text: &str) -> Result<Document, ImportError> {
    read(text, 0)
}

/// Reads all documents of a source.
pub(crate) fn all(text: &str) -> Result<Vec<Document>, ImportError> {
    let mut documents = Vec::new();
    let (mut part, mut before) = (String::new(), 0);
    for (number, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            documents.push((std::mem::take(&mut part), before));
            before = number + 1;
        } else {
            part.push_str(line);
            part.push('\n');
        }
    }
    documents.push((part, before));
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let documents = documents.into_iter().filter(|(text, _)| !text.lines().all(is_comment));
    documents.map(|(text, before)| read(&text, before)).collect()
}

fn read(text: &str, before: usize) -> Result<Document, ImportError> {
    let node = yaml::parse(text).map_err(|problems| {
        let shown = problems.first().map(|problem| match problem.location {
            Some(at) => format!("line {}: {}", at.line + before, problem.message),
            None => problem.message.clone(),
        });
        ImportError::Invalid(shown.unwrap_or_default())
    })?;
    let json = node.to_json();
    Ok(Document { node, json, before })
}

impl Document {
    pub(crate) fn root(&self) -> At<'_> {
        At { document: self, value: &self.json, pointer: String::new() }
    }
}

impl<'a> At<'a> {
    pub(crate) fn line(&self) -> usize {
        self.document.before + self.document.node.key_at(&self.pointer).line
    }

    pub(crate) fn get(&self, key: &str) -> Option<At<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(At { document: self.document, value, pointer: yaml::join(&self.pointer, key) })
    }

    /// Items of a list; none of anything else.
    pub(crate) fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let (document, pointer) = (self.document, self.pointer.clone());
        let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = move |(index, value)| At { document, value, pointer: format!("{pointer}/{index}") };
        list.iter().enumerate().map(item)
    }

    /// Items of the list under a key.
    pub(crate) fn list(&self, key: &str) -> Vec<At<'a>> {
        self.get(key).map(|list| list.items().collect()).unwrap_or_default()
    }

    /// Entries of a mapping; none of anything else. Those without a value are left out.
    pub(crate) fn entries(&self) -> Vec<(&'a str, At<'a>)> {
        let keys = self.value.as_object().map(|map| map.keys());
        keys.into_iter().flatten().filter_map(|key| Some((key.as_str(), self.get(key)?))).collect()
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.value.get(key)?.as_str()
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.value.get(key)?.as_u64()
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.value.get(key)?.as_bool()
    }

    /// Texts of the list under a key.
    pub(crate) fn texts(&self, key: &str) -> Vec<String> {
        self.list(key).iter().filter_map(|item| item.value.as_str().map(str::to_owned)).collect()
    }
}
