//! Builds packages of this workspace as WebAssembly components, by a cargo of its own, and keeps them in folders that are named
//! after a digest of their sources.
//!
//! Build scripts use it, and so do programs that need components only when they run: a build script cannot tell `cargo check` from
//! `cargo build`, so what it builds is built for both. The gateway's release build embeds its standard plugins; its other builds
//! and the tests have components built at first use.

mod build;
mod digest;
mod folder;
mod place;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

pub use folder::{Built, Set};
pub use place::Place;

/// The environment variable that names a folder with the standard plugins' components, as `NAME.wasm`. A build that embeds them
/// reads it when it is compiled, a build that does not when it runs.
pub const PREBUILT: &str = "GATEWAY_STANDARD_PLUGINS";

/// A package that becomes a component.
#[derive(Debug, Clone)]
pub struct Package {
    /// As in its manifest.
    pub name: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
}

/// How components are compiled: a profile of the workspace's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// To run fast: optimised across crates, which takes minutes.
    Fast,
    /// To be built fast: for tests, the demo and development.
    Quick,
}

impl Profile {
    /// As cargo names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "plugin",
            Self::Quick => "plugin-dev",
        }
    }
}

/// Why there is no component. Its text is meant for the person who runs cargo.
#[derive(Debug, Clone)]
pub struct Error(String);

impl Error {
    /// What happened, and what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// The packages in the folders below `folder`, by name.
pub fn packages_below(folder: &Path) -> Result<Vec<Package>, Error> {
    let cannot = |error: std::io::Error| Error(format!("cannot list {}: {error}", folder.display()));
    let mut packages = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let folder = entry.map_err(cannot)?.path();
        let manifest = folder.join("Cargo.toml");
        if let Ok(text) = fs::read_to_string(&manifest) {
            let name = package_name(&text)
                .ok_or_else(|| Error(format!("{} names no package in its first lines", manifest.display())))?;
            packages.push(Package { name, folder });
        }
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// The first `name = "…"` of a manifest, which by custom opens its `[package]`.
fn package_name(manifest: &str) -> Option<String> {
    let line = manifest.lines().find_map(|line| line.trim().strip_prefix("name")?.trim_start().strip_prefix('='))?;
    Some(line.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_package_is_read_from_its_manifest() {
        assert_eq!(package_name("[package]\nname = \"plugin-jwt\"\n").as_deref(), Some("plugin-jwt"));
        assert_eq!(package_name("[dependencies]\n"), None);
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error_and_not_without_packages() {
        let error = packages_below(Path::new("/nowhere/at/all")).expect_err("no such folder").to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
