//! Builds the standard plugins and embeds them, so that the gateway needs no other file.

use std::{error::Error, process::ExitCode};

fn main() -> ExitCode {
    match embed_plugins() {
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
