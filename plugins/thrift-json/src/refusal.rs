//! What is wrong with a request.

use std::fmt::Display;

use plugin_sdk::Pointer;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The way to the place in the arguments, from its end.
    way: Vec<String>,
    /// The name of the parameter, if it is in path or query.
    pub(crate) parameter: Option<String>,
    pub(crate) detail: String,
}

impl Refusal {
    pub(crate) fn new(detail: String) -> Self {
        Self { way: Vec::new(), parameter: None, detail }
    }

    pub(crate) fn of_parameter(name: &str, why: &str) -> Self {
        let name = name.chars().take(100).collect::<String>();
        Self { way: Vec::new(), detail: format!("parameter `{name}` {why}"), parameter: Some(name) }
    }

    /// It lies within this member or element.
    #[must_use]
    pub(crate) fn within(mut self, segment: impl Display) -> Self {
        self.way.push(segment.to_string());
        self
    }

    /// Names of members and numbers of elements, from the outside.
    pub(crate) fn way(&self) -> impl Iterator<Item = &str> {
        self.way.iter().rev().map(String::as_str)
    }

    /// The place as a JSON Pointer (RFC 6901), leaving out so many segments.
    pub(crate) fn pointer(&self, skip: usize) -> String {
        self.way().skip(skip).fold(Pointer::root(), |at, segment| at.then(segment)).to_string()
    }
}
