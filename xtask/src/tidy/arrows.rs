//! Which room of the gateway may use which. The arrows are those of `gateway/ARCHITECTURE.md`: server → proxy →
//! route, pipeline, upstream → model, telemetry, http; `plugin` implements the pipeline's stages; `app` knows
//! all rooms.

use super::Source;

/// Rooms that everyone may use and that use nothing. `model` is `config::model`, which most rooms see without
/// the rest of `config`.
const LEAVES: &[&str] = &["alloc", "error", "files", "model", "timers"];

/// A room and the rooms that it may use beside the leaves. None names one that stands after it.
const ARROWS: &[(&str, &[&str])] = &[
    ("fetch", &[]),
    ("state", &[]),
    ("http", &[]),
    ("telemetry", &[]),
    ("route", &["http", "telemetry"]),
    ("pipeline", &["http", "telemetry"]),
    ("upstream", &["http", "telemetry"]),
    ("config", &["http", "pipeline", "route", "telemetry"]),
    ("plugin", &["http", "pipeline", "state", "telemetry"]),
    ("proxy", &["http", "pipeline", "route", "telemetry", "upstream"]),
    ("server", &["http", "proxy", "telemetry"]),
];

/// Rooms at the top, which may use every other.
const TOP: &[&str] = &["app", "cli", "demo", "lib", "main", "project", "trial"];

const SOURCE_FOLDER: &str = "gateway/src/";

pub fn check(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let Some(path) = source.path.strip_prefix(SOURCE_FOLDER).filter(|path| path.ends_with(".rs")) else { continue };
        if path.ends_with("/tests.rs") || path.contains("/tests/") {
            continue;
        }
        let room = room_of(path);
        let code = code(&source.text);
        if room != "plugin" && code.contains("wasmtime") {
            findings.push(format!("{}: uses wasmtime, which only {SOURCE_FOLDER}plugin does", source.path));
        }
        if TOP.contains(&room) {
            continue;
        }
        let none: &[&str] = &[];
        let arrows = ARROWS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed);
        let Some(allowed) = arrows.or(LEAVES.contains(&room).then_some(none)) else {
            findings.push(format!(
                "{}: the room `{room}` has no arrows; give it some in xtask/src/tidy/arrows.rs",
                source.path
            ));
            continue;
        };
        let mut used = used_rooms(&code);
        used.sort();
        used.dedup();
        // `config` is two rooms in one folder.
        let own = |other: &str| other == room || (room == "model" && other == "config");
        let leaf = |other: &str| LEAVES.contains(&other) && arrows.is_some();
        for other in used.iter().filter(|other| !own(other) && !leaf(other) && !allowed.contains(&other.as_str())) {
            findings.push(format!("{}: uses `{other}`, which is against the arrows of `{room}`", source.path));
        }
    }
    findings
}

/// `config/model.rs` is `model`; everything else is named after its folder or file.
fn room_of(path: &str) -> &str {
    if path == "config/model.rs" || path.starts_with("config/model/") {
        return "model";
    }
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// The text without comments and without the tests at the end of the file: tests may use what they like.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The first name after each `crate::`, also of those in braces.
fn used_rooms(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        collect(&code[at + "crate::".len()..], &mut rooms);
    }
    rooms
}

fn collect(path: &str, rooms: &mut Vec<String>) {
    for part in alternatives(path) {
        let (name, rest) = split_name(part);
        if name == "config" {
            match rest.strip_prefix("::") {
                Some(rest) => rooms.extend(alternatives(rest).into_iter().map(|inner| match split_name(inner).0 {
                    "model" => "model".to_owned(),
                    _ => "config".to_owned(),
                })),
                None => rooms.push("config".to_owned()),
            }
        } else if !name.is_empty() && name != "self" {
            rooms.push(name.to_owned());
        }
    }
}

/// What is in the braces at the beginning, split at the commas of the outermost level; or the path itself.
fn alternatives(path: &str) -> Vec<&str> {
    let Some(inner) = path.trim_start().strip_prefix('{') else { return vec![path] };
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&inner[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts
}

fn split_name(path: &str) -> (&str, &str) {
    let path = path.trim_start();
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    path.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&[source(path, text)])
    }

    #[test]
    fn the_arrows_have_no_cycle() {
        for (at, (room, allowed)) in ARROWS.iter().enumerate() {
            for other in *allowed {
                assert!(ARROWS[..at].iter().any(|(name, _)| name == other), "{room} → {other}");
            }
        }
    }

    #[test]
    fn an_import_along_the_arrows_is_fine() {
        let text = "use crate::{config::model::{Config, Route}, error::Failure,\n    http::{body::Body, head}};";
        assert_eq!(findings("gateway/src/route/table.rs", text), [""; 0]);
        assert_eq!(findings("gateway/src/app.rs", "use crate::{plugin::Engine, server};"), [""; 0]);
    }

    #[test]
    fn an_import_against_the_arrows_names_both_rooms() {
        let found = findings("gateway/src/http/body.rs", "fn f() { crate::proxy::handle() }");
        assert_eq!(found, ["gateway/src/http/body.rs: uses `proxy`, which is against the arrows of `http`"]);
        assert_eq!(findings("gateway/src/proxy.rs", "use crate::{error, plugin::{Engine, proxy}};").len(), 1);
        assert_eq!(findings("gateway/src/upstream/mod.rs", "use crate::config::{check, model::Upstream};").len(), 1);
    }

    #[test]
    fn comments_and_tests_may_name_anything() {
        let text = "//! See crate::app and wasmtime.\nuse crate::error;\n#[cfg(test)]\nmod tests { use crate::app; }";
        assert_eq!(findings("gateway/src/http/mod.rs", text), [""; 0]);
    }

    #[test]
    fn only_the_plugin_room_uses_wasmtime() {
        assert_eq!(findings("gateway/src/pipeline/mod.rs", "use wasmtime::Store;").len(), 1);
        assert_eq!(findings("gateway/src/plugin/engine.rs", "use wasmtime::Store;"), [""; 0]);
    }

    #[test]
    fn a_new_room_must_be_given_arrows() {
        assert!(findings("gateway/src/attic/mod.rs", "")[0].contains("has no arrows"));
    }
}
