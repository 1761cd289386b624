//! Components that are built or read when they are needed.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use component_build::{PREBUILT, Place, Profile, Set};

use super::Error;

/// Where components are read from.
pub(super) fn components() -> Result<Option<&'static Path>, Error> {
    folder().map(Some).map_err(unavailable)
}

/// Reads each component once, so that a process uses one version of it.
pub(super) fn component(name: &str) -> Result<&'static [u8], Error> {
    static READ: Mutex<BTreeMap<String, &[u8]>> = Mutex::new(BTreeMap::new());
    let folder = folder().map_err(unavailable)?;
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = read.get(name) {
        return Ok(bytes);
    }
    let file = folder.join(name).with_extension("wasm");
    let bytes = fs::read(&file).map_err(|error| unavailable(format!("cannot read {}: {error}", file.display())))?;
    // Once for each standard plugin.
    let bytes: &'static [u8] = Vec::leak(bytes);
    read.insert(name.to_owned(), bytes);
    Ok(bytes)
}

/// Where the components are: built once in a process, and in all processes once for each change of the sources. A build that failed is
/// tried again, since what was wrong may be mended while the gateway runs.
fn folder() -> Result<&'static Path, Error> {
    static FOLDER: Mutex<Option<&'static Path>> = Mutex::new(None);
    let mut known = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = *known {
        return Ok(folder);
    }
    let found: Result<PathBuf, Error> = match env::var_os(PREBUILT).filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => {
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            let build = || {
                let place = Place::of_program(here.ancestors().nth(2).unwrap_or(here))?;
                Ok(Set::standard(&place, Profile::Quick)?.build(&place)?.folder().to_owned())
            };
            build()
        }
    };
    // Once in a process.
    let folder: &'static Path = Box::leak(found?.into_boxed_path());
    *known = Some(folder);
    Ok(folder)
}

fn unavailable(why: impl std::fmt::Display) -> Error {
    Error::new(format!(
        "this gateway was built for development, without its standard plugins inside. Use one that was built with \
         `cargo build --release --package gateway`, or set {PREBUILT} to a folder with their components (cors.wasm, jwt.wasm, …). {why}"
    ))
}
