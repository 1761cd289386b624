//! The configuration: what was typed, every problem in it, and what it means.
//!
//! `yaml` reads text into a tree that knows places; `file` is what can be typed, and the source of the JSON
//! Schema; `check` finds every problem and makes the `model` that the rest of the gateway sees. What plugins
//! say about themselves comes through `Catalog`: this room does not know how they run.

#![warn(unreachable_pub)]

mod catalog;
mod check;
mod defaults;
mod file;
pub mod lock;
mod part;
mod problem;
mod schema;
pub mod secret;
mod sensitive;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod yaml;

pub use catalog::{Catalog, CatalogError, PluginEndpoint, PluginFacts, PluginProblem, Wants};
#[cfg(test)]
pub use check::load;
pub use check::{Checked, check, definitions, log_level, read};
pub use problem::{Location, Problem, Problems};
pub use schema::schema;
pub use sensitive::{Masked, Redaction, Sensitive, Unmaskable, is_secret_field, without_credentials};
