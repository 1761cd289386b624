//! Signed tokens, keys and claims (RFC 7515, 7517, 7519), for the standard plugins that verify them.

#![deny(missing_docs)]

pub mod algorithm;
pub mod base64;
pub mod claim;
pub mod identity;
pub mod json;
pub mod key;
pub mod options;
pub mod remote;
pub mod token;

pub use algorithm::Algorithm;
pub use claim::ClaimPath;
pub use identity::{Identity, Mapping};
pub use key::{Keys, Verdict};
pub use options::ClaimNames;
pub use remote::RemoteKeys;
pub use token::Token;
