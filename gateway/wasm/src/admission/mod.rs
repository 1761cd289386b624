//! Whether a call may have an instance: how many the process has room for (`capacity`), and the circuit breaker of plugins that time
//! out again and again (`breaker`).

pub(crate) mod breaker;
mod capacity;

pub(crate) use capacity::{Capacity, Reservation};
