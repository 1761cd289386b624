//! Changes of the configuration file and of the files that it names.
//!
//! Files are looked at, every `EVERY`, and not subscribed to. What decides is what a path leads to: which file, how long
//! it is and when it was last written. So it does not matter how it changed: written in place on the other side of a bind
//! mount, replaced by a rename, or behind a symbolic link, one on the way to it included, that leads elsewhere now. A
//! subscription to a folder misses several of these, network file systems have none, and the kernel gives out only so many.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::time::{self, MissedTickBehavior};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Looking takes at most one part in so many of the time, also where files are many or their file system is slow.
const SHARE: u32 = 50;
/// Editors and orchestrators write a file in several steps: a reload waits until it has rested for so long.
const SETTLE: Duration = Duration::from_millis(200);
/// It is not put off for longer, however often the file changes.
const MAX_SETTLE: Duration = Duration::from_secs(2);
/// How far a file's time of change may lag behind the clock.
const COARSE: Duration = Duration::from_millis(10);

/// The changes of the configuration file and of the files that it names, if they are watched.
pub(super) struct Changes {
    file: Option<PathBuf>,
    /// What the files were when they were last read, or just before that.
    seen: Seen,
    /// A change has been found already.
    pending: bool,
    /// When it is taken up at the latest.
    latest: Option<Instant>,
    ticks: Option<time::Interval>,
    /// Until then it is not looked again.
    rest: Instant,
}

/// What each path led to; `None` where that could not be told.
type Seen = BTreeMap<PathBuf, Option<Print>>;

/// What tells a file from another one, and from itself before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Changes {
    /// What changes from here on is noticed.
    pub(super) fn of(file: Option<&Path>) -> Self {
        let file = file.map(Path::to_owned);
        let seen = look(file.clone());
        Self { file, seen, pending: false, latest: None, ticks: None, rest: Instant::now() }
    }

    /// Watches these files too, instead of those before. They were read after `since`: one that has changed in the
    /// meantime is a change.
    pub(super) fn follow<'a>(&mut self, files: impl IntoIterator<Item = &'a Path>, since: SystemTime) {
        let Some(file) = &self.file else { return };
        let mut all: BTreeSet<&Path> = files.into_iter().collect();
        all.insert(file);
        let mut seen = Seen::new();
        for path in all {
            // What was seen of it before it was read holds, so that a change while it was read is one.
            let known = self.seen.remove_entry(path);
            let (path, print) = known.unwrap_or_else(|| {
                self.pending |= has_changed(path, since);
                (path.to_owned(), Print::of(path))
            });
            seen.insert(path, print);
        }
        self.seen = seen;
    }

    /// All files are about to be read: what they are now is no change. If it is cancelled, it is one.
    pub(super) async fn about_to_be_read(&mut self) {
        if self.file.is_some() {
            self.differs().await;
            self.taken_up();
        }
    }

    fn taken_up(&mut self) {
        self.pending = false;
        self.latest = None;
    }

    /// Waits for a change that has come to rest; for ever, if nothing is watched. Can be cancelled and called again, so that
    /// signals and orders are obeyed while files still change.
    pub(super) async fn settled(&mut self) {
        self.noticed().await;
        let latest = *self.latest.get_or_insert_with(|| Instant::now() + MAX_SETTLE);
        loop {
            time::sleep(SETTLE).await;
            if !self.differs().await || Instant::now() >= latest {
                return self.taken_up();
            }
        }
    }

    /// Waits for a change. Can be cancelled and called again.
    async fn noticed(&mut self) {
        if self.file.is_none() {
            return std::future::pending().await;
        }
        let ticks = self.ticks.get_or_insert_with(|| {
            let mut ticks = time::interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        while !self.pending {
            ticks.tick().await;
            let began = Instant::now();
            if began < self.rest {
                continue;
            }
            if let Some(seen) = look_aside(&self.seen).await {
                self.pending |= seen != self.seen;
                self.seen = seen;
            }
            self.rest = Instant::now() + began.elapsed() * SHARE;
        }
    }

    /// Looks once, and says whether something has changed since the last time.
    async fn differs(&mut self) -> bool {
        let Some(seen) = look_aside(&self.seen).await else { return false };
        let differs = seen != self.seen;
        self.seen = seen;
        differs
    }
}

/// On another thread: a file system may be slow, and this one answers health checks.
async fn look_aside(seen: &Seen) -> Option<Seen> {
    let paths: Vec<PathBuf> = seen.keys().cloned().collect();
    tokio::task::spawn_blocking(move || look(paths)).await.ok()
}

fn look(paths: impl IntoIterator<Item = PathBuf>) -> Seen {
    let look = |path: PathBuf| {
        let print = Print::of(&path);
        (path, print)
    };
    paths.into_iter().map(look).collect()
}

impl Print {
    /// Of the file at the end of all links.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            // A program that sets the time of modification back, such as rsync, cannot set this one.
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Whether the file, or the link to it, was changed after that; not if it cannot be told.
fn has_changed(file: &Path, since: SystemTime) -> bool {
    let changed = |metadata: std::io::Result<fs::Metadata>| -> Option<SystemTime> {
        let metadata = metadata.ok()?;
        let seconds = Duration::from_secs(metadata.ctime().try_into().ok()?);
        Some(UNIX_EPOCH + seconds + Duration::from_nanos(metadata.ctime_nsec().try_into().ok()?))
    };
    let times = [changed(fs::metadata(file)), changed(fs::symlink_metadata(file))];
    times.into_iter().flatten().any(|time| time + COARSE >= since)
}
