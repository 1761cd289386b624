//! Names the standard plugins, and embeds their components in a release build.
//!
//! Cargo runs build scripts for `cargo check` too, and does not tell them so. Therefore only profiles that inherit `release`
//! embed; the others have components built when the gateway or a test first needs one (`src/development.rs`).

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use component_build::{PREBUILT, Place, Profile, Set};

/// How deep this package lies in its workspace.
const DEPTH: usize = 2;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot build the standard plugins: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(embedded)");
    let place = Place::of_build_script(DEPTH)?;
    let set = Set::standard(&place, Profile::Fast)?;
    // A new plugin is a new package in the lock file.
    watch(Path::new("Cargo.lock"));
    for name in set.names() {
        watch(&Path::new("plugins").join(name).join("Cargo.toml"));
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("names.rs"), format!("&{:?}", set.names()))?;
    if env::var("PROFILE")? == "release" {
        println!("cargo::rustc-cfg=embedded");
        embed(&place, &set, &out)?;
    }
    Ok(())
}

/// Writes a table of names and components. They are copied beside it first, so that another build cannot change them in between.
fn embed(place: &Place, set: &Set, out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    let folder = match env::var_os(PREBUILT).filter(|folder| !folder.is_empty()) {
        Some(folder) => {
            let folder = PathBuf::from(folder);
            if !folder.is_absolute() {
                // Cargo runs build scripts in their package's folder, whichever it was called in.
                return Err(format!("{PREBUILT} is {}, which is not an absolute path", folder.display()).into());
            }
            println!("cargo::rerun-if-changed={}", folder.display());
            folder
        }
        None => {
            for source in set.sources(place) {
                watch(source.strip_prefix(place.workspace())?);
            }
            set.build(place)?.folder().to_owned()
        }
    };
    let mut table = String::from("&[\n");
    for name in set.names() {
        let file = folder.join(&name).with_extension("wasm");
        let copy = out.join(&name).with_extension("wasm");
        fs::copy(&file, &copy).map_err(|error| format!("cannot copy {}: {error}", file.display()))?;
        writeln!(table, "    ({name:?}, include_bytes!({copy:?})),")?;
    }
    table.push_str("]\n");
    fs::write(out.join("components.rs"), table)?;
    Ok(())
}

/// Has cargo run this again when something in the workspace changes. The path that cargo gets is relative to the package:
/// checkouts that share a target folder share what a build script has printed, and an absolute path would make one of them watch
/// the files of another.
fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}{}", "../".repeat(DEPTH), path.display());
}
