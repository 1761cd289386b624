//! Builds the guests beside this crate, and the plugins among the examples, as components.

use std::{error::Error, process::ExitCode};

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot build the tests' guests: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let here = component_build::manifest_dir()?;
    let workspace = here.ancestors().nth(2).ok_or("this crate lies two folders deep in its workspace")?;
    component_build::rerun_if_changed(workspace, &["tests/guests", "examples/plugins", "plugin-sdk", "wit"]);
    let mut packages = component_build::packages_below(&here)?;
    packages.extend(component_build::packages_below(&workspace.join("examples/plugins"))?);
    let components = component_build::build(workspace, &packages)?;
    let entries: Vec<_> = packages.into_iter().map(|package| package.name).zip(components).collect();
    component_build::write_table("guests.rs", &entries)?;
    Ok(())
}
