//! Components that are built once for a state of their sources, whichever process needs them first.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    Error, Package, Place, Profile, build,
    digest::{digest, sources},
    packages_below,
};

/// How many states of the sources are kept: those of two profiles, before and after an edit.
const KEPT: usize = 4;

/// Packages whose components are built together, so that cargo resolves their features once.
#[derive(Debug)]
pub struct Set {
    name: &'static str,
    packages: Vec<Package>,
    profile: Profile,
    quiet: bool,
}

/// A folder with components as `NAME.wasm`.
#[derive(Debug)]
pub struct Built {
    folder: PathBuf,
}

impl Set {
    /// The standard plugins, which are called as their packages without `plugin-`.
    pub fn standard(place: &Place, profile: Profile) -> Result<Self, Error> {
        let packages = packages_below(&place.workspace().join("plugins"))?;
        Ok(Self { name: "standard", packages, profile, quiet: false })
    }

    /// The tests' guests and the plugins among the examples, which are called as their packages.
    pub fn guests(place: &Place, profile: Profile) -> Result<Self, Error> {
        let mut packages = packages_below(&place.workspace().join("tests/guests"))?;
        packages.extend(packages_below(&place.workspace().join("examples/plugins"))?);
        Ok(Self { name: "guests", packages, profile, quiet: false })
    }

    /// What the components are called.
    pub fn names(&self) -> Vec<String> {
        self.packages.iter().map(|package| name(package).to_owned()).collect()
    }

    /// The files and folders within the workspace that the components are made of.
    pub fn sources(&self, place: &Place) -> Vec<PathBuf> {
        sources(place.workspace(), &self.packages)
    }

    /// Prints neither that it builds nor cargo's progress.
    pub fn quietly(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Builds what is not built yet. Of several processes and threads that ask at once one builds, and the others wait.
    pub fn build(&self, place: &Place) -> Result<Built, Error> {
        self.build_with(place, |place| build::build(place, &self.packages, self.profile, self.quiet))
    }

    fn build_with(&self, place: &Place, build: impl Fn(&Place) -> Result<Vec<PathBuf>, Error>) -> Result<Built, Error> {
        let kept = place.components().join(self.name);
        let digest = || digest(place.workspace(), &self.packages, self.profile);
        let built = Built { folder: kept.join(digest()?) };
        if built.folder.is_dir() {
            built.used();
            return Ok(built);
        }
        let cannot = |error: io::Error| Error::new(format!("cannot write to {}: {error}", kept.display()));
        fs::create_dir_all(&kept).map_err(cannot)?;
        let lock = File::create(place.components().join("lock")).map_err(cannot)?;
        lock.lock().map_err(cannot)?;
        loop {
            let digest_before = digest()?;
            let built = Built { folder: kept.join(&digest_before) };
            if built.folder.is_dir() {
                return Ok(built);
            }
            if !self.quiet {
                self.announce(place);
            }
            let paths = build(place)?;
            // An edit during the build may be in the components or not, so they belong to no state of the sources.
            if digest()? == digest_before {
                keep(&built.folder, self.packages.iter().map(name).zip(&paths)).map_err(cannot)?;
                prune(&kept, &built.folder).map_err(cannot)?;
                return Ok(built);
            }
        }
    }

    fn announce(&self, place: &Place) {
        let (count, name, profile) = (self.packages.len(), self.name, self.profile.name());
        // Not by `eprintln!`, whose output tests capture, so that nothing would be seen for minutes.
        let _ = writeln!(
            io::stderr(),
            "building {count} WebAssembly components ({name}, profile {profile}) in {}; the first time takes minutes",
            place.components().display()
        );
    }
}

impl Built {
    /// So that what is in use is removed last.
    fn used(&self) {
        // Without that it may have to be built again, no more.
        let _ = File::open(&self.folder).and_then(|folder| folder.set_modified(SystemTime::now()));
    }

    /// Where the components are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn name(package: &Package) -> &str {
    package.name.strip_prefix("plugin-").unwrap_or(&package.name)
}

/// Copies components into a folder that appears with all of them or not at all: cargo overwrites its own files at the next build.
fn keep<'a>(folder: &Path, components: impl Iterator<Item = (&'a str, &'a PathBuf)>) -> io::Result<()> {
    let partial = folder.with_extension("partial");
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir(&partial)?,
    }
    for (name, path) in components {
        fs::copy(path, partial.join(name).with_extension("wasm"))?;
    }
    fs::rename(partial, folder)
}

/// Removes the folders that were not used for longest, but never the `new` one, whatever the clock says.
fn prune(kept: &Path, new: &Path) -> io::Result<()> {
    let mut folders: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(kept)? {
        let entry = entry?;
        if entry.path() != new {
            folders.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    folders.sort();
    let surplus = (folders.len() + 1).saturating_sub(KEPT);
    folders[..surplus].iter().try_for_each(|(_, folder)| fs::remove_dir_all(folder))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
    };

    use super::*;

    /// A workspace with one plugin, and a stand-in for cargo that counts.
    struct Checkout {
        folder: tempfile::TempDir,
        built: AtomicUsize,
    }

    impl Checkout {
        fn new() -> Self {
            let new = Self { folder: tempfile::tempdir().expect("a folder"), built: AtomicUsize::new(0) };
            fs::create_dir_all(new.folder.path().join("plugins/a/src")).expect("a folder");
            new.write("plugins/a/Cargo.toml", "[package]\nname = \"plugin-a\"\n");
            new.write("plugins/a/src/lib.rs", "first");
            new
        }

        fn write(&self, file: &str, text: &str) {
            fs::write(self.folder.path().join(file), text).expect("a file");
        }

        fn place(&self) -> Place {
            Place::new(self.folder.path().to_owned(), &self.folder.path().join("target"))
        }

        /// The component is a copy of the source.
        fn compile(&self, place: &Place) -> Result<Vec<PathBuf>, Error> {
            let count = self.built.fetch_add(1, SeqCst);
            let component = place.components().join(format!("{count}.wasm"));
            fs::copy(place.workspace().join("plugins/a/src/lib.rs"), &component).expect("a copy");
            Ok(vec![component])
        }

        /// What the component has once it is built, and how often was built until then.
        fn component(&self) -> (String, usize) {
            let place = self.place();
            let set = set(&place);
            let built = set.build_with(&place, |place| self.compile(place)).expect("a build");
            let text = fs::read_to_string(built.folder().join("a.wasm")).expect("the component");
            (text, self.built.load(SeqCst))
        }
    }

    fn set(place: &Place) -> Set {
        Set::standard(place, Profile::Quick).expect("a set").quietly()
    }

    #[test]
    fn components_are_built_only_when_their_sources_have_changed() {
        let checkout = Checkout::new();
        assert_eq!(checkout.component(), ("first".into(), 1));
        checkout.write("plugins/a/README.md", "words");
        assert_eq!(checkout.component(), ("first".into(), 1));
        checkout.write("plugins/a/src/lib.rs", "second");
        assert_eq!(checkout.component(), ("second".into(), 2));
        // As when a branch is left again.
        checkout.write("plugins/a/src/lib.rs", "first");
        assert_eq!(checkout.component(), ("first".into(), 2));
    }

    #[test]
    fn of_several_that_need_components_at_once_one_builds_them() {
        let checkout = Checkout::new();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| checkout.component())).collect();
            for thread in threads {
                assert_eq!(thread.join().expect("no panic"), ("first".into(), 1));
            }
        });
    }

    #[test]
    fn what_is_edited_during_a_build_is_built_again() {
        let checkout = Checkout::new();
        let place = checkout.place();
        let set = set(&place);
        let compile = |place: &Place| {
            let built = checkout.compile(place);
            checkout.write("plugins/a/src/lib.rs", "second");
            built
        };
        let built = set.build_with(&place, compile).expect("a build");
        assert_eq!(fs::read_to_string(built.folder().join("a.wasm")).expect("the component"), "second");
        checkout.write("plugins/a/src/lib.rs", "first");
        assert_eq!(checkout.component(), ("first".into(), 3), "no folder has half of an edit");
    }

    #[test]
    fn a_build_that_fails_leaves_nothing_and_is_tried_again() {
        let checkout = Checkout::new();
        let place = checkout.place();
        let set = set(&place);
        let error = set.build_with(&place, |_| Err(Error::new("expected `;`"))).expect_err("it fails");
        assert_eq!(error.to_string(), "expected `;`");
        assert_eq!(checkout.component(), ("first".into(), 1));
    }

    #[test]
    fn only_the_newest_states_are_kept() {
        let checkout = Checkout::new();
        for state in 0..KEPT + 3 {
            checkout.write("plugins/a/src/lib.rs", &state.to_string());
            checkout.component();
        }
        let kept = fs::read_dir(checkout.place().components().join("standard")).expect("a folder").count();
        assert_eq!(kept, KEPT);
    }
}
