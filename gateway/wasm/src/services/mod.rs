//! What the host needs from the rest of the gateway to answer its guests: upstreams, the state, documents, passwords, sinks and
//! metrics. Grants are enforced before any of it is used.

pub(crate) mod documents;
mod initial_fetch;
pub(crate) mod passwords;
mod shared;
pub(crate) mod timers;
mod upstreams;

pub use initial_fetch::MissingDocument;
pub use shared::{Named, Services, Shared};
pub use upstreams::{CallError, Conversation, Conversing, LocalFuture, NoUpstreams, Opening, UpstreamCall, Upstreams};
