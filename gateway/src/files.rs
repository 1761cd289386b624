//! Writing files that others read meanwhile.

use std::{fs, io, path::Path};

/// Writes a file atomically: a concurrent reader sees the previous contents.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let part = file.with_file_name(format!(".{name}.{:016x}", fastrand::u64(..)));
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, file));
    if written.is_err() {
        // The incomplete file is removed.
        let _ = fs::remove_file(part);
    }
    written
}
