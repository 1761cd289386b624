//! The plugin against the SDK's fake gateway.

mod configuration;
mod forbidden;
mod identity;
mod keys;
mod readme;
mod remembering;
mod rules;
mod sources;
mod support;
mod vectors;
