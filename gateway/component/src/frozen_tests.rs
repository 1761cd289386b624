//! A component with the whole interface for each version of it, in `wit/frozen`: `gateway-wasm` loads them all.

use std::{fs, path::Path};

use wit_component::{ComponentEncoder, StringEncoding, WitPrinter, decode, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

use super::INTERFACE;

/// A component that imports and exports everything but what is unstable. Its functions trap.
fn component() -> (String, Vec<u8>) {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", INTERFACE).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let component = ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap();
    let version = resolve.packages[package].name.version.as_ref().unwrap().to_string();
    (version, component)
}

/// All types of a component.
fn types(component: &[u8]) -> String {
    let decoded = decode(component).unwrap();
    let resolve = decoded.resolve();
    let others: Vec<_> = resolve.packages.iter().map(|(id, _)| id).filter(|id| *id != decoded.package()).collect();
    let mut printer = WitPrinter::default();
    printer.emit_docs(false).print(resolve, decoded.package(), &others).unwrap();
    printer.output.to_string()
}

/// Once the version of the interface has been released, a difference is a mistake, and the version has to be raised. Until then
/// `UPDATE_EXPECT=1 cargo test -p gateway-component frozen` writes the component anew.
#[test]
fn the_frozen_component_of_this_version_has_the_types_of_the_interface() {
    let (version, component) = component();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/frozen").join(format!("{version}.wasm"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, &component).unwrap();
    }
    let frozen = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(types(&frozen), types(&component), "{} differs from wit/: see above", file.display());
}
