//! The plugin against the SDK's fake gateway, and a provider that the tests direct.

mod configuration;
mod logins;
mod logouts;
mod readme;
mod refreshes;
mod sessions;
mod support;
mod verified;
