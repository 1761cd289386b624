//! Where plugins write lines to: standard output, standard error, files. Writing never waits: what does not
//! fit into the buffer is dropped and counted.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use gateway_core::model::SinkTarget;
use thiserror::Error;

use super::{
    metrics::{Metrics, SinkMetrics},
    rotation::{Reserved, Rotating, reserve},
    writer::{Output, Writer},
};

/// The longest line.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// The sinks of one configuration. Those of the next are made from these, so that a target keeps its thread
/// and loses no line.
#[derive(Default)]
pub struct Sinks {
    sinks: BTreeMap<String, Sink>,
    /// One for each target, even if several sinks name it.
    writers: Vec<(SinkTarget, Arc<Writer>)>,
}

/// One sink; a handle that can be kept.
#[derive(Clone)]
pub struct Sink {
    writer: Arc<Writer>,
    metrics: Arc<SinkMetrics>,
}

/// Why a line was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no sink of that name.
    Unknown,
    /// The buffer is full, or the line is over `MAX_LINE_BYTES`.
    Dropped,
}

/// A sink's target cannot be opened.
#[derive(Debug, Error)]
#[error("sink {sink:?}: {target} cannot be opened for writing: {source}")]
pub struct OpenError {
    pub sink: String,
    pub target: String,
    pub source: io::Error,
}

/// The sinks of a configuration, with every target open. Lines go there once it is installed; until then, and if it never is,
/// the sinks before it stay as they are.
pub struct LoadedSinks {
    sinks: Vec<(String, Arc<Writer>)>,
    writers: Vec<(SinkTarget, Arc<Writer>)>,
    /// What writers that stay shall write to.
    replacements: Vec<(Arc<Writer>, Output)>,
    /// Files that are there because of this configuration alone.
    created: Vec<Reserved>,
}

impl LoadedSinks {
    pub fn install(self, metrics: &Metrics) -> Sinks {
        self.created.into_iter().for_each(Reserved::keep);
        for (writer, output) in self.replacements {
            writer.replace(output);
        }
        let sink = |(name, writer): (String, Arc<Writer>)| {
            let metrics = metrics.sink(&name);
            (name, Sink { writer, metrics })
        };
        Sinks { sinks: self.sinks.into_iter().map(sink).collect(), writers: self.writers }
    }

    fn writer(&self, target: &SinkTarget) -> Option<Arc<Writer>> {
        find(&self.writers, target)
    }
}

impl Sinks {
    /// Opens every target.
    pub fn open(targets: &BTreeMap<String, SinkTarget>, metrics: &Metrics) -> Result<Self, OpenError> {
        Ok(Self::default().load(targets)?.install(metrics))
    }

    /// The sinks of the next configuration. Files are opened anew, so that a rotated one is let go.
    pub fn load(&self, targets: &BTreeMap<String, SinkTarget>) -> Result<LoadedSinks, OpenError> {
        let (sinks, writers, replacements, created) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut next = LoadedSinks { sinks, writers, replacements, created };
        for (name, target) in targets {
            let open = || open(target).map_err(|error| failed(name, target, error));
            let writer = match (next.writer(target), self.writer(target)) {
                (Some(writer), _) => writer,
                (None, Some(writer)) => {
                    let (output, created) = open()?;
                    // The present sinks have the file too, and may open it at any time: it is never removed under them.
                    created.into_iter().for_each(Reserved::keep);
                    next.replacements.push((writer.clone(), output));
                    writer
                }
                (None, None) => {
                    let (output, created) = open()?;
                    next.created.extend(created);
                    let started = Writer::start(describe(target), output);
                    Arc::new(started.map_err(|error| failed(name, target, error))?)
                }
            };
            next.writers.retain(|(known, _)| !same(known, target));
            next.writers.push((target.clone(), writer.clone()));
            next.sinks.push((name.clone(), writer));
        }
        Ok(next)
    }

    /// Reopens the files after they were renamed or removed. If one cannot be opened, the old one stays in
    /// use.
    pub fn reopen(&self) {
        for (target, writer) in &self.writers {
            match open(target) {
                Ok((output, created)) => {
                    created.into_iter().for_each(Reserved::keep);
                    writer.replace(output);
                }
                Err(error) => tracing::error!(
                    "cannot reopen {}; lines go to the file that was open before: {error}",
                    describe(target)
                ),
            }
        }
        tracing::info!("sink files reopened");
    }

    pub fn get(&self, name: &str) -> Option<&Sink> {
        self.sinks.get(name)
    }

    /// Writes one line; the line feed is added.
    pub fn write(&self, name: &str, line: &[u8]) -> Result<(), Refused> {
        self.get(name).ok_or(Refused::Unknown)?.write(line)
    }

    /// Waits until every line is written; false if that took longer than allowed.
    pub fn flush(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        self.writers.iter().fold(true, |all, (_, writer)| writer.flush(deadline) && all)
    }

    fn writer(&self, target: &SinkTarget) -> Option<Arc<Writer>> {
        find(&self.writers, target)
    }
}

fn find(writers: &[(SinkTarget, Arc<Writer>)], target: &SinkTarget) -> Option<Arc<Writer>> {
    writers.iter().find(|(known, _)| same(known, target)).map(|(_, writer)| writer.clone())
}

impl Sink {
    /// Writes one line; the line feed is added, and those within become spaces.
    pub fn write(&self, line: &[u8]) -> Result<(), Refused> {
        if line.len() <= MAX_LINE_BYTES && self.writer.push(line, &self.metrics) {
            return Ok(());
        }
        self.metrics.dropped.fetch_add(1, Relaxed);
        Err(Refused::Dropped)
    }
}

fn open(target: &SinkTarget) -> io::Result<(Output, Option<Reserved>)> {
    let (path, rotate) = match target {
        SinkTarget::Stdout => return Ok((Output::Stdout, None)),
        SinkTarget::Stderr => return Ok((Output::Stderr, None)),
        SinkTarget::File { path, rotate } => (path, rotate),
    };
    let (file, created) = reserve(path)?;
    let output = match rotate {
        Some(rotation) => Output::Rotating(Rotating::new(path, *rotation, file)),
        None => Output::File(file),
    };
    Ok((output, created))
}

/// Whether two targets need one writer: a file is the same, however it is rotated.
fn same(a: &SinkTarget, b: &SinkTarget) -> bool {
    match (a, b) {
        (SinkTarget::File { path: a, .. }, SinkTarget::File { path: b, .. }) => a == b,
        _ => a == b,
    }
}

fn describe(target: &SinkTarget) -> String {
    match target {
        SinkTarget::Stdout => "stdout".into(),
        SinkTarget::Stderr => "stderr".into(),
        SinkTarget::File { path, .. } => path.display().to_string(),
    }
}

fn failed(sink: &str, target: &SinkTarget, source: io::Error) -> OpenError {
    OpenError { sink: sink.to_owned(), target: describe(target), source }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write,
        path::{Path, PathBuf},
        sync::mpsc,
    };

    use super::*;
    use crate::rotation::numbered;
    use gateway_core::model::Rotation;

    const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);

    /// A directory of its own for one test, gone afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gateway-sinks-{}-{test}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn file(path: PathBuf) -> SinkTarget {
        SinkTarget::File { path, rotate: None }
    }

    fn to_file(name: &str, path: &Path) -> BTreeMap<String, SinkTarget> {
        BTreeMap::from([(name.to_owned(), file(path.to_owned()))])
    }

    #[test]
    fn lines_arrive_in_order_and_stay_lines() {
        let scratch = Scratch::new("order");
        let path = scratch.0.join("log");
        let sinks = Sinks::open(&to_file("access", &path), &Metrics::default()).unwrap();
        sinks.write("access", b"one").unwrap();
        sinks.write("access", b"two\r\nforged").unwrap();
        assert!(sinks.flush(FLUSH_TIMEOUT));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo  forged\n");
        assert_eq!(sinks.write("other", b"x"), Err(Refused::Unknown));
    }

    #[test]
    fn a_rotated_file_is_let_go_by_the_next_configuration() {
        let scratch = Scratch::new("rotation");
        let (path, rotated) = (scratch.0.join("log"), scratch.0.join("log.1"));
        let targets = to_file("access", &path);
        let old = Sinks::open(&targets, &Metrics::default()).unwrap();
        old.write("access", b"before").unwrap();
        assert!(old.flush(FLUSH_TIMEOUT));
        fs::rename(&path, &rotated).unwrap();
        let new = old.load(&targets).unwrap().install(&Metrics::default());
        old.write("access", b"an exchange that began before").unwrap();
        new.write("access", b"after").unwrap();
        assert!(new.flush(FLUSH_TIMEOUT));
        assert_eq!(fs::read_to_string(&rotated).unwrap(), "before\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "an exchange that began before\nafter\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_names_itself_and_changes_nothing() {
        let scratch = Scratch::new("unopenable");
        let path = scratch.0.join("log");
        let old = Sinks::open(&to_file("access", &path), &Metrics::default()).unwrap();
        let bad = to_file("audit", &scratch.0.join("no/such/dir"));
        let error = old.load(&bad).err().expect("the directory does not exist");
        assert!(error.to_string().starts_with("sink \"audit\": "), "{error}");
        old.write("access", b"still here").unwrap();
        assert!(old.flush(FLUSH_TIMEOUT));
        assert_eq!(fs::read_to_string(&path).unwrap(), "still here\n");
    }

    #[test]
    fn sinks_that_are_loaded_and_not_installed_leave_nothing_behind() {
        let scratch = Scratch::new("loaded");
        let (path, new) = (scratch.0.join("log"), scratch.0.join("new"));
        let metrics = Metrics::default();
        let old = Sinks::open(&to_file("access", &path), &metrics).unwrap();
        let mut targets = to_file("access", &path);
        targets.extend(to_file("audit", &new));
        let loaded = old.load(&targets).unwrap();
        assert!(!metrics.render().contains("audit"), "its metrics are there before it is installed");
        drop(loaded);
        assert!(!new.exists());
        old.write("access", b"still here").unwrap();
        assert!(old.flush(FLUSH_TIMEOUT));
        assert_eq!(fs::read_to_string(&path).unwrap(), "still here\n");
        let installed = old.load(&targets).unwrap().install(&metrics);
        drop(old);
        installed.write("audit", b"one").unwrap();
        assert!(installed.flush(FLUSH_TIMEOUT));
        assert_eq!(fs::read_to_string(&new).unwrap(), "one\n");
        // What was there before is never removed.
        drop(Sinks::default().load(&targets).unwrap());
        assert_eq!(fs::read_to_string(&new).unwrap(), "one\n");
    }

    #[test]
    fn a_file_is_rotated_from_the_reload_on_that_says_so() {
        let scratch = Scratch::new("rotate-from-now-on");
        let path = scratch.0.join("log");
        let old = Sinks::open(&to_file("access", &path), &Metrics::default()).unwrap();
        old.write("access", b"before").unwrap();
        assert!(old.flush(FLUSH_TIMEOUT));
        let rotate = Some(Rotation { size: 8, keep: 1 });
        let targets = BTreeMap::from([("access".to_owned(), SinkTarget::File { path: path.clone(), rotate })]);
        let new = old.load(&targets).unwrap().install(&Metrics::default());
        new.write("access", b"after").unwrap();
        assert!(new.flush(FLUSH_TIMEOUT));
        assert_eq!(fs::read_to_string(numbered(&path, 1)).unwrap(), "before\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
    }

    #[test]
    fn sinks_of_the_same_target_share_a_writer() {
        let scratch = Scratch::new("shared");
        let target = file(scratch.0.join("log"));
        let targets = BTreeMap::from([("a".to_owned(), target.clone()), ("b".to_owned(), target)]);
        let sinks = Sinks::open(&targets, &Metrics::default()).unwrap();
        assert_eq!(sinks.writers.len(), 1);
    }

    #[test]
    fn lines_are_written_also_when_the_sinks_are_dropped_at_once() {
        struct Report(mpsc::Sender<Vec<u8>>);
        impl Write for Report {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.send(bytes.to_vec());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sender, receiver) = mpsc::channel();
        let writer = Writer::start("test".into(), Output::Test(Box::new(Report(sender)))).unwrap();
        assert!(writer.push(b"last words", &Metrics::default().sink("test")));
        drop(writer);
        assert_eq!(receiver.recv_timeout(FLUSH_TIMEOUT).unwrap(), b"last words\n");
        assert_eq!(receiver.recv_timeout(FLUSH_TIMEOUT), Err(mpsc::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_as_lost_and_the_next_begins_anew() {
        /// Takes a few bytes, fails, and takes all again.
        struct Full {
            taken: Arc<std::sync::Mutex<Vec<u8>>>,
            room: usize,
            failures: usize,
        }
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let mut taken = self.taken.lock().unwrap();
                let room = self.room.saturating_sub(taken.len()).min(bytes.len());
                if room == 0 && self.failures > 0 {
                    self.failures -= 1;
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let n = if self.failures > 0 { room } else { bytes.len() };
                taken.extend_from_slice(&bytes[..n]);
                Ok(n)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let metrics = Metrics::default();
        let taken = Arc::default();
        let writer = Writer::start(
            "test".into(),
            Output::Test(Box::new(Full { taken: Arc::clone(&taken), room: 6, failures: 1 })),
        )
        .unwrap();
        let writer = Arc::new(writer);
        let sink = |name| Sink { writer: writer.clone(), metrics: metrics.sink(name) };
        let (a, b) = (sink("a"), sink("b"));
        a.write(b"one").unwrap();
        b.write(b"two").unwrap();
        a.write(b"three").unwrap();
        assert!(writer.flush(Instant::now() + FLUSH_TIMEOUT));
        a.write(b"four").unwrap();
        assert!(writer.flush(Instant::now() + FLUSH_TIMEOUT));
        assert_eq!(String::from_utf8_lossy(&taken.lock().unwrap()), "one\ntw\nfour\n");
        let text = metrics.render();
        for (sink, result, lines) in [("a", "written", 2), ("a", "error", 1), ("b", "written", 0), ("b", "error", 1)] {
            let series = format!("gateway_sink_lines_total{{sink=\"{sink}\",result=\"{result}\"}} {lines}");
            assert!(text.contains(&series), "{series}\n{text}");
        }
    }

    #[test]
    fn a_target_that_blocks_drops_lines_and_holds_up_nobody() {
        struct Blocked(mpsc::Receiver<()>);
        impl Write for Blocked {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (unblock, blocked) = mpsc::channel();
        let metrics = Metrics::default();
        let writer = Writer::start("test".into(), Output::Test(Box::new(Blocked(blocked)))).unwrap();
        let sink = Sink { writer: Arc::new(writer), metrics: metrics.sink("slow") };
        let line = [b'x'; MAX_LINE_BYTES];
        // Two buffers can be full: the one that is being written, and the one that fills behind it.
        let taken = (0..1_000).filter(|_| sink.write(&line).is_ok()).count();
        assert!((60..=130).contains(&taken), "{taken} lines were taken");
        assert!(!sink.writer.flush(Instant::now()));
        let text = metrics.render();
        assert!(
            text.contains(&format!("gateway_sink_lines_total{{sink=\"slow\",result=\"dropped\"}} {}", 1_000 - taken))
        );
        drop(unblock);
        assert!(sink.writer.flush(Instant::now() + FLUSH_TIMEOUT));
        assert_eq!(sink.write(&[b'x'; MAX_LINE_BYTES + 1]), Err(Refused::Dropped));
    }
}
