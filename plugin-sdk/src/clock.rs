//! The time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::host;

/// The time of day. Unlike [`SystemTime::now`] it can be set in tests.
pub fn now() -> SystemTime {
    UNIX_EPOCH + since_epoch()
}

/// The time since the Unix epoch.
pub fn since_epoch() -> Duration {
    host::since_epoch()
}
