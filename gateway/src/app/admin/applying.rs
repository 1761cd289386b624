//! On which terms an operator's configuration is put in force, and what becomes of it.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use crate::app::{Source, StartError};

/// Options of applying a configuration.
pub(in crate::app) struct ApplyOptions {
    /// Only where one of these revisions is in force still; none for whichever it is.
    pub(super) expected: Option<Vec<u64>>,
    /// Into the configuration file too.
    pub(super) write: bool,
}

/// The configuration is active.
#[derive(Debug)]
pub(in crate::app) struct Applied {
    /// Why it is not in the configuration file.
    pub(super) not_written: Option<String>,
}

/// Nothing has changed.
#[derive(Debug)]
pub(in crate::app) enum NotApplied {
    /// Another revision is in force than was expected: this one.
    Unexpected(u64),
    Start(StartError),
}

impl ApplyOptions {
    /// Writes what is in force now where it comes from, if that is wanted and can be.
    pub(in crate::app) async fn keep(&self, source: &Source, text: &Arc<str>) -> Applied {
        let not_written = match source {
            Source::Text { .. } => Some("the configuration comes from no file".to_owned()),
            Source::File(_) if !self.write => Some("that was asked for".to_owned()),
            Source::File(file) => {
                let (file, text) = (file.clone(), text.clone());
                let wrote = tokio::task::spawn_blocking(move || replace(&file, &text)).await;
                wrote.unwrap_or_else(|error| Err(io::Error::other(error))).err().map(|error| error.to_string())
            }
        };
        if let Some(why) = &not_written
            && self.write
        {
            tracing::warn!(
                "the active configuration was not written to a file and will be lost at the next start: {why}"
            );
        }
        Applied { not_written }
    }
}

/// Atomic: a concurrent reader sees the old file. A symbolic link stays one.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    // There may be secrets in it, which nobody else reads before it has the rights that the file has.
    let private = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
    let written = private
        .and_then(|mut new| {
            new.write_all(text.as_bytes())?;
            new.set_permissions(fs::metadata(&file)?.permissions())?;
            new.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &file));
    if written.is_err() {
        // The incomplete file is removed.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}
