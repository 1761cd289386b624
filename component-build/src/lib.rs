//! For build scripts: builds packages of this workspace as WebAssembly components, by a cargo inside cargo,
//! and writes a Rust table of their bytes. The gateway embeds its standard plugins this way, and the tests
//! their guests.

use std::{
    env, fmt,
    fmt::Write as _,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "wasm32-wasip2";
/// The workspace's profile for components: small, stripped, optimised across crates.
const PROFILE: &str = "plugin";

/// A package that becomes a component.
pub struct Package {
    /// As in its manifest.
    pub name: String,
    pub manifest: PathBuf,
}

/// Why there is no component. Its text is meant for whoever runs cargo.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// The folder of the package whose build script runs. Asked at run time: checkouts that share a target folder share
/// build scripts too, and `env!` would name the checkout that happened to compile it.
pub fn manifest_dir() -> Result<PathBuf, Error> {
    env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| Error("cargo sets CARGO_MANIFEST_DIR".to_owned()))
}

/// The packages in the folders below `folder`, by name.
pub fn packages_below(folder: &Path) -> Result<Vec<Package>, Error> {
    let entries = fs::read_dir(folder).map_err(|error| Error(format!("cannot list {}: {error}", folder.display())))?;
    let mut packages = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error(format!("cannot list {}: {error}", folder.display())))?;
        let manifest = entry.path().join("Cargo.toml");
        if let Ok(text) = fs::read_to_string(&manifest) {
            let name = package_name(&text)
                .ok_or_else(|| Error(format!("{} names no package in its first lines", manifest.display())))?;
            packages.push(Package { name, manifest });
        }
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// Builds the packages and gives the paths of their components, in the same order.
pub fn build(workspace: &Path, packages: &[Package]) -> Result<Vec<PathBuf>, Error> {
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    require_target()?;
    let target_dir = target_dir(workspace)?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace)
        .args(["build", "--target", TARGET, "--profile", PROFILE, "--target-dir"])
        .arg(&target_dir);
    for package in packages {
        cargo.args(["--package", &package.name]);
    }
    // These speak of the build outside, whose target is another machine and whose compiler may be clippy.
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_PRIMARY_PACKAGE",
    ] {
        cargo.env_remove(name);
    }
    let output = cargo.output().map_err(|error| Error(format!("cannot start cargo: {error}")))?;
    if !output.status.success() {
        return Err(Error(format!(
            "building {} for {TARGET} failed\n{}",
            names(packages),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    packages
        .iter()
        .map(|package| {
            let file = package.name.replace('-', "_") + ".wasm";
            let path = target_dir.join(TARGET).join(PROFILE).join(file);
            let missing = || Error(format!("{} is not built as a cdylib: no {}", package.name, path.display()));
            path.is_file().then_some(path.clone()).ok_or_else(missing)
        })
        .collect()
}

/// Tells cargo to run the build script again when something in these folders of the workspace changes.
/// Folders that do not exist are left out: cargo would take them for changed each time.
///
/// The paths are relative to the package, as cargo reads them: checkouts that share a target folder share what a build script has
/// said, and an absolute path would make one of them watch the files of another.
pub fn rerun_if_changed(workspace: &Path, folders: &[&str]) {
    let depth = manifest_dir().ok().and_then(|here| Some(here.strip_prefix(workspace).ok()?.components().count()));
    let root = depth.map_or(workspace.to_owned(), |depth| PathBuf::from_iter(std::iter::repeat_n("..", depth)));
    for folder in folders {
        if workspace.join(folder).exists() {
            println!("cargo::rerun-if-changed={}", root.join(folder).display());
        }
    }
    // So that a folder that appears later is noticed.
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
}

/// Writes a table of names and bytes, as the expression `&[(name, include_bytes!(path)), …]`, into
/// `OUT_DIR`. A component is copied there first, so that another build cannot change it in between.
pub fn write_table(file: &str, entries: &[(String, PathBuf)]) -> Result<(), Error> {
    let out = out_dir()?;
    let mut text = String::from("&[\n");
    for (name, path) in entries {
        let copy = out.join(format!("{name}.wasm"));
        fs::copy(path, &copy).map_err(|error| Error(format!("cannot copy {}: {error}", path.display())))?;
        writeln!(text, "    ({name:?}, include_bytes!({copy:?})),").expect("a string grows");
    }
    text.push_str("]\n");
    fs::write(out.join(file), text).map_err(|error| Error(format!("cannot write {file}: {error}")))
}

/// The first `name = "…"` of a manifest, which by custom opens its `[package]`.
fn package_name(manifest: &str) -> Option<String> {
    let line = manifest.lines().find_map(|line| line.trim().strip_prefix("name")?.trim_start().strip_prefix('='))?;
    Some(line.trim().trim_matches('"').to_owned())
}

fn names(packages: &[Package]) -> String {
    packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Without the target's standard library rustc would complain about every crate, and not say the cure.
fn require_target() -> Result<(), Error> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| Error(format!("cannot start rustc: {error}")))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && folder.is_dir() {
        return Ok(());
    }
    Err(Error(format!(
        "the target {TARGET} is not installed: run `rustup target add {TARGET}`, or `cargo xtask demo`, which does it"
    )))
}

/// A folder of its own below the workspace's target folder: the one outside is locked by the cargo that runs us.
/// All profiles and build scripts share it, so that a component is compiled once. Another checkout that is built
/// into the same target folder has another one: cargo gives a component's file the same name for both.
fn target_dir(workspace: &Path) -> Result<PathBuf, Error> {
    let out = out_dir()?;
    let build = out.ancestors().find(|path| path.file_name().is_some_and(|name| name == "build"));
    let profile = build.and_then(Path::parent).and_then(Path::parent);
    let target = profile.ok_or_else(|| Error(format!("unforeseen OUT_DIR {}", out.display())))?;
    let mut hasher = DefaultHasher::new();
    workspace.hash(&mut hasher);
    Ok(target.join("components").join(format!("{:016x}", hasher.finish())))
}

fn out_dir() -> Result<PathBuf, Error> {
    env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| Error("OUT_DIR is set for build scripts only".to_owned()))
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
        let error = packages_below(Path::new("/nowhere/at/all")).err().expect("no such folder").to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
