//! What a guest says in words: log lines, and what it prints. All of it is bounded for each call and in time, and comes
//! into the gateway's log with the plugin's name and the request's identifier.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use gateway_telemetry::metrics::PluginMetrics;
use tracing::Level;

use crate::bindings::log;

/// Lines taken from one call, logged and printed, and their bytes.
const LINES: u32 = 100;
const CALL_BYTES: usize = 64 * 1024;
/// What a line costs beside its text: time, level, names.
const LINE_OVERHEAD: usize = 128;
/// What one configuration of a plugin may add to the log in a second, and at once.
const RATE_BYTES: u64 = 256 * 1024;
const BURST_BYTES: u64 = 1024 * 1024;
/// How often it is said that something was dropped.
const REPORT: Duration = Duration::from_secs(1);
/// Of a message to the log, and of the error that a phase returns.
const MESSAGE_BYTES: usize = 4096;
const FIELDS: usize = 16;
const FIELD_BYTES: usize = 1024;
/// Bytes printed in one call, for each of the two streams.
const PRINTED_BYTES: usize = 16 * 1024;
/// What of a printed line is kept.
const LINE_BYTES: usize = 2048;
/// How much of what was printed explains a failure.
const LAST_WORDS_BYTES: usize = 1024;

/// Where plugins' lines appear in the log.
const TARGET: &str = "gateway::plugin::guest";

/// Whose words these are.
#[derive(Clone, Copy)]
pub(crate) struct Speaker<'a> {
    pub(crate) plugin: &'a str,
    /// The request's identifier; empty outside requests.
    pub(crate) request: &'a str,
    pub(crate) rate: &'a LogRate,
    pub(crate) metrics: &'a PluginMetrics,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// One call's share of the log.
#[derive(Default)]
pub(crate) struct Output {
    lines: u32,
    bytes: usize,
    lines_dropped: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    bytes_dropped: u64,
}

impl Output {
    /// Logs a line, unless the call has had its share.
    pub(crate) fn log(&mut self, speaker: Speaker<'_>, level: log::Level, message: &str, fields: &[(String, String)]) {
        let level = match level {
            log::Level::Trace => Level::TRACE,
            log::Level::Debug => Level::DEBUG,
            log::Level::Info => Level::INFO,
            log::Level::Warn => Level::WARN,
            log::Level::Error => Level::ERROR,
        };
        self.say(speaker, level, message, fields);
    }

    /// A line, unless the call or the plugin has had its share. What the log's level leaves out is no part of it.
    fn say(&mut self, speaker: Speaker<'_>, level: Level, message: &str, fields: &[(String, String)]) {
        if !is_enabled(level) {
            return;
        }
        let field = |(name, value): &(String, String)| name.len().min(FIELD_BYTES) + value.len().min(FIELD_BYTES);
        let fields_bytes: usize = fields.iter().take(FIELDS).map(field).sum();
        let bytes = LINE_OVERHEAD + message.len().min(MESSAGE_BYTES) + fields_bytes;
        let is_over = self.lines >= LINES || bytes > CALL_BYTES.saturating_sub(self.bytes);
        if is_over || !speaker.rate.take(bytes as u64) {
            self.lines_dropped += 1;
            return;
        }
        self.lines += 1;
        self.bytes += bytes;
        event(speaker, level, message, fields);
    }

    /// Keeps what is printed until the call ends.
    pub(crate) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        let buffer = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let taken = bytes.len().min(PRINTED_BYTES.saturating_sub(buffer.len()));
        buffer.extend_from_slice(&bytes[..taken]);
        self.bytes_dropped += (bytes.len() - taken) as u64;
    }

    /// The end of what was printed to standard error: where a panic says why.
    pub(crate) fn last_words(&self) -> Option<String> {
        let start = self.stderr.len().saturating_sub(LAST_WORDS_BYTES);
        let text = String::from_utf8_lossy(&self.stderr[start..]);
        let text = printable(text.trim(), LAST_WORDS_BYTES);
        (!text.is_empty()).then_some(text)
    }

    /// Nothing was said since the last call ended.
    pub(crate) fn is_silent(&self) -> bool {
        self.lines == 0
            && self.lines_dropped == 0
            && self.bytes_dropped == 0
            && self.stdout.is_empty()
            && self.stderr.is_empty()
    }

    /// Ends a call: what was printed goes to the log, and how much of it was too much.
    pub(crate) fn finish(&mut self, speaker: Speaker<'_>) {
        for (level, buffer) in
            [(Level::INFO, std::mem::take(&mut self.stdout)), (Level::WARN, std::mem::take(&mut self.stderr))]
        {
            for line in buffer.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                self.say(speaker, level, &String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES)]), &[]);
            }
        }
        (self.lines, self.bytes) = (0, 0);
        let lines = std::mem::take(&mut self.lines_dropped);
        let bytes = std::mem::take(&mut self.bytes_dropped);
        if lines == 0 && bytes == 0 {
            return;
        }
        speaker.metrics.log_dropped(lines.max(1));
        if let Some(unreported) = speaker.rate.report() {
            tracing::warn!(
                plugin = speaker.plugin,
                request = speaker.request,
                "plugin exceeded its output limits: {lines} log lines and {bytes} printed bytes \
                 dropped, and before that from {unreported} calls"
            );
        }
    }
}

fn is_enabled(level: Level) -> bool {
    macro_rules! at {
        ($level:ident) => {
            tracing::enabled!(target: TARGET, Level::$level)
        };
    }
    match level {
        Level::TRACE => at!(TRACE),
        Level::DEBUG => at!(DEBUG),
        Level::INFO => at!(INFO),
        Level::WARN => at!(WARN),
        Level::ERROR => at!(ERROR),
    }
}

/// How fast one configuration of a plugin fills the log, on all workers together: a bucket of bytes that refills.
pub(crate) struct LogRate {
    begun: Instant,
    /// When the bucket is full again, in nanoseconds from the beginning.
    full: AtomicU64,
    /// When it may next be said that something was dropped, and calls of which it was not said.
    report: AtomicU64,
    unreported: AtomicU64,
}

impl Default for LogRate {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self { begun: Instant::now(), full: zero(), report: zero(), unreported: zero() }
    }
}

impl LogRate {
    fn take(&self, bytes: u64) -> bool {
        self.take_at(self.now(), bytes)
    }

    fn take_at(&self, now: u64, bytes: u64) -> bool {
        const NANOS: u64 = 1_000_000_000;
        let cost = bytes * NANOS / RATE_BYTES;
        let taken =
            |full: u64| Some(full.max(now) + cost).filter(|full| full - now <= BURST_BYTES * NANOS / RATE_BYTES);
        self.full.fetch_update(Relaxed, Relaxed, taken).is_ok()
    }

    /// Whether to say that a call's words were dropped; if so, of how many calls before it was not said.
    fn report(&self) -> Option<u64> {
        let now = self.now();
        let due = |at: u64| (at <= now).then_some(now + REPORT.as_nanos() as u64);
        match self.report.fetch_update(Relaxed, Relaxed, due) {
            Ok(_) => Some(self.unreported.swap(0, Relaxed)),
            Err(_) => {
                self.unreported.fetch_add(1, Relaxed);
                None
            }
        }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }
}

/// A level is part of a `tracing` call site, so each has its own.
fn event(speaker: Speaker<'_>, level: Level, message: &str, fields: &[(String, String)]) {
    macro_rules! at {
        ($level:ident) => {{
                let message = printable(message, MESSAGE_BYTES);
                let Speaker { plugin, request, .. } = speaker;
                if fields.is_empty() {
                    tracing::event!(target: TARGET, Level::$level, plugin, request, "{message}");
                } else {
                    let fields = joined(fields);
                    tracing::event!(target: TARGET, Level::$level, plugin, request, fields, "{message}");
                }
        }};
    }
    match level {
        Level::TRACE => at!(TRACE),
        Level::DEBUG => at!(DEBUG),
        Level::INFO => at!(INFO),
        Level::WARN => at!(WARN),
        Level::ERROR => at!(ERROR),
    }
}

/// `name=value name=value`.
fn joined(fields: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in fields.iter().take(FIELDS) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&printable(name, FIELD_BYTES));
        text.push('=');
        text.push_str(&printable(value, FIELD_BYTES));
    }
    text
}

/// What a phase says about its failure, for the log. It may quote what a client sent, so it must not pass for another line.
pub(crate) fn failure_text(message: &str) -> String {
    printable(message, MESSAGE_BYTES)
}

/// No more than `limit` bytes of the text, and nothing in it that could pass for another line of the log or
/// steer a terminal.
pub(super) fn printable(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        if out.len() + c.len_utf8() > limit {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_forge_a_line_of_the_log() {
        assert_eq!(printable("a\nERROR b\u{1b}[2J", 100), "a\\nERROR b\\u{1b}[2J");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(printable("ääää", 5), "ää…");
    }

    #[test]
    fn what_is_printed_in_one_call_is_bounded() {
        let mut output = Output::default();
        for _ in 0..100 {
            output.print(Stream::Stdout, &[b'x'; 4096]);
        }
        assert_eq!(output.stdout.len(), PRINTED_BYTES);
        assert_eq!(output.bytes_dropped, 100 * 4096 - PRINTED_BYTES as u64);
    }

    #[test]
    fn the_log_takes_a_burst_and_then_so_much_in_a_second() {
        let rate = LogRate::default();
        assert!(rate.take_at(0, BURST_BYTES));
        assert!(!rate.take_at(0, 1000));
        assert!(rate.take_at(1_000_000_000, RATE_BYTES));
        assert!(!rate.take_at(1_000_000_000, 1000));
    }

    #[test]
    fn the_last_words_are_the_end_of_standard_error() {
        let mut output = Output::default();
        assert_eq!(output.last_words(), None);
        output.print(Stream::Stderr, b"thread panicked:\nno\n");
        assert_eq!(output.last_words().as_deref(), Some("thread panicked:\\nno"));
    }
}
