//! Which endpoint gets the next request, of those that get any: round robin, least request, random, or by a hash of the request.

mod balance;
mod rendezvous;

pub(crate) use balance::{Balancer, Candidate};
pub use rendezvous::hash_of;
