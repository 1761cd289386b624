//! What every part of the gateway knows: the configuration as it is in force, the names of failures, and timers.

pub mod error;
pub mod model;
pub mod timers;
