//! Changes of a project's sources, as an editor makes them.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::error::ProjectError;

/// Editors write a file in several steps.
const SETTLE: Duration = Duration::from_millis(150);
/// A build is not put off for longer, however often something changes.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// What builds leave behind, in whatever language.
const FOLDERS: [&str; 6] = ["build", "dist", "node_modules", "target", "__pycache__", "venv"];
const FILES: [&str; 3] = ["Cargo.lock", "go.sum", "package-lock.json"];

/// Sees the sources of a project change, as long as it lives.
pub(crate) struct Sources {
    root: PathBuf,
    changes: Receiver<()>,
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

impl Sources {
    /// Watches a project's folder.
    ///
    /// # Errors
    ///
    /// The system does not let it be watched.
    pub(crate) fn watch(folder: &Path) -> Result<Self, ProjectError> {
        let failed = |error| ProjectError::Watch(folder.to_owned(), error);
        let root = folder.canonicalize().map_err(|error| failed(error.into()))?;
        let (nudge, changes): (SyncSender<()>, _) = sync_channel(1);
        let base = root.clone();
        let on_event = move |event: notify::Result<notify::Event>| {
            let concerns_us = |event: notify::Event| {
                !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| is_source(&base, path))
            };
            if event.is_ok_and(concerns_us) {
                // A full channel means that a nudge is waiting already.
                let _ = nudge.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event).map_err(failed)?;
        let mut sources = Self { root, changes, watcher, watched: BTreeSet::new() };
        sources.follow().map_err(failed)?;
        Ok(sources)
    }

    /// Watches folders that have come since. Each by itself, because those that tools fill have thousands below them.
    fn follow(&mut self) -> notify::Result<()> {
        self.watched.retain(|folder| folder.is_dir());
        for folder in folders(&self.root) {
            if !self.watched.contains(&folder) {
                self.watcher.watch(&folder, RecursiveMode::NonRecursive)?;
                self.watched.insert(folder);
            }
        }
        Ok(())
    }

    /// Whether something has changed, and has come to rest, within so long.
    pub(crate) fn changed_within(&mut self, time: Duration) -> bool {
        // The other end is the watcher's, which is ours.
        if self.changes.recv_timeout(time).is_err() {
            return false;
        }
        let since = Instant::now();
        while since.elapsed() < SETTLE_TIMEOUT && self.changes.recv_timeout(SETTLE).is_ok() {}
        // A folder that went as fast as it came is none.
        let _ = self.follow();
        true
    }
}

fn is_left_behind(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || name.ends_with('~') || FOLDERS.contains(&&*name) || FILES.contains(&&*name)
}

fn is_source(root: &Path, path: &Path) -> bool {
    path.strip_prefix(root).is_ok_and(|path| !path.iter().any(is_left_behind))
}

/// The project's folder, and those below it that have sources.
fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut at = 0;
    while let Some(folder) = found.get(at).cloned() {
        at += 1;
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        found.extend(inner.filter(|entry| !is_left_behind(&entry.file_name())).map(|entry| entry.path()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_in_a_folder_that_came_later_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut sources = Sources::watch(folder.path()).unwrap();
        let wait = Duration::from_secs(30);
        std::fs::create_dir(folder.path().join("src")).unwrap();
        assert!(sources.changed_within(wait));
        std::fs::write(folder.path().join("src/lib.rs"), "").unwrap();
        assert!(sources.changed_within(wait));
        std::fs::create_dir(folder.path().join("build")).unwrap();
        std::fs::write(folder.path().join("build/made"), "").unwrap();
        assert!(!sources.changed_within(SETTLE));
    }

    #[test]
    fn what_tools_leave_behind_is_no_source() {
        let root = Path::new("/p");
        for source in ["/p/plugin.py", "/p/src/lib.rs", "/p/plugin.yaml", "/p/gateway.yaml"] {
            assert!(is_source(root, Path::new(source)), "{source}");
        }
        for other in ["/p/target/x", "/p/build/core.wasm", "/p/.git/index", "/p/package-lock.json", "/p/a.py~", "/q/a"]
        {
            assert!(!is_source(root, Path::new(other)), "{other}");
        }
    }
}
