//! What was fetched, on disk: components by their digests, and what names stood for last.

use std::{env, fs, path::PathBuf};

use bytes::Bytes;

use super::Digest;
use crate::files::replace;

/// A name that may stand for another component tomorrow, and the one that it stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(super) name: String,
    pub(super) digest: Digest,
}

/// A folder of what was fetched; without one everything is fetched each time.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Option<PathBuf>);

impl Kept {
    /// The folder that a service manager gives (`CACHE_DIRECTORY`), or that of the user.
    pub(crate) fn usual() -> Self {
        // The first, where it gives several.
        let given = env::var_os("CACHE_DIRECTORY").and_then(|given| env::split_paths(&given).next());
        let given = given.filter(|folder| folder.is_absolute());
        let users = || {
            let own = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
            let own = own.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
            Some(own.join("gateway"))
        };
        Self(given.or_else(users).map(|folder| folder.join("components")))
    }

    /// A component that was kept and is still whole.
    pub(super) fn component(&self, digest: &Digest) -> Option<Bytes> {
        let bytes = fs::read(self.0.as_ref()?.join(format!("{digest}.wasm"))).ok()?;
        (Digest::of(&bytes) == *digest).then(|| bytes.into())
    }

    pub(super) fn keep(&self, digest: &Digest, bytes: &[u8]) {
        self.write(&format!("{digest}.wasm"), bytes);
    }

    /// What a name stood for when it was last asked for.
    pub(super) fn meant(&self, name: &str) -> Option<Digest> {
        let file = self.0.as_ref()?.join(format!("{}.name", Digest::of(name.as_bytes())));
        Digest::parse(fs::read_to_string(file).ok()?.trim())
    }

    pub(super) fn learn(&self, name: &str, digest: &Digest) {
        self.write(&format!("{}.name", Digest::of(name.as_bytes())), digest.to_string().as_bytes());
    }

    /// The component of a tag is installed: where its registry is unavailable, it is used again.
    pub(crate) fn remember(&self, tag: &Tag) {
        self.learn(&tag.name, &tag.digest);
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let Some(folder) = &self.0 else { return };
        let written = fs::create_dir_all(folder).and_then(|()| replace(&folder.join(name), bytes));
        if let Err(error) = written {
            tracing::warn!(%error, "cannot cache the fetched component in {}", folder.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_as_long_as_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept(Some(folder.path().join("new")));
        let digest = Digest::of(b"some bytes");
        assert_eq!(kept.component(&digest), None);
        kept.keep(&digest, b"some bytes");
        assert_eq!(kept.component(&digest).as_deref(), Some(&b"some bytes"[..]));
        fs::write(folder.path().join(format!("new/{digest}.wasm")), "other bytes").unwrap();
        assert_eq!(kept.component(&digest), None);

        kept.learn("registry/a:1", &digest);
        assert_eq!(kept.meant("registry/a:1"), Some(digest));
        assert_eq!(kept.meant("registry/a:2"), None);
    }

    #[test]
    fn a_digest_has_64_hexadecimal_digits() {
        assert_eq!(Digest::parse(&"AB".repeat(32)), Digest::parse(&"ab".repeat(32)));
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(65)] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
    }
}
