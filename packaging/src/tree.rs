//! Files with their modes, and archives of them. The same tree always gives the same bytes: entries are sorted, owned by
//! root and have one time.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
    sync::Arc,
};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// One file, folder or link.
#[derive(Clone, Debug)]
pub struct Entry {
    pub mode: u32,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    File(Arc<[u8]>),
    Folder,
}

/// Entries by their paths, which are relative and have `/` between their segments.
#[derive(Clone, Debug, Default)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Adds a file that everyone may read.
    pub fn file(&mut self, path: impl Into<String>, content: impl Into<Arc<[u8]>>) -> &mut Self {
        self.add(path.into(), 0o644, Content::File(content.into()))
    }

    /// Adds a file that everyone may run.
    pub fn program(&mut self, path: impl Into<String>, content: impl Into<Arc<[u8]>>) -> &mut Self {
        self.add(path.into(), 0o755, Content::File(content.into()))
    }

    pub fn folder(&mut self, path: impl Into<String>, mode: u32) -> &mut Self {
        self.add(path.into(), mode, Content::Folder)
    }

    fn add(&mut self, path: String, mode: u32, content: Content) -> &mut Self {
        self.0.insert(path, Entry { mode, content });
        self
    }

    /// Adds all of another tree below a folder.
    pub fn below(&mut self, folder: &str, other: &Self) -> &mut Self {
        for (path, entry) in &other.0 {
            self.0.insert(format!("{folder}/{path}"), entry.clone());
        }
        self
    }

    /// The files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Arc<[u8]>)> {
        self.0.iter().filter_map(|(path, entry)| match &entry.content {
            Content::File(content) => Some((path.as_str(), content)),
            Content::Folder => None,
        })
    }

    /// The tree with an entry for each folder that a path names.
    fn with_folders(&self) -> Self {
        let mut all = self.clone();
        for path in self.0.keys() {
            for (end, _) in path.match_indices('/') {
                let folder = Entry { mode: 0o755, content: Content::Folder };
                all.0.entry(path[..end].to_owned()).or_insert(folder);
            }
        }
        all
    }

    /// A tar archive; each path begins with `prefix`.
    pub fn tar(&self, prefix: &str, time: u64) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in &self.with_folders().0 {
            let mut header = Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_mtime(time);
            header.set_uid(0);
            header.set_gid(0);
            header.set_username("root").and_then(|()| header.set_groupname("root"))?;
            let (kind, content, end): (_, &[u8], _) = match &entry.content {
                Content::File(content) => (EntryType::Regular, content, ""),
                Content::Folder => (EntryType::Directory, &[], "/"),
            };
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            let path = format!("{prefix}{path}{end}");
            archive.append_data(&mut header, &path, content).with_context(|| format!("cannot archive {path}"))?;
        }
        Ok(archive.into_inner()?)
    }

    /// The archive of `tar`, compressed.
    pub fn tar_gz(&self, prefix: &str, time: u64) -> Result<Vec<u8>> {
        gzip(&self.tar(prefix, time)?)
    }

    /// A ZIP archive without entries for folders. Its time is the earliest that the format knows: it has no time zone.
    pub fn zip(&self) -> Result<Vec<u8>> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (path, entry) in &self.0 {
            let Content::File(content) = &entry.content else { continue };
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .last_modified_time(zip::DateTime::default())
                .unix_permissions(entry.mode);
            archive.start_file(path, options)?;
            archive.write_all(content)?;
        }
        Ok(archive.finish()?.into_inner())
    }
}

/// Compresses, without a name or time in the header.
pub fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let long = "n".repeat(120);
        tree.program("usr/bin/x", *b"#!/bin/sh\n").file(format!("usr/share/{long}"), *b"long").folder("tmp", 0o1777);
        tree
    }

    #[test]
    fn tar_of_the_system_reads_paths_modes_owners_and_times() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar.gz");
        fs::write(&file, tree().tar_gz("x/", 1_000_000_000).unwrap()).unwrap();
        let listed = Command::new("tar").env("TZ", "UTC").args(["--full-time", "-tvzf"]).arg(&file).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let lines: Vec<&str> = listed.lines().collect();
        assert!(lines[0].starts_with("drwxrwxrwt root/root") && lines[0].ends_with("2001-09-09 01:46:40 x/tmp/"));
        assert!(lines[3].starts_with("-rwxr-xr-x root/root") && lines[3].ends_with("x/usr/bin/x"), "{listed}");
        assert_eq!(lines.len(), 6, "{listed}");
        assert!(lines[5].ends_with(&"n".repeat(120)));
    }

    #[test]
    fn python_reads_the_zip() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.zip");
        fs::write(&file, tree().zip().unwrap()).unwrap();
        let listed = Command::new("python3").args(["-m", "zipfile", "-t"]).arg(&file).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        assert_eq!(tree().tar_gz("", 7).unwrap(), tree().tar_gz("", 7).unwrap());
        assert_eq!(tree().zip().unwrap(), tree().zip().unwrap());
    }
}
