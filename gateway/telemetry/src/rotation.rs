//! A sink's file that is renamed when it is full. Only the sink's thread does this, so that requests do not
//! wait for it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use gateway_core::model::Rotation;

use super::written::{Written, write_all};

/// The name of the `n`th file before the present one.
pub fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

pub(super) fn append(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().create(true).append(true).open(path)
}

/// Opens a file for a configuration that is not installed yet. A file that was not there is removed again unless it is kept.
pub(super) fn reserve(path: &Path) -> io::Result<(File, Option<Reserved>)> {
    let mut options = fs::OpenOptions::new();
    options.append(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return Ok((opened?, None)),
    }
    match options.create_new(true).open(path) {
        // Another process was faster, or it is a link to a file that is not there.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((append(path)?, None)),
        created => {
            let file = created?;
            let metadata = file.metadata()?;
            let reserved = Reserved { path: path.to_owned(), file: (metadata.dev(), metadata.ino()), keep: false };
            Ok((file, Some(reserved)))
        }
    }
}

/// A file that was created for a configuration. When dropped, it is removed if it is empty.
pub(super) struct Reserved {
    path: PathBuf,
    /// Device and inode: another file may have taken its place.
    file: (u64, u64),
    keep: bool,
}

impl Reserved {
    /// The configuration is installed.
    pub(super) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let is_ours = |found: &fs::Metadata| (found.dev(), found.ino()) == self.file && found.len() == 0;
        if !self.keep && fs::symlink_metadata(&self.path).is_ok_and(|found| is_ours(&found)) {
            // What cannot be removed is an empty file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(super) struct Rotating {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    /// What the file may still take; unknown until the first batch.
    room: Option<u64>,
}

impl Rotating {
    /// `file` is the one at `path`, opened for appending.
    pub(super) fn new(path: &Path, rotation: Rotation, file: File) -> Self {
        Self { path: path.to_owned(), rotation, file, room: None }
    }

    /// Writes whole lines, into as many files as they need. What could be written has been written when this
    /// fails: a file that cannot be rotated grows by another `size` before that is tried again.
    pub(super) fn write(&mut self, batch: &[u8]) -> Written {
        let mut written = 0;
        let mut rotated = None;
        let mut room = match self.room {
            Some(room) => room,
            // Since it was opened, the thread may have renamed it, on behalf of the configuration before.
            None => match self.reopen_if_moved().and_then(|()| self.measure()) {
                Ok(room) => room,
                Err(error) => return Written::nothing(Some(error)),
            },
        };
        while written < batch.len() {
            let rest = &batch[written..];
            let whole = lines_within(rest, room);
            let take = match whole {
                // A line that is larger than a file has one to itself.
                0 if room >= self.rotation.size => line(rest),
                whole => whole,
            };
            if take > 0 {
                let Written { bytes, error } = write_all(&mut self.file, &rest[..take]);
                written += bytes;
                if error.is_some() {
                    self.room = None;
                    return Written { bytes: written, error };
                }
                room = room.saturating_sub(take as u64);
                continue;
            }
            room = match self.rotate().and_then(|()| self.measure()) {
                Ok(room) => room,
                Err(error) => {
                    rotated = Some(error);
                    self.rotation.size
                }
            };
        }
        self.room = Some(room);
        Written { bytes: written, error: rotated }
    }

    fn measure(&self) -> io::Result<u64> {
        Ok(self.rotation.size.saturating_sub(self.file.metadata()?.len()))
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Another process that has the same file, or a cleanup job, may have been faster.
        if self.is_at_its_path()? {
            for n in (1..self.rotation.keep).rev() {
                rename_if_there(&numbered(&self.path, n), &numbered(&self.path, n + 1))?;
            }
            fs::rename(&self.path, numbered(&self.path, 1))?;
        }
        self.file = append(&self.path)?;
        Ok(())
    }

    fn reopen_if_moved(&mut self) -> io::Result<()> {
        if !self.is_at_its_path()? {
            self.file = append(&self.path)?;
        }
        Ok(())
    }

    fn is_at_its_path(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How many bytes of `batch` are lines that fit into `room` as a whole.
fn lines_within(batch: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(batch.len());
    memchr::memrchr(b'\n', &batch[..room]).map_or(0, |end| end + 1)
}

/// The length of the first line.
fn line(batch: &[u8]) -> usize {
    memchr::memchr(b'\n', batch).map_or(batch.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn rotating(folder: &TempDir, size: u64, keep: u32) -> Rotating {
        let path = folder.path().join("log");
        Rotating::new(&path, Rotation { size, keep }, append(&path).unwrap())
    }

    /// Writes all of it, without trouble.
    fn write(log: &mut Rotating, batch: &[u8]) {
        let Written { bytes, error } = log.write(batch);
        assert!(bytes == batch.len() && error.is_none(), "{bytes} {error:?}");
    }

    /// The present file, then those before it.
    fn contents(folder: &TempDir) -> Vec<String> {
        let path = folder.path().join("log");
        let files = (0..).map(|n| if n == 0 { path.clone() } else { numbered(&path, n) });
        files.map_while(|path| fs::read_to_string(path).ok()).collect()
    }

    #[test]
    fn full_files_are_counted_up_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = rotating(&folder, 8, 2);
        write(&mut log, b"1\n2\n3\n");
        write(&mut log, b"4\n5\n6\n7\n8\n9\n");
        assert_eq!(contents(&folder), ["9\n", "5\n6\n7\n8\n", "1\n2\n3\n4\n"]);
        write(&mut log, b"10\n11\n12\n13\n14\n15\n");
        assert_eq!(contents(&folder), ["14\n15\n", "12\n13\n", "9\n10\n11\n"]);
    }

    #[test]
    fn a_line_longer_than_a_file_has_one_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = rotating(&folder, 4, 5);
        write(&mut log, b"a\nlong line\nb\n");
        assert_eq!(contents(&folder), ["b\n", "long line\n", "a\n"]);
    }

    #[test]
    fn what_was_in_the_file_before_counts() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("log"), "12345\n").unwrap();
        let mut log = rotating(&folder, 8, 5);
        write(&mut log, b"678\n");
        assert_eq!(contents(&folder), ["678\n", "12345\n"]);
    }

    #[test]
    fn a_file_that_someone_else_moved_is_not_moved_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = rotating(&folder, 4, 5);
        write(&mut log, b"abc\n");
        fs::rename(folder.path().join("log"), folder.path().join("elsewhere")).unwrap();
        write(&mut log, b"def\n");
        assert_eq!(contents(&folder), ["def\n"]);
        assert_eq!(fs::read_to_string(folder.path().join("elsewhere")).unwrap(), "abc\n");
    }

    #[test]
    fn a_file_that_was_renamed_between_opening_and_writing_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut old = rotating(&folder, 4, 5);
        write(&mut old, b"abc\n");
        let mut new = rotating(&folder, 4, 5);
        write(&mut old, b"def\n");
        write(&mut new, b"ghi\n");
        assert_eq!(contents(&folder), ["ghi\n", "def\n", "abc\n"]);
    }

    #[test]
    fn a_file_that_cannot_be_renamed_grows_and_loses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        // A folder with something in it is nothing that a file can take the place of.
        fs::create_dir_all(folder.path().join("log.1/full")).unwrap();
        let mut log = rotating(&folder, 4, 1);
        write(&mut log, b"abc\n");
        let Written { bytes, error } = log.write(b"def\nghi\n");
        assert!(bytes == 8 && error.is_some(), "nothing is lost");
        assert_eq!(contents(&folder), ["abc\ndef\nghi\n"]);
        fs::remove_dir_all(folder.path().join("log.1")).unwrap();
        write(&mut log, b"jkl\n");
        assert_eq!(contents(&folder), ["jkl\n", "abc\ndef\nghi\n"]);
    }
}
