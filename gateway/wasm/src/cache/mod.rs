//! For plugins that store responses: whose a response is (`consumer`), what a plugin has found for an exchange (`held`), and bodies
//! that are stored as they pass (`recording`). The store itself is in `gateway-state`.

pub(crate) mod cache_lookups;
pub(crate) mod cache_writer;
pub(crate) mod consumer;
