//! Builds the standard plugins and embeds them, so that the gateway needs no other file.

use std::{error::Error, process::ExitCode};

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot build the standard plugins: {error}");
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<(), Box<dyn Error>> {
    let here = component_build::manifest_dir()?;
    let workspace = here.ancestors().nth(2).ok_or("this crate lies two folders deep in its workspace")?;
    component_build::rerun_if_changed(workspace, &["plugins", "plugin-sdk", "gateway/rules", "wit"]);
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
