//! The thread behind a sink. Lines are gathered in one bounded buffer and written in batches, so that a line
//! costs a copy and, mostly, no system call.

use std::{
    fs::File,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{
    metrics::SinkMetrics,
    rotation::Rotating,
    written::{Written, write_all},
};

/// Lines waiting to be written.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// How long a batch is gathered.
const LINGER: Duration = Duration::from_millis(10);

/// A batch that is written without waiting for more.
const FULL_BATCH: usize = 256 * 1024;

/// Errors of one target are logged once in so long.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// Where lines go.
pub(super) enum Output {
    Stdout,
    Stderr,
    File(File),
    Rotating(Rotating),
    #[cfg(test)]
    Test(Box<dyn Write + Send>),
}

/// A target with its thread. The thread ends, after what is still buffered, when the last handle is dropped.
pub(super) struct Writer {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// There is something to do for the thread.
    work: Condvar,
    /// A batch has been written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    /// Whose lines these are, in their order: several sinks may have one target.
    runs: Vec<Run>,
    /// The thread is writing a batch.
    writing: bool,
    /// Someone waits for the buffer to be empty.
    hurry: bool,
    closed: bool,
    /// Takes the place of the present output before the next batch.
    replacement: Option<Output>,
}

/// Lines of one sink, one after another.
struct Run {
    sink: Arc<SinkMetrics>,
    lines: u64,
}

impl Writer {
    /// `label` names the target in the log.
    pub(super) fn start(label: String, output: Output) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), work: Condvar::default(), written: Condvar::default() });
        let theirs = shared.clone();
        thread::Builder::new().name("sink".into()).spawn(move || theirs.run(&label, output))?;
        Ok(Self { shared })
    }

    /// Takes a line into the buffer; false if it is full. Line ends within become spaces: one line stays one. When it has
    /// been written, or could not be, it is counted for its sink.
    pub(super) fn push(&self, line: &[u8], sink: &Arc<SinkMetrics>) -> bool {
        let mut state = self.shared.lock();
        let before = state.buffer.len();
        if before + line.len() + 1 > BUFFER_BYTES {
            return false;
        }
        state.buffer.extend_from_slice(line);
        for byte in &mut state.buffer[before..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        state.buffer.push(b'\n');
        match state.runs.last_mut() {
            Some(run) if Arc::ptr_eq(&run.sink, sink) => run.lines += 1,
            _ => state.runs.push(Run { sink: sink.clone(), lines: 1 }),
        }
        let after = state.buffer.len();
        drop(state);
        // Waking is what costs: only the first line of a batch does it, and the one that makes it full.
        if before == 0 || (before < FULL_BATCH && after >= FULL_BATCH) {
            self.shared.work.notify_one();
        }
        true
    }

    /// What follows goes there. The old output is closed also where no line follows: a file that was renamed or removed is
    /// in somebody's way as long as it is open.
    pub(super) fn replace(&self, output: Output) {
        self.shared.lock().replacement = Some(output);
        self.shared.work.notify_one();
    }

    /// Waits until everything so far is written; false if that took longer than allowed.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let mut state = self.shared.lock();
        while !state.buffer.is_empty() || state.writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state.hurry = true;
            self.shared.work.notify_one();
            let waited = self.shared.written.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, label: &str, mut output: Output) {
        let (mut batch, mut runs) = (Vec::new(), Vec::new());
        let mut complaints = Complaints::default();
        // The last line was written in part: the next one must not become its end.
        let mut torn = false;
        while self.next_batch(&mut batch, &mut runs, &mut output, &mut torn) {
            if torn {
                torn = output.write(b"\n").bytes == 0;
            }
            let Written { bytes, error } = if torn { Written::nothing(None) } else { output.write(&batch) };
            let lost = settle(&runs, &batch, bytes);
            torn |= batch[..bytes].last().is_some_and(|last| *last != b'\n');
            if let Some(error) = error {
                complaints.log(label, &error, lost);
            }
            batch.clear();
            runs.clear();
            // One long batch must not hold its memory forever.
            batch.shrink_to(FULL_BATCH);
            let mut state = self.lock();
            state.writing = false;
            drop(state);
            self.written.notify_all();
        }
    }

    /// Waits for lines and takes all there are; false when there will be no more.
    fn next_batch(&self, batch: &mut Vec<u8>, runs: &mut Vec<Run>, output: &mut Output, torn: &mut bool) -> bool {
        let mut state = self.lock();
        while state.buffer.is_empty() {
            if let Some(replacement) = state.replacement.take() {
                *output = replacement;
            }
            if state.closed {
                return false;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + LINGER;
        while state.buffer.len() < FULL_BATCH && !state.hurry && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.hurry = false;
        state.writing = true;
        std::mem::swap(&mut state.buffer, batch);
        std::mem::swap(&mut state.runs, runs);
        if let Some(replacement) = state.replacement.take() {
            *output = replacement;
            *torn = false;
        }
        true
    }
}

/// Counts each line for its sink, as written or as lost, and says how many were lost.
fn settle(runs: &[Run], batch: &[u8], written: usize) -> u64 {
    let whole = written == batch.len();
    let mut left = if whole { u64::MAX } else { memchr::memchr_iter(b'\n', &batch[..written]).count() as u64 };
    let mut lost = 0;
    for Run { sink, lines } in runs {
        let written = left.min(*lines);
        left -= written;
        lost += lines - written;
        sink.written.fetch_add(written, Relaxed);
        sink.failed.fetch_add(lines - written, Relaxed);
    }
    lost
}

impl Output {
    fn write(&mut self, batch: &[u8]) -> Written {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                let written = write_all(&mut stdout, batch);
                match stdout.flush() {
                    Ok(()) => written,
                    Err(error) => Written::nothing(Some(error)),
                }
            }
            Self::Stderr => write_all(&mut io::stderr().lock(), batch),
            Self::File(file) => write_all(file, batch),
            Self::Rotating(file) => file.write(batch),
            #[cfg(test)]
            Self::Test(to) => write_all(to, batch),
        }
    }
}

/// Keeps a full disk from filling the log too.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    silent: u64,
    /// Lines, since it was last told.
    lost: u64,
}

impl Complaints {
    fn log(&mut self, target: &str, error: &io::Error, lost: u64) {
        self.lost += lost;
        if self.last.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            self.silent += 1;
            return;
        }
        let (lost, unreported) = (self.lost, self.silent);
        tracing::warn!(sink = target, lost, unreported, "cannot write or rotate the file; lines are dropped: {error}");
        self.last = Some(Instant::now());
        (self.silent, self.lost) = (0, 0);
    }
}
