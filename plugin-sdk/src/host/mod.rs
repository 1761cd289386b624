//! Whatever is on the other side: the gateway, reached through the component's imports, or the test kit's
//! fake host. Both have the same functions.

#[cfg(target_family = "wasm")]
pub(crate) mod crypto;
#[cfg(target_family = "wasm")]
pub mod exports;
#[cfg(target_family = "wasm")]
pub mod generated;
#[cfg(target_family = "wasm")]
mod lists;
#[cfg(target_family = "wasm")]
mod stdio;
#[cfg(target_family = "wasm")]
mod wasm;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testkit::host::*;
#[cfg(target_family = "wasm")]
pub(crate) use {lists::*, wasm::*};
