//! What every part of the gateway knows: the configuration as it is in force, the names of failures, and timers.

#![warn(unreachable_pub)]

pub mod error;
pub mod model;
pub mod timers;
