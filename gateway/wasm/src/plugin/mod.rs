//! From the bytes of a component to a plugin with its configuration: compiled and linked (`load`), understood by its types
//! (`inspect`) and by what it says about itself (`facts`, `catalogue`), configured (`prepared`).

mod catalogue;
mod data_use;
mod facts;
mod inspect;
mod load;
mod load_error;
mod prepared;
mod timers;

pub use catalogue::Endpoint;
pub use facts::{Facts, Wants};
pub use load::{Examined, Loaded, PluginMemory, Runtime, read, sha256};
pub use load_error::LoadError;
pub(crate) use prepared::{Key, Refusal};
pub use prepared::{Prepared, Problem, Settings};
pub use timers::TimerSettings;
