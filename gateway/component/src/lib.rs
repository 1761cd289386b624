//! The interface as a language's tools want it, and a core module as a component: what else would need tools of its own.

#![deny(missing_docs)]

use std::{fmt::Write, path::Path};

use thiserror::Error;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The interface between the gateway and plugins, as one text: the file with the package's name, then one for each interface.
pub const INTERFACE: &str = concat!(
    include_str!("../../../wit/0.2/worlds.wit"),
    "\n",
    include_str!("../../../wit/0.2/http.wit"),
    "\n",
    include_str!("../../../wit/0.2/lifecycle.wit"),
    "\n",
    include_str!("../../../wit/0.2/active-phases.wit"),
    "\n",
    include_str!("../../../wit/0.2/catalogue.wit"),
    "\n",
    include_str!("../../../wit/0.2/timers.wit"),
    "\n",
    include_str!("../../../wit/0.2/request-filter.wit"),
    "\n",
    include_str!("../../../wit/0.2/request-body-filter.wit"),
    "\n",
    include_str!("../../../wit/0.2/request-stream.wit"),
    "\n",
    include_str!("../../../wit/0.2/response-filter.wit"),
    "\n",
    include_str!("../../../wit/0.2/response-body-filter.wit"),
    "\n",
    include_str!("../../../wit/0.2/observer.wit"),
    "\n",
    include_str!("../../../wit/0.2/bodies.wit"),
    "\n",
    include_str!("../../../wit/0.2/response-stream.wit"),
    "\n",
    include_str!("../../../wit/0.2/message-filter.wit"),
    "\n",
    include_str!("../../../wit/0.2/log.wit"),
    "\n",
    include_str!("../../../wit/0.2/sinks.wit"),
    "\n",
    include_str!("../../../wit/0.2/metrics.wit"),
    "\n",
    include_str!("../../../wit/0.2/store.wit"),
    "\n",
    include_str!("../../../wit/0.2/http-client.wit"),
    "\n",
    include_str!("../../../wit/0.2/upstreams.wit"),
    "\n",
    include_str!("../../../wit/0.2/tcp.wit"),
    "\n",
    include_str!("../../../wit/0.2/documents.wit"),
    "\n",
    include_str!("../../../wit/0.2/cache.wit"),
    "\n",
    include_str!("../../../wit/0.2/crypto.wit"),
    "\n",
    include_str!("../../../wit/0.2/secrets.wit"),
    "\n",
    include_str!("../../../wit/0.2/files.wit"),
    "\n",
);
/// What the world of a project is called.
const WORLD: &str = "project";

/// The phases that a component can export, and timers. The SDKs for Go and C get a bit for each, in this order, with the import `exports` of
/// the module `gateway-project`, and compare them with the handlers that the plugin has.
const PHASES: [&str; 9] = [
    "request-filter",
    "request-body-filter",
    "request-stream",
    "response-filter",
    "response-body-filter",
    "response-stream",
    "observer",
    "message-filter",
    "timers",
];
/// The module whose import `exports` is answered when a component is made.
const PROJECT_MODULE: &str = "gateway-project";

/// Randomness, in the version that componentize-qjs has. Its engine's own seed is part of the snapshot that a component is, so the
/// SDK for JavaScript asks the gateway.
const RANDOM: &str = "wasi:random/random@0.2.12";
const RANDOM_PACKAGE: &str = "
package wasi:random@0.2.12 {
  interface random {
    get-random-bytes: func(len: u64) -> list<u8>;
    get-random-u64: func() -> u64;
  }
}
";

/// Why there is no component.
#[derive(Debug, Error)]
pub enum ComponentError {
    /// The interface between the gateway and plugins has no such part.
    #[error("{key}: there is no `{name}`; there are {}", known.join(", "))]
    UnknownInterface {
        /// Where it was named: `imports` or `exports`.
        key: &'static str,
        /// What was named.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The world cannot be read.
    #[error("{0:#}")]
    World(#[source] anyhow::Error),
    /// The module lacks an export of the world, or imports what the world does not have.
    #[error("{0:#}")]
    Module(#[source] anyhow::Error),
}

/// The interface with a world `project` of what a project exports, besides `lifecycle`, and imports, besides `http`. Its
/// phases own the request and the response if `owned`, and it imports WASI's randomness then: both are for engines of
/// JavaScript, whose modules reach nothing that is not in their world.
///
/// # Errors
///
/// There is no such interface; with its name.
pub fn wit(exports: &[String], imports: &[String], owned: bool) -> Result<String, ComponentError> {
    let mut world = format!("\nworld {WORLD} {{\n  import http;\n");
    for import in imports.iter().filter(|import| *import != "http") {
        let _ = writeln!(world, "  import {import};");
    }
    if owned {
        let _ = writeln!(world, "  import {RANDOM};");
    }
    world.push_str("  export lifecycle;\n");
    for export in exports.iter().filter(|export| *export != "lifecycle") {
        let _ = writeln!(world, "  export {export};");
    }
    world.push_str("}\n");
    if owned {
        world.push_str(RANDOM_PACKAGE);
    }
    let named = |list: &str| -> Vec<&str> {
        let body = INTERFACE.split_once(list).map_or("", |(_, rest)| rest.split('}').next().unwrap_or_default());
        let lines = body
            .split(['\n', ';'])
            .filter_map(|line| line.trim().strip_prefix("import ").or(line.trim().strip_prefix("export ")));
        lines.map(str::trim).collect()
    };
    let known = [(exports, named("world plugin {"), "exports"), (imports, named("world imports {"), "imports")];
    for (wanted, all, key) in known {
        if let Some(unknown) = wanted.iter().find(|name| !all.contains(&name.as_str())) {
            let known = all.into_iter().map(str::to_owned).collect();
            return Err(ComponentError::UnknownInterface { key, name: unknown.clone(), known });
        }
    }
    let mut interface = INTERFACE.to_owned();
    for import in imports {
        // Who names it wants it, and not every language's tool has a switch for this.
        interface = interface.replace(&format!("@unstable(feature = {import})\n"), "");
    }
    if owned {
        for phase in ["on-request", "on-request-body", "on-response", "on-response-body", "on-complete"] {
            let line = INTERFACE.lines().find(|line| line.trim_start().starts_with(&format!("{phase}: func")));
            let line = line.unwrap_or_default();
            let own = line.replace("borrow<request>", "request").replace("borrow<response>", "response");
            interface = interface.replace(line, &own);
        }
    }
    Ok(format!("{interface}{world}"))
}

/// Makes a component of a core module that speaks the canonical ABI of the world in `wit`, and WASI preview 1.
///
/// # Errors
///
/// The module lacks an export of the world, or imports what the world does not have.
pub fn component(module: &[u8], wit: &str) -> Result<Vec<u8>, ComponentError> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str(Path::new("plugin.wit"), wit).map_err(ComponentError::World)?;
    let world = resolve.select_world(&[package], Some(WORLD)).map_err(ComponentError::World)?;
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(ComponentError::Module)?;
    let exported = |phase: &str| {
        let named = |key: &wit_parser::WorldKey| resolve.name_world_key(key).contains(&format!("/{phase}@"));
        resolve.worlds[world].exports.keys().any(named)
    };
    let project = project_module(PHASES.map(exported));
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
        })
        .and_then(|encoder| encoder.adapter(PROJECT_MODULE, &project))
        .and_then(|encoder| encoder.encode())
        .map_err(ComponentError::Module)
}

/// A module with the function `exports`, which returns a bit for each of the phases that are exported.
fn project_module(exported: [bool; PHASES.len()]) -> Vec<u8> {
    let bits = exported.iter().enumerate().fold(0u16, |bits, (index, is)| bits | u16::from(*is) << index);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // A type `func() -> i32`, a function of this type, and its name.
    module.extend([1, 5, 1, 0x60, 0, 1, 0x7f]);
    module.extend([3, 2, 1, 0]);
    module.extend([7, 11, 1, 7]);
    module.extend(b"exports");
    module.extend([0, 0]);
    // Its code: `i32.const` with a number of two bytes (LEB128), each with seven bits. The highest one is the sign.
    let [low, high] = [bits & 0x7f, bits >> 7].map(|bits| bits as u8);
    module.extend([10, 7, 1, 5, 0, 0x41, low | 0x80, high, 0x0b]);
    module
}

/// The phases that a module of JavaScript exports, by the marks that its SDK leaves in the memory that the component begins with;
/// nothing if there are none, such as without the SDK. The tool that makes the component compares nothing: an export of the module
/// that the world does not have is never called, and an export of the world that the module does not have fails when it is called.
pub fn marked_phases(component: &[u8]) -> Vec<&'static str> {
    let marked = |phase: &&str| {
        let mark = format!("gateway-plugin exports {phase};");
        component.windows(mark.len()).any(|bytes| bytes == mark.as_bytes())
    };
    PHASES.into_iter().chain(["active-phases", "catalogue"]).filter(marked).collect()
}

/// A core module without the sections that only tell about its sources. What is not a module is rejected by
/// the next reader.
pub fn without_debug_info(module: &[u8]) -> Vec<u8> {
    const CUSTOM: u8 = 0;
    let mut lean = module.get(..8).unwrap_or(module).to_vec();
    let mut rest = module.get(8..).unwrap_or_default();
    while let [id, after @ ..] = rest {
        let Some((length, taken)) = leb(after) else { return module.to_vec() };
        let end = 1 + taken + length;
        let (Some(section), Some(content)) = (rest.get(..end), rest.get(1 + taken..end)) else {
            return module.to_vec();
        };
        let name = leb(content).and_then(|(length, taken)| content.get(taken..taken + length)).unwrap_or_default();
        if *id != CUSTOM || !(name == b"name" || name.starts_with(b".debug_")) {
            lean.extend_from_slice(section);
        }
        rest = &rest[end..];
    }
    lean
}

/// An unsigned number of 32 bits, and how many bytes it took.
fn leb(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, index + 1));
        }
    }
    None
}

/// A component of a core module that imports no more of the interface than `http`, and whose phases own the request and the
/// response if `owned`.
///
/// # Errors
///
/// The module lacks an export of the world, or imports what the world does not have.
pub fn component_of(module: &[u8], exports: &[String], owned: bool) -> Result<Vec<u8>, ComponentError> {
    component(module, &wit(exports, &[], owned)?)
}

#[cfg(test)]
mod frozen_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_world_has_what_was_named_and_what_every_plugin_has() {
        let wit = wit(&names(&["request-filter"]), &names(&["log", "store"]), false).unwrap();
        let world = wit.split_once("world project {").unwrap().1;
        for line in ["import http;", "import log;", "import store;", "export lifecycle;", "export request-filter;"] {
            assert!(world.contains(line), "{world}");
        }
    }

    #[test]
    fn who_wants_handles_as_its_own_gets_them_so_in_the_phases_alone() {
        let wit = wit(&names(&["observer"]), &[], true).unwrap();
        assert!(wit.contains("on-request: func(request: request) ->"), "{wit}");
        assert!(wit.contains("on-response: func(request: request, response: response) ->"), "{wit}");
        assert!(wit.contains("on-complete: func(request: request, response: option<response>,"), "{wit}");
        assert!(wit.contains("on-request-body: func(request: request, body:"), "{wit}");
        assert!(wit.contains("on-response-body: func(request: request, response: response, body:"), "{wit}");
        assert!(wit.contains("replace-request: func(request: borrow<request>,"), "{wit}");
        let mut resolve = Resolve::default();
        let package = resolve.push_str("plugin.wit", &wit).unwrap();
        assert!(resolve.select_world(&[package], Some(WORLD)).is_ok(), "with the package that it brings along");
    }

    #[test]
    fn what_is_unstable_is_there_for_who_names_it() {
        let has_cache = |imports: &[&str]| {
            let mut resolve = Resolve::default();
            let wit = wit(&names(&["request-filter"]), &names(imports), false).unwrap();
            let package = resolve.push_str("plugin.wit", &wit).unwrap();
            let world = resolve.select_world(&[package], Some(WORLD)).unwrap();
            resolve.worlds[world].imports.keys().any(|key| resolve.name_world_key(key).contains("/cache@"))
        };
        assert!(has_cache(&["store", "cache"]) && !has_cache(&["store"]));
    }

    #[test]
    fn an_interface_that_there_is_not_is_named() {
        let error = wit(&names(&["request-filter"]), &names(&["sockets"]), false).unwrap_err().to_string();
        assert!(error.starts_with("imports: there is no `sockets`; there are http, bodies,"), "{error}");
        let error = wit(&names(&["request"]), &[], false).unwrap_err().to_string();
        assert!(error.contains("exports: there is no `request`") && error.contains("request-filter"), "{error}");
    }

    #[test]
    fn only_what_tells_about_the_sources_is_left_out() {
        let module = |customs: &[&str]| {
            let mut bytes = b"\0asm\x01\0\0\0".to_vec();
            for name in customs {
                bytes.extend([0, name.len() as u8 + 3, name.len() as u8]);
                bytes.extend(name.as_bytes());
                bytes.extend([7, 7]);
            }
            bytes.extend([1, 1, 0]);
            bytes
        };
        let lean = without_debug_info(&module(&["name", "producers", ".debug_info", ".debug_line"]));
        assert_eq!(lean, module(&["producers"]));
        // Truncated: the next reader reports it.
        let whole = module(&["name"]);
        for end in 0..whole.len() {
            let _ = without_debug_info(&whole[..end]);
        }
        assert_eq!(without_debug_info(&whole[..12]), &whole[..12]);
    }

    /// `UPDATE_EXPECT=1 cargo test -p gateway-component bindings` writes them anew.
    #[test]
    fn the_bindings_in_the_sdk_for_c_are_those_of_the_interface() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin-sdk/c/wit");
        let mut resolve = wit_bindgen_core::wit_parser::Resolve::default();
        let package = resolve.push_str("plugin.wit", INTERFACE).unwrap();
        let world = resolve.select_world(&[package], Some("plugin")).unwrap();
        let mut files = wit_bindgen_core::Files::default();
        wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files).unwrap();
        let update = std::env::var_os("UPDATE_EXPECT").is_some();
        for (name, made) in files.iter().filter(|(name, _)| !name.ends_with(".o")) {
            let file = folder.join(name);
            if update {
                std::fs::write(&file, made).unwrap();
            }
            assert!(std::fs::read(&file).is_ok_and(|there| there == made), "{name} is another one: see above");
        }
    }

    #[test]
    fn a_module_can_ask_which_phases_are_exported() {
        let core = wat::parse_str(ASKING).unwrap();
        // `i32.const`, the number as the encoder writes it, `end`.
        let cases: [(&[&str], &[u8]); 2] =
            [(&["request-filter"], &[0x41, 0x01, 0x0b]), (&["request-filter", "observer"], &[0x41, 0xc1, 0x00, 0x0b])];
        for (exports, code) in cases {
            let made = component(&core, &wit(&names(exports), &[], false).unwrap()).unwrap();
            assert!(made.windows(code.len()).any(|bytes| bytes == code), "{exports:?}");
        }
    }

    #[test]
    fn the_marks_of_the_sdk_for_javascript_are_found() {
        let component =
            b"\0gateway-plugin exports response-filter;\0gateway-plugin exports observer;gateway-plugin exports x;";
        assert_eq!(marked_phases(component), ["response-filter", "observer"]);
        assert!(marked_phases(b"gateway-plugin exports ").is_empty());
    }

    const ASKING: &str = r#"(module
      (import "gateway-project" "exports" (func $exports (result i32)))
      (import "gateway:plugin/http@0.2.0" "[resource-drop]request" (func (param i32)))
      (memory (export "memory") 1)
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (call $exports))
      (func (export "gateway:plugin/lifecycle@0.2.0#describe") (result i32) (call $exports))
      (func (export "gateway:plugin/lifecycle@0.2.0#configure") (param i32 i32) (result i32) (call $exports))
      (func (export "gateway:plugin/request-filter@0.2.0#on-request") (param i32) (result i32) (call $exports))
      (func (export "gateway:plugin/observer@0.2.0#on-complete") (param i32)))"#;

    #[test]
    fn a_module_without_what_the_world_exports_is_refused() {
        let wit = wit(&names(&["request-filter"]), &[], false).unwrap();
        let error = component(b"\0asm\x01\0\0\0", &wit).unwrap_err().to_string();
        assert!(error.contains("lifecycle"), "{error}");
    }
}
