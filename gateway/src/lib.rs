//! An API gateway whose pipeline is made of WebAssembly components. `ARCHITECTURE.md` beside this crate's
//! manifest tells the story of a request.

mod alloc;
pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod error;
mod fetch;
mod files;
pub mod http;
pub mod pipeline;
pub mod plugin;
pub mod project;
pub mod proxy;
pub mod route;
pub mod server;
pub mod state;
pub mod telemetry;
mod timers;
pub mod trial;
pub mod upstream;
