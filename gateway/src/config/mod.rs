//! The configuration: what was typed, every problem in it, and what it means.
pub mod model;
