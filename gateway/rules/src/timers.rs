//! The timers that a plugin may have.

use std::{collections::HashSet, time::Duration};

/// Timers of one configuration.
pub const MAX_TIMERS: usize = 16;

/// The length of a name in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// The shortest interval: each call takes time from the requests of its worker.
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The longest interval.
pub const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Checks the timers of a configuration, each with its name and interval.
///
/// # Errors
///
/// The first rule that they break, for the operator.
pub fn check<'a>(timers: impl ExactSizeIterator<Item = (&'a str, Duration)>) -> Result<(), String> {
    if timers.len() > MAX_TIMERS {
        return Err(format!("the plugin has {} timers, and {MAX_TIMERS} are allowed", timers.len()));
    }
    let mut names = HashSet::new();
    for (name, interval) in timers {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME_BYTES).collect();
            return Err(format!(
                "the name of the plugin's timer `{shown}` has to be 1 to {MAX_NAME_BYTES} bytes without control characters"
            ));
        }
        if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) {
            let millis = interval.as_millis();
            return Err(format!(
                "the plugin's timer `{name}` has an interval of {millis} ms, and 1 second to 24 hours are allowed"
            ));
        }
        if !names.insert(name) {
            return Err(format!("the plugin has two timers with the name `{name}`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_have_unique_names_and_an_interval_within_limits() {
        let checked =
            |timers: &[(&str, u64)]| check(timers.iter().map(|&(name, millis)| (name, Duration::from_millis(millis))));
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(checked(&[("shortest", 1000), (&"x".repeat(64), day)]), Ok(()));
        let problem = |timers: &[(&str, u64)]| checked(timers).unwrap_err();
        assert!(problem(&[("a", 999)]).contains("interval of 999 ms"));
        assert!(problem(&[("a", day + 1)]).contains("24 hours"));
        assert!(problem(&[("a", 1000), ("a", 2000)]).contains("two timers with the name `a`"));
        assert!(problem(&[("", 1000)]).contains("1 to 64 bytes"));
        assert!(problem(&[("a\nb", 1000)]).contains("timer `ab`"));
        assert!(problem(&[(&"x".repeat(65), 1000)]).contains("1 to 64 bytes"));
        assert!(problem(&[("a", 1000); 17]).contains("17 timers"));
    }
}
