//! Whether sources have changed: a digest of all that a component is made of.

use std::{
    collections::BTreeMap,
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{Error, Package, Profile};

/// What components of every package are made of, beside the package. The manifest has the profiles.
const SHARED: [&str; 8] = [
    ".cargo",
    "Cargo.toml",
    "Cargo.lock",
    "plugin-jose/Cargo.toml",
    "plugin-jose/src",
    "plugin-sdk/Cargo.toml",
    "plugin-sdk/src",
    "wit/0.2",
];

/// Variables that change what cargo makes of the sources, by how their names begin.
const VARIABLES: [&str; 2] = ["CARGO_TARGET_WASM32_WASIP2_", "CARGO_PROFILE_PLUGIN"];

/// What a package's component is made of.
const OWN: [&str; 3] = ["Cargo.toml", "build.rs", "src"];

/// The files and folders that components of these packages are made of, as far as they exist.
pub(super) fn sources(workspace: &Path, packages: &[Package]) -> Vec<PathBuf> {
    let own = packages.iter().flat_map(|package| OWN.iter().map(|part| package.folder.join(part)));
    SHARED.iter().map(|part| workspace.join(part)).chain(own).filter(|path| path.exists()).collect()
}

/// The digest of these packages' sources, compiled in this way. It tells changes apart and is nothing to rely on otherwise.
pub(super) fn digest(workspace: &Path, packages: &[Package], profile: Profile) -> Result<String, Error> {
    let mut hasher = DefaultHasher::new();
    profile.name().hash(&mut hasher);
    compiler(workspace).hash(&mut hasher);
    let variables = env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        VARIABLES.iter().any(|start| name.starts_with(start))
    });
    variables.collect::<BTreeMap<_, _>>().hash(&mut hasher);
    for path in sources(workspace, packages) {
        let mut files = Vec::new();
        let read = files_below(&path, &mut files)
            .and_then(|()| files.iter().try_for_each(|file| add(file, workspace, &mut hasher)));
        read.map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// The version of the compiler, asked once in a process; nothing if there is none, which the build reports.
fn compiler(workspace: &Path) -> &'static [u8] {
    static VERSION: OnceLock<Vec<u8>> = OnceLock::new();
    VERSION.get_or_init(|| {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        Command::new(rustc).arg("-vV").current_dir(workspace).output().map(|output| output.stdout).unwrap_or_default()
    })
}

/// A file's name within the workspace and its content.
fn add(file: &Path, workspace: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    file.strip_prefix(workspace).unwrap_or(file).hash(hasher);
    fs::read(file)?.hash(hasher);
    Ok(())
}

/// Sorted, since folders have no order.
fn files_below(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        let mut entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        return entries.iter().try_for_each(|entry| files_below(entry, files));
    }
    if path.is_file() {
        files.push(path.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_component_is_made_of_changes_its_digest() {
        let workspace = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| {
            let file = workspace.path().join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, text).expect("a file");
        };
        let packages = [Package { name: "plugin-a".into(), folder: workspace.path().join("plugins/a") }];
        let digest = || digest(workspace.path(), &packages, Profile::Quick).expect("files can be read");
        write("plugins/a/src/lib.rs", "fn a() {}");
        let mut before = digest();
        for (file, text) in [
            ("plugins/a/src/lib.rs", "fn b() {}"),
            ("plugins/a/src/more/x.rs", ""),
            ("plugins/a/Cargo.toml", "[package]"),
            ("plugin-sdk/src/lib.rs", "fn sdk() {}"),
            ("plugin-jose/src/lib.rs", "fn jose() {}"),
            ("wit/0.2/worlds.wit", "world plugin {}"),
            ("Cargo.lock", "version = 4"),
            ("Cargo.toml", "[profile.plugin]"),
        ] {
            write(file, text);
            let after = digest();
            assert_ne!(after, before, "{file}");
            before = after;
        }
        for file in ["plugins/a/README.md", "plugins/b/src/lib.rs", "gateway/src/main.rs"] {
            write(file, "other");
            assert_eq!(digest(), before, "{file}");
        }
        // The same content, written anew.
        write("wit/0.2/worlds.wit", "world plugin {}");
        assert_eq!(digest(), before);
        let fast = super::digest(workspace.path(), &packages, Profile::Fast).expect("files can be read");
        assert_ne!(fast, before);
    }
}
