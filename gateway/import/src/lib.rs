//! Configurations of nginx and Kong, OpenAPI documents and Kubernetes Ingresses, translated into a configuration of the
//! gateway. What has no counterpart is never dropped silently: it becomes a note with its line.
//!
//! Each format has a module, which fills a `Draft`; `draft` writes it as YAML.

#![warn(unreachable_pub, missing_docs)]

mod document;
mod draft;
mod ingress;
mod kong;
mod nginx;
mod openapi;
mod units;
mod yaml;

use std::fmt;

/// A format that can be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `nginx.conf`, or what `nginx -T` prints.
    Nginx,
    /// Kong's declarative configuration.
    Kong,
    /// An OpenAPI 3 document, in YAML or JSON.
    OpenApi,
    /// Kubernetes objects of the kind Ingress, in YAML.
    Ingress,
}

/// Something of the source that the configuration does not have, or has otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The line in the source, from 1.
    pub line: usize,
    /// What it is, and what to do instead.
    pub text: String,
}

/// A translated configuration.
#[derive(Debug)]
pub struct Imported {
    /// The configuration, in YAML with comments that name lines of the source.
    pub yaml: String,
    /// By line.
    pub notes: Vec<Note>,
}

/// Why nothing is translated.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source is not what it should be. The text names the line.
    #[error("{0}")]
    Invalid(String),
    /// There is no route in it.
    #[error("nothing to route: {0}")]
    Empty(&'static str),
}

impl Format {
    /// What a file is, by its contents.
    pub fn detect(text: &str) -> Option<Self> {
        let begins = |key: &str| text.lines().any(|line| line.trim_start().trim_start_matches('"').starts_with(key));
        if begins("_format_version") {
            Some(Self::Kong)
        } else if begins("openapi:") || begins("openapi\":") {
            Some(Self::OpenApi)
        } else if text.lines().any(|line| line.trim_end() == "kind: Ingress") {
            Some(Self::Ingress)
        } else if ["http", "server", "location", "upstream"].iter().any(|word| nginx::has_block(text, word)) {
            Some(Self::Nginx)
        } else {
            None
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "nginx",
            Self::Kong => "Kong",
            Self::OpenApi => "OpenAPI",
            Self::Ingress => "Ingress",
        })
    }
}

/// Translates `text`, which is called `name` in comments.
///
/// # Errors
///
/// The text is not of this format, or has no routes.
pub fn import(format: Format, name: &str, text: &str) -> Result<Imported, ImportError> {
    let draft = match format {
        Format::Nginx => nginx::translate(text)?,
        Format::Kong => kong::translate(text)?,
        Format::OpenApi => openapi::translate(text)?,
        Format::Ingress => ingress::translate(text)?,
    };
    Ok(draft.finish(name))
}
