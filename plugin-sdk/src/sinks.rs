//! Lines to where the operator said: standard output, a file, …

use std::fmt;

use crate::host;

/// Writes one line to a sink; the line feed is added. It never waits.
///
/// # Errors
///
/// See [`SinkError`].
pub fn write(sink: &str, line: &[u8]) -> Result<(), SinkError> {
    host::sink_write(sink, line)
}

/// Why a line was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkError {
    /// No such sink, or not granted.
    Denied(String),
    /// The sink's buffer is full. The gateway counts what was dropped.
    Dropped,
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "sink denied: {why}"),
            Self::Dropped => f.write_str("the sink's buffer is full"),
        }
    }
}

impl std::error::Error for SinkError {}
