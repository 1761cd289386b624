//! Where the workspace's sources are, and where components of them are kept.

use std::{
    env,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use super::Error;

/// A checkout of the workspace and the folder for its components.
#[derive(Debug, Clone)]
pub struct Place {
    workspace: PathBuf,
    components: PathBuf,
}

impl Place {
    /// A workspace that is built into this target folder.
    ///
    /// Components have a folder of their own below it, since the cargo outside locks the target folder while a build script runs.
    /// All profiles share it, so that a component is compiled once. Another checkout that is built into the same target folder has
    /// another one: cargo gives a component's file the same name for both.
    pub fn new(workspace: PathBuf, target: &Path) -> Self {
        let mut hasher = DefaultHasher::new();
        workspace.hash(&mut hasher);
        let components = target.join("components").join(format!("{:016x}", hasher.finish()));
        Self { workspace, components }
    }

    /// For build scripts of packages `depth` folders below the workspace.
    ///
    /// The folder is asked for at run time: checkouts that share a target folder share build scripts too, and `env!` would name the
    /// checkout that happened to compile the script.
    pub fn of_build_script(depth: usize) -> Result<Self, Error> {
        let here = manifest_dir().ok_or_else(|| Error::new("cargo sets CARGO_MANIFEST_DIR for build scripts"))?;
        let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| Error::new("cargo sets OUT_DIR"))?;
        let workspace = here.ancestors().nth(depth).ok_or_else(|| Error::new("the package lies in a workspace"))?;
        let build = out.ancestors().find(|path| path.file_name().is_some_and(|name| name == "build"));
        let target = build.and_then(Path::parent).and_then(Path::parent);
        let target = target.ok_or_else(|| Error::new(format!("unforeseen OUT_DIR {}", out.display())))?;
        Ok(Self::new(workspace.to_owned(), target))
    }

    /// For programs that cargo built: the checkout that cargo runs them for, or the one that they were `compiled` in; and the
    /// target folder that they lie in, or the workspace's usual one for a program that was copied elsewhere.
    pub fn of_program(compiled: &Path) -> Result<Self, Error> {
        let workspace = workspace_of(manifest_dir().as_deref(), compiled)?;
        let program = env::current_exe().ok();
        let target = program.as_deref().and_then(target_of).map_or_else(|| workspace.join("target"), Path::to_owned);
        Ok(Self::new(workspace, &target))
    }

    /// The root of the sources.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Where cargo builds components, and where they are kept.
    pub fn components(&self) -> &Path {
        &self.components
    }
}

/// The folder of the package that cargo runs a program for.
fn manifest_dir() -> Option<PathBuf> {
    env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)
}

/// The checkout around the folder that cargo runs a program for, if there is one, otherwise the one that it was `compiled` in.
fn workspace_of(runs_for: Option<&Path>, compiled: &Path) -> Result<PathBuf, Error> {
    let around = runs_for.into_iter().flat_map(Path::ancestors);
    let found = around.chain([compiled]).find(|path| is_workspace(path)).map(Path::to_owned);
    found.ok_or_else(|| Error::new(format!("There are no sources to build them from: no {}.", compiled.display())))
}

/// Whether this is the root of a checkout of the gateway.
fn is_workspace(path: &Path) -> bool {
    ["Cargo.lock", "plugins", "component-build/Cargo.toml"].iter().all(|part| path.join(part).exists())
}

/// The target folder of a program that lies where cargo has put it: `target/PROFILE/gateway`, `target/PROFILE/deps/e2e-…`.
fn target_of(program: &Path) -> Option<&Path> {
    let profile = program.ancestors().skip(1).take(2).find(|folder| folder.join(".fingerprint").is_dir())?;
    profile.parent()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_that_cargo_built_lies_in_its_target_folder_and_a_copied_one_does_not() {
        let target = tempfile::tempdir().expect("a folder");
        let profile = target.path().join("debug");
        fs::create_dir_all(profile.join(".fingerprint")).expect("a folder");
        assert_eq!(target_of(&profile.join("gateway")), Some(target.path()));
        assert_eq!(target_of(&profile.join("deps/e2e-0123")), Some(target.path()));
        assert_eq!(target_of(&target.path().join("bin/gateway")), None);
    }

    #[test]
    fn a_program_uses_the_sources_that_it_runs_for_or_was_compiled_from() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkout = |name: &str| {
            let root = folder.path().join(name);
            for part in ["plugins", "component-build", "gateway/standard"] {
                fs::create_dir_all(root.join(part)).expect("a folder");
            }
            for part in ["Cargo.lock", "component-build/Cargo.toml"] {
                fs::write(root.join(part), "").expect("a file");
            }
            root
        };
        let (here, compiled, elsewhere) = (checkout("here"), checkout("compiled"), folder.path().join("elsewhere"));
        let found = |runs_for: Option<&Path>| workspace_of(runs_for, &compiled).expect("there are sources");
        assert_eq!(found(Some(&here.join("gateway/standard"))), here);
        assert_eq!(found(Some(&elsewhere)), compiled);
        assert_eq!(found(None), compiled);
        let error = workspace_of(Some(&elsewhere), &elsewhere).expect_err("no sources").to_string();
        assert!(error.contains("elsewhere"), "{error}");
    }

    #[test]
    fn checkouts_that_share_a_target_folder_do_not_share_components() {
        let of = |workspace: &str| Place::new(workspace.into(), Path::new("/target")).components().to_owned();
        assert_ne!(of("/a"), of("/b"));
        assert!(of("/a").starts_with("/target/components"));
    }
}
