//! The gateway's own log, where each line gets the plugin's name and the request's identifier.
//!
//! Use the macros [`trace!`](crate::trace), [`debug!`](crate::debug), [`info!`](crate::info),
//! [`warn!`](crate::warn) and [`error!`](crate::error): a format string with its arguments, and after a
//! semicolon fields that stay apart from the text.
//!
//! ```
//! # plugin_sdk::testkit::TestHost::new().run(|| {
//! let (user, attempts) = ("anna", 3);
//! plugin_sdk::warn!("turned away after {attempts} attempts"; user = user, attempts = attempts);
//! # });
//! ```

use crate::host;

/// How much a line matters, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Step by step.
    Trace,
    /// For whoever looks for a mistake.
    Debug,
    /// Worth knowing.
    Info,
    /// Somebody should look at it one day.
    Warn,
    /// Somebody should act.
    Error,
}

/// Writes a line; the gateway bounds how much one call may write.
pub fn emit(level: Level, message: &str, fields: &[(&str, String)]) {
    host::log(level, message, fields);
}

/// Logs at level trace; see [`log`](crate::log).
#[macro_export]
macro_rules! trace {
    ($($line:tt)*) => { $crate::__log!(Trace, $($line)*) };
}

/// Logs at level debug; see [`log`](crate::log).
#[macro_export]
macro_rules! debug {
    ($($line:tt)*) => { $crate::__log!(Debug, $($line)*) };
}

/// Logs at level info; see [`log`](crate::log).
#[macro_export]
macro_rules! info {
    ($($line:tt)*) => { $crate::__log!(Info, $($line)*) };
}

/// Logs at level warn; see [`log`](crate::log).
#[macro_export]
macro_rules! warn {
    ($($line:tt)*) => { $crate::__log!(Warn, $($line)*) };
}

/// Logs at level error; see [`log`](crate::log).
#[macro_export]
macro_rules! error {
    ($($line:tt)*) => { $crate::__log!(Error, $($line)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $format:literal $(, $argument:expr)* $(,)? $(; $($field:ident = $value:expr),+ $(,)?)?) => {
        $crate::log::emit(
            $crate::log::Level::$level,
            &::std::format!($format $(, $argument)*),
            &[$($((::core::stringify!($field), ::std::string::ToString::to_string(&$value))),+)?],
        )
    };
}
