//! One instance of a component: what its store holds beside the guest (`state`), what the host keeps for it between calls
//! (`edits`, `selection`), what it says (`output`), and calls into it (`call`).

mod blueprint;
mod call;
mod data_access;
pub(crate) mod edits;
pub(crate) mod handles;
mod kept;
pub(crate) mod output;
pub(crate) mod plugin_identity;
pub(crate) mod selection;
pub(crate) mod state;
mod thread_bound;

pub(crate) use blueprint::{Blueprint, Exports, Functions, HandleOwnership};
pub(crate) use call::{CallScope, Instance, InstanceParameters};
