//! Builds the standard plugins and embeds them, so that the gateway needs no other file.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    match embed_plugins().and_then(|()| embed_sdk()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot build the standard plugins: {error}");
            ExitCode::FAILURE
        }
    }
}

fn embed_plugins() -> Result<(), Box<dyn Error>> {
    let here = component_build::manifest_dir()?;
    let workspace = here.parent().ok_or("the gateway lies in a workspace")?;
    component_build::rerun_if_changed(workspace, &["plugins", "plugin-sdk", "wit"]);
    let packages = component_build::packages_below(&workspace.join("plugins"))?;
    let components = component_build::build(workspace, &packages)?;
    let entries: Vec<_> = packages
        .iter()
        .zip(components)
        .map(|(package, path)| (package.name.strip_prefix("plugin-").unwrap_or(&package.name).to_owned(), path))
        .collect();
    component_build::write_table("builtin.rs", &entries)?;
    Ok(())
}

/// The SDK's sources and the interface, for the projects that `gateway plugin new` writes: by the path that they have there.
fn embed_sdk() -> Result<(), Box<dyn Error>> {
    let here = component_build::manifest_dir()?;
    let workspace = here.parent().ok_or("the gateway lies in a workspace")?;
    let mut files = Vec::new();
    for folder in ["plugin-sdk/src", "wit"] {
        files_below(&workspace.join(folder), &mut files)?;
    }
    files.push(workspace.join("plugin-sdk/README.md"));
    files.sort();
    let mut table = format!("const SDK: [(&str, &str); {}] = [\n", files.len());
    for file in &files {
        let path = Path::new("vendor").join(file.strip_prefix(workspace)?);
        writeln!(table, "    ({path:?}, include_str!({file:?})),")?;
    }
    table.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(Path::new(&out).join("sdk.rs"), table)?;
    Ok(())
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "rs" || end == "wit" || end == "md") {
            files.push(path);
        }
    }
    Ok(())
}
