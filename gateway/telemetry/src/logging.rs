//! The gateway's own log: `tracing` events to standard error, as text or JSON, never waiting for the reader.
//!
//! A line of JSON has `timestamp` (RFC 3339, UTC), `level`, `target`, `message`, and the event's own fields
//! beside them.

use std::{
    io::{self, BufWriter, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gateway_core::model::{Log, LogFormat};
use thiserror::Error;
use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::ParseError,
    fmt::MakeWriter,
    layer::SubscriberExt,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

use super::metrics::Metrics;

/// Lines that wait for standard error to take them.
const BUFFERED_LINES: usize = 16 * 1024;

/// Bytes of a captured log.
const CAPTURED_BYTES: usize = 1024 * 1024;

/// The running log. Dropping it writes out what is buffered, for about a second at most.
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Mutex<String>,
    _flush: WorkerGuard,
}

/// The log could not be set up as asked.
#[derive(Debug, Error)]
pub enum LogError {
    /// The level is not a filter directive.
    #[error("log level: {0}; expected `info`, `debug`, or directives like `warn,gateway=debug`")]
    Level(#[source] ParseError),
    /// There is a log already.
    #[error("a log is set up already")]
    AlreadySet(#[source] TryInitError),
}

impl Logging {
    /// Sends this process's events to standard error from now on. Lines that are dropped count in `metrics`.
    pub fn start(log: &Log, metrics: &Metrics) -> Result<Self, LogError> {
        let filter = filter(&log.level)?;
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(BUFFERED_LINES).thread_name("log");
        let (writer, guard) = builder.finish(BufWriter::new(io::stderr()));
        metrics.watch_log(writer.error_counter());
        let (filter, handle) = reload::Layer::new(filter);
        let registry = tracing_subscriber::registry().with(filter);
        let done = match log.format {
            LogFormat::Json => json(registry, writer).try_init(),
            LogFormat::Text => text(registry, writer, colours()).try_init(),
        };
        done.map_err(LogError::AlreadySet)?;
        Ok(Self { filter: handle, level: Mutex::new(log.level.clone()), _flush: guard })
    }

    /// Another level, as a reload may bring one.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        let filter = filter(level)?;
        // Fails only when the subscriber is gone, and with it everything that could be filtered.
        let _ = self.filter.reload(filter);
        level.clone_into(&mut self.level.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// The level, as it was said last.
    pub fn level(&self) -> String {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The log of a process that runs gateways to test plugins: lines are kept in memory, until they are taken. Events are written by
/// the thread that they happen in, so that none is on its way when a case has ended. Clones are the same log.
#[derive(Clone)]
pub struct CapturedLog {
    captured: Arc<Mutex<Captured>>,
    /// Lines go to standard error as well.
    shown: bool,
}

#[derive(Default)]
struct Captured {
    lines: Vec<u8>,
    dropped: usize,
}

impl CapturedLog {
    /// Keeps this process's events from now on.
    ///
    /// # Errors
    ///
    /// The level is not valid, or there is a log already.
    pub fn start(log: &Log, shown: bool) -> Result<Self, LogError> {
        let made = Self { captured: Arc::default(), shown };
        let registry = tracing_subscriber::registry().with(filter(&log.level)?);
        let lines = made.clone();
        let writer = move || lines.clone();
        let done = match log.format {
            LogFormat::Json => json(registry, writer).try_init(),
            LogFormat::Text => text(registry, writer, false).try_init(),
        };
        done.map_err(LogError::AlreadySet)?;
        Ok(made)
    }

    /// The lines since the last call.
    pub fn take(&self) -> String {
        let Captured { lines, dropped } = std::mem::take(&mut *self.captured());
        let mut text = String::from_utf8_lossy(&lines).into_owned();
        if dropped > 0 {
            text.push_str(&format!("{dropped} more bytes were logged\n"));
        }
        text
    }

    fn captured(&self) -> MutexGuard<'_, Captured> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event is one write.
impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut captured = self.captured();
        if captured.lines.len() + bytes.len() <= CAPTURED_BYTES {
            captured.lines.extend_from_slice(bytes);
        } else {
            captured.dropped += bytes.len();
        }
        drop(captured);
        if self.shown {
            // A closed standard error makes no test fail.
            let _ = io::stderr().write_all(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a level can be understood, for checking a configuration.
pub fn check_level(level: &str) -> Result<(), LogError> {
    filter(level).map(drop)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(level).map_err(LogError::Level)
}

fn json<S, W>(registry: S, writer: W) -> impl Subscriber + Send + Sync
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
    registry.with(layer.with_current_span(false).with_span_list(false).with_writer(writer))
}

fn text<S, W>(registry: S, writer: W, colours: bool) -> impl Subscriber + Send + Sync
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    registry.with(tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(writer))
}

/// Only for a terminal, and not where <https://no-color.org> asks for none.
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn writer(&self) -> impl Fn() -> Self + Send + Sync + 'static {
            let lines = self.clone();
            move || lines.clone()
        }
    }

    #[test]
    fn a_line_of_json_has_stable_fields() {
        let lines = Lines::default();
        tracing::subscriber::with_default(json(tracing_subscriber::registry(), lines.writer()), || {
            tracing::warn!(target: "gateway::test", route = "users", status = 502, "upstream \"failed\"");
        });
        let text = lines.text();
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        let keys: Vec<_> = object.keys().map(String::as_str).collect();
        assert_eq!(keys, ["timestamp", "level", "message", "route", "status", "target"]);
        assert_eq!(object["level"], "WARN");
        assert_eq!(object["message"], "upstream \"failed\"");
        assert_eq!(object["status"], 502);
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn text_without_colours_has_no_escape_even_if_a_field_brings_one() {
        let lines = Lines::default();
        tracing::subscriber::with_default(text(tracing_subscriber::registry(), lines.writer(), false), || {
            tracing::info!(agent = "\u{1b}[31mred", "hello \u{1b}[0m");
        });
        assert!(!lines.text().contains('\u{1b}'), "{}", lines.text());
    }

    #[test]
    fn a_level_that_is_none_says_what_one_looks_like() {
        assert!(check_level("info,gateway=debug").is_ok());
        let error = check_level("gateway=loud").unwrap_err().to_string();
        assert!(error.contains("expected `info`"), "{error}");
    }
}
