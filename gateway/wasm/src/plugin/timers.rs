//! The timers that a plugin has with its configuration.

use std::{sync::Arc, time::Duration};

use gateway_rules::timers;

use crate::bindings::Timer;

/// A timer of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerSettings {
    /// Unique within the configuration.
    pub name: Arc<str>,
    /// From the end of a call to the beginning of the next one.
    pub interval: Duration,
}

/// The timers, or what is wrong with them.
pub(super) fn checked(timers: Vec<Timer>) -> Result<Arc<[TimerSettings]>, String> {
    let interval = |timer: &Timer| Duration::from_millis(timer.interval_ms);
    timers::check(timers.iter().map(|timer| (timer.name.as_str(), interval(timer))))?;
    Ok(timers.into_iter().map(|timer| TimerSettings { interval: interval(&timer), name: timer.name.into() }).collect())
}
