//! Whether a call may have an instance: what all instances may use (`ledger`), how calls wait for it and how an
//! instance pays for its memory (`capacity`), how it makes room (`evict`), and the circuit breaker of plugins that time out again and
//! again (`breaker`).

pub(crate) mod breaker;
mod capacity;
mod evict;
mod ledger;

pub(crate) use capacity::{Capacity, Memory, Reservation, Slots};
pub(crate) use evict::{Evict, evict_with};
pub(crate) use ledger::Account;
