//! The plugin against the SDK's fake gateway.

mod configuration;
mod fetched;
mod forbidden;
mod identity;
mod issuers;
mod keys;
mod readme;
mod remembering;
mod rules;
mod sources;
mod support;
mod vectors;
