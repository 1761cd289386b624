//! Components that were built against earlier versions of the interface.

use std::{fs, path::Path};

use super::runtime;

#[test]
fn a_component_of_each_frozen_version_fits_with_all_its_imports_and_exports() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/frozen");
    let mut versions = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let examined = runtime().examine(&fs::read(&file).unwrap());
        let examined = examined.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(examined.phases.request && examined.phases.response && examined.phases.complete);
        assert!(
            examined.imports.keys().any(|name| name.starts_with("gateway:plugin/store@")),
            "{:?}",
            examined.imports
        );
        versions += 1;
    }
    assert!(versions > 0);
}
