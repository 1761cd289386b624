//! Whether a call may have an instance: how many the process has room for (`capacity`), which calls wait for one and which give
//! way (`contention`), and the circuit breaker of plugins that time out again and again (`breaker`).

pub(crate) mod breaker;
mod capacity;
mod contention;

pub(crate) use capacity::{Capacity, Reservation};
pub(crate) use contention::{Contention, GaveWay};
