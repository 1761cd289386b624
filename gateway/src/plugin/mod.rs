//! The only user of wasmtime: loads components, keeps their instances warm and makes pipeline stages of them.

pub mod builtin;
