//! `gateway schema`.

use std::{fs, path::Path};

use super::{Failed, print};
use crate::app;

/// The name by which the configurations that the gateway writes name their schema for editors.
pub(super) const FILE: &str = "gateway.schema.json";

pub(super) fn schema() -> Result<(), Failed> {
    print(text()?)
}

pub(super) fn write(file: &Path) -> Result<(), Failed> {
    let text = text()? + "\n";
    fs::write(file, text).map_err(|error| Failed::Stopped(format!("cannot write {}: {error}", file.display())))
}

fn text() -> Result<String, Failed> {
    serde_json::to_string_pretty(&app::schema()?).map_err(|error| Failed::Stopped(error.to_string()))
}
