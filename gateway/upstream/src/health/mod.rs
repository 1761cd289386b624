//! Background work on endpoints: names are looked up again (`names`), endpoints are probed (`probe`, `grpc_health`), both on one
//! thread for the process (`watch`); a worker connects to one that could not be reached until it can (`reach`).

mod check_error;
mod grpc_health;
pub(crate) mod names;
mod probe;
mod reach;
mod watch;

pub use watch::Watch;
