//! The thread behind a sink. Lines are gathered in one bounded buffer and written in batches, so that a line
//! costs a copy and, mostly, no system call.

use std::{
    fs::File,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::rotation::Rotating;

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
    /// The thread is writing a batch.
    writing: bool,
    /// Someone waits for the buffer to be empty.
    hurry: bool,
    closed: bool,
    /// Takes the place of the present output before the next batch.
    replacement: Option<Output>,
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

    /// Takes a line into the buffer; false if it is full. Line ends within become spaces: one line stays one.
    pub(super) fn push(&self, line: &[u8]) -> bool {
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
        let mut batch = Vec::new();
        let mut complaints = Complaints::default();
        while self.next_batch(&mut batch, &mut output) {
            if let Err(error) = output.write(&batch) {
                complaints.log(label, &error);
            }
            batch.clear();
            // One long batch must not hold its memory forever.
            batch.shrink_to(FULL_BATCH);
            let mut state = self.lock();
            state.writing = false;
            drop(state);
            self.written.notify_all();
        }
    }

    /// Waits for lines and takes all there are; false when there will be no more.
    fn next_batch(&self, batch: &mut Vec<u8>, output: &mut Output) -> bool {
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
        if let Some(replacement) = state.replacement.take() {
            *output = replacement;
        }
        true
    }
}

impl Output {
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(batch)?;
                stdout.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(batch),
            Self::File(file) => file.write_all(batch),
            Self::Rotating(file) => file.write(batch),
            #[cfg(test)]
            Self::Test(write) => write.write_all(batch),
        }
    }
}

/// Keeps a full disk from filling the log too.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    silent: u64,
}

impl Complaints {
    fn log(&mut self, target: &str, error: &io::Error) {
        if self.last.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            self.silent += 1;
            return;
        }
        tracing::warn!(sink = target, unreported = self.silent, "cannot write or rotate: {error}");
        self.last = Some(Instant::now());
        self.silent = 0;
    }
}
