//! The composition root of the gateway: the process, its admin API, the command line and the tools for plugins. What requests
//! pass through is in the crates beside this one; `ARCHITECTURE.md` beside this crate's manifest tells the story of a request.

#![warn(unreachable_pub)]

mod alloc;
pub mod app;
pub mod cli;
pub mod demo;
mod fetch;
mod files;
mod project;
mod trial;
