//! The gateway, its state in Redis and the test kit of the SDK apply the same rules: random operations, whose seeds are printed, come to
//! the same everywhere.

mod clock;
mod exchanges;
mod leases;
mod quotas;
#[path = "../../guests/scripted/src/lib.rs"]
mod scripted;
