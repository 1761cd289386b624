//! WebAssembly components for programs that have none inside.

use std::{fs, path::PathBuf, time::SystemTime};

use anyhow::{Result, ensure};
use component_build::{Built, Place, Profile, Set};

use crate::{
    shell::{root, target_dir},
    toolchain::ensure_wasm_target,
};

fn place() -> Result<Place> {
    Ok(Place::new(root().to_owned(), &target_dir()?))
}

/// The standard plugins, soon built. Cargo's progress is not shown: another cargo may show its own.
pub fn standard() -> Result<Built> {
    ensure_wasm_target()?;
    let place = place()?;
    Ok(Set::standard(&place, Profile::Quick)?.quietly().build(&place)?)
}

/// All that tests need.
pub fn for_tests() -> Result<()> {
    ensure_wasm_target()?;
    let place = place()?;
    Set::guests(&place, Profile::Quick)?.build(&place)?;
    Set::standard(&place, Profile::Quick)?.build(&place)?;
    Ok(())
}

/// Fails if `work`, which only checks, builds components.
pub fn without_building(work: impl FnOnce() -> Result<()>) -> Result<()> {
    let folder = place()?.components().to_owned();
    let state = || state(&folder);
    let before = state();
    work()?;
    ensure!(state() == before, "checking has built WebAssembly components in {}", folder.display());
    Ok(())
}

/// Cargo's folder for each target and profile, and when something in it appeared last.
fn state(components: &PathBuf) -> Vec<(PathBuf, Option<SystemTime>)> {
    let below = |folder: &PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
    };
    let targets = below(components);
    let mut folders: Vec<_> = targets.iter().flat_map(below).chain(targets.iter().cloned()).collect();
    folders.sort();
    let changed = |folder: PathBuf| {
        let time = fs::metadata(&folder).and_then(|metadata| metadata.modified()).ok();
        (folder, time)
    };
    folders.into_iter().map(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_appears_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let components = folder.path().join("components");
        let before = state(&components);
        fs::create_dir_all(components.join("wasm32-wasip2/plugin-dev")).expect("a folder");
        assert_ne!(state(&components), before);
        assert_eq!(state(&components), state(&components));
    }
}
