//! What a component's types say: its imports, its exports, and the slots that an instance takes.

use std::collections::BTreeMap;

use gateway_pipeline::Phases;
use gateway_rules::data_grants::BODY_EXPORTS;
use wasmtime::{
    Engine,
    component::{
        Component, ComponentExportIndex,
        types::{ComponentItem, Type},
    },
};

use super::load_error::LoadError;
use crate::{
    bindings::{PACKAGE, VERSION},
    engine::TABLES,
    host::wasi,
    instance::{Exports, HandleOwnership},
    waits::Waits,
};

/// Slots of the allocator that an instance takes: one for each memory, or pair of tables.
pub(crate) fn weight(component: &Component) -> usize {
    let (memories, tables) = component.resources_required().map_or((1, 1), |all| (all.num_memories, all.num_tables));
    (memories as usize).max((tables as usize).div_ceil(TABLES)).max(1)
}

/// The first eight bytes tell: magic, version, layer.
pub(crate) fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes {
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => Err(LoadError::CoreModule),
        [b'\0', b'a', b's', b'm', _, _, _, _, ..] => Ok(()),
        _ => Err(LoadError::NotWasm),
    }
}

/// The imported functions by interface, if all of them are known.
pub(crate) fn imports(engine: &Engine, component: &Component) -> Result<BTreeMap<String, Vec<String>>, LoadError> {
    let mut imports = BTreeMap::new();
    let mut unknown = Vec::new();
    for (name, item) in component.component_type().imports(engine) {
        let interface = without_version(name);
        if interface.starts_with(PACKAGE) && !is_our_version(name) {
            return Err(LoadError::OtherVersion { found: name.to_owned() });
        }
        let is_known = OURS.iter().any(|known| interface == ours(known)) || wasi::INTERFACES.contains(&interface);
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            unknown.push(name.to_owned());
            continue;
        };
        if !is_known || interface.starts_with("wasi:") && !name.contains("@0.2.") {
            unknown.push(name.to_owned());
            continue;
        }
        let is_function = |item: &ComponentItem| matches!(item, ComponentItem::ComponentFunc(_));
        let functions = instance.exports(engine).filter(|(_, item)| is_function(&item.ty));
        let functions: Vec<_> = functions.map(|(function, _)| function.to_owned()).collect();
        // An interface of types only asks for nothing.
        if !functions.is_empty() {
            imports.insert(name.to_owned(), functions);
        }
    }
    if unknown.is_empty() { Ok(imports) } else { Err(LoadError::UnknownImports(unknown)) }
}

const OURS: &[&str] = &[
    "http",
    "bodies",
    "log",
    "sinks",
    "metrics",
    "store",
    "http-client",
    "documents",
    "cache",
    "crypto",
    "secrets",
    "files",
    "tcp",
    "upstreams",
];

/// Which of the imported functions can wait.
pub(crate) fn waits(imports: &BTreeMap<String, Vec<String>>) -> Waits {
    let mut waits = Waits::default();
    for (name, functions) in imports {
        let interface = without_version(name);
        let is = |known: &str| interface == ours(known);
        waits.always |= wasi::can_wait(interface);
        waits.always |= is("crypto") && functions.iter().any(|function| function == "verify-password");
        waits.with_upstreams |= is("http-client") || is("documents") || is("tcp");
        waits.with_remote_state |= is("store");
        // All else that `cache` has is about this gateway.
        waits.with_shared_cache |= is("cache") && functions.iter().any(|function| function == "find");
    }
    waits
}

/// Finds the exported functions. Unknown exports are no matter: some languages' tools add their own.
pub(crate) fn exports(engine: &Engine, component: &Component) -> Result<Exports, LoadError> {
    let ty = component.component_type();
    let names: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let foreign = names.iter().find(|name| name.starts_with(PACKAGE) && !is_our_version(name));
    let find = |interface: &str, function: &str| -> Result<Option<ComponentExportIndex>, LoadError> {
        let Some(name) = names.iter().find(|name| without_version(name) == ours(interface)) else { return Ok(None) };
        let instance = component.get_export_index(None, name);
        let found = instance.and_then(|instance| component.get_export_index(Some(&instance), function));
        found.map(Some).ok_or_else(|| LoadError::Mismatch(format!("{name} exports no {function}")))
    };
    if let Some(name) = foreign {
        return Err(LoadError::OtherVersion { found: (*name).to_owned() });
    }
    let lifecycle = |function| {
        find("lifecycle", function)?
            .ok_or_else(|| LoadError::OtherWorld { found: names.iter().map(|name| (*name).to_owned()).collect() })
    };
    let exports = Exports {
        describe: lifecycle("describe")?,
        configure: lifecycle("configure")?,
        phases: find("active-phases", "phases")?,
        timers: find("timers", "timers")?,
        on_timer: find("timers", "on-timer")?,
        endpoints: find("catalogue", "endpoints")?,
        openapi: find("catalogue", "openapi")?,
        on_request: find("request-filter", "on-request")?,
        on_request_body: find("request-body-filter", "on-request-body")?,
        on_request_chunk: find("request-stream", "on-request-chunk")?,
        on_response: find("response-filter", "on-response")?,
        on_response_body: find("response-body-filter", "on-response-body")?,
        on_response_chunk: find("response-stream", "on-response-chunk")?,
        on_message: find("message-filter", "on-message")?,
        on_complete: find("observer", "on-complete")?,
    };
    if exports.phases() == Phases::default() && exports.on_timer.is_none() {
        Err(LoadError::NoPhase)
    } else {
        Ok(exports)
    }
}

/// The exported interfaces whose functions get bodies.
pub(crate) fn body_exports(engine: &Engine, component: &Component) -> Vec<String> {
    let ty = component.component_type();
    let names = ty.exports(engine).map(|(name, _)| name);
    let of_bodies = |name: &&str| BODY_EXPORTS.iter().any(|export| without_version(name) == ours(export.interface));
    names.filter(of_bodies).map(str::to_owned).collect()
}

/// As what its phases want the request and the response; all of them the same.
pub(crate) fn handle_ownership(engine: &Engine, component: &Component) -> Result<HandleOwnership, LoadError> {
    let mut found = None;
    for (name, item) in component.component_type().exports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        if !name.starts_with(PACKAGE) {
            continue;
        }
        for (function, item) in instance.exports(engine) {
            let ComponentItem::ComponentFunc(ty) = item.ty else { continue };
            for (_, param) in ty.params() {
                let wanted = match param {
                    Type::Own(_) => HandleOwnership::Owned,
                    Type::Borrow(_) => HandleOwnership::Borrowed,
                    _ => continue,
                };
                if found.is_some_and(|found| found != wanted) {
                    return Err(LoadError::Mismatch(format!("{name} {function} wants handles of both kinds")));
                }
                found = Some(wanted);
            }
        }
    }
    Ok(found.unwrap_or(HandleOwnership::Borrowed))
}

pub(crate) fn ours(interface: &str) -> String {
    format!("{PACKAGE}{interface}")
}

pub(crate) fn without_version(name: &str) -> &str {
    name.split('@').next().unwrap_or_default()
}

/// Within a minor version nothing is ever taken away, so a component of any of its releases runs if we have what it imports.
fn is_our_version(name: &str) -> bool {
    let minor = VERSION.rsplit_once('.').map_or(VERSION, |(minor, _)| minor);
    let patch = name.split_once('@').and_then(|(_, version)| version.strip_prefix(minor));
    patch.is_some_and(|patch| patch.starts_with('.'))
}
