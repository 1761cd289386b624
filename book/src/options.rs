//! References of what can be configured, from the JSON Schemas that the gateway checks it against.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::assemble::root;

/// Levels of options within options.
const DEPTH: usize = 5;

/// A page for each standard plugin: its guide, and all of its options.
pub fn plugins() -> Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(root().join("plugins"))? {
        let folder = entry?.path();
        let Some(name) = folder.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        let facts = gateway::app::inspect(Path::new(&name)).map_err(|why| anyhow!("{name}: {why}"))?;
        let guide = fs::read_to_string(folder.join("README.md"))?;
        // It stands a folder deeper than where it was written, and elsewhere.
        let mut page =
            guide.replace("](../", "](../../plugins/").replace("](src/", &format!("](../../plugins/{name}/src/"));
        page.push_str("\n## All options\n\nMade of the JSON Schema that the configuration is checked against.\n\n");
        match &facts.config_schema {
            Some(schema) => page.push_str(&table(schema)),
            None => page.push_str("It has none.\n"),
        }
        pages.push((name, page));
    }
    pages.sort();
    Ok(pages)
}

/// The page for the configuration file, in the repository.
pub const CONFIGURATION: &str = "docs/reference/configuration.md";

/// Writes [`CONFIGURATION`].
pub fn write_configuration() -> Result<PathBuf> {
    let file = root().join(CONFIGURATION);
    fs::create_dir_all(file.parent().unwrap_or(&file))?;
    fs::write(&file, configuration()?)?;
    Ok(file)
}

/// What stands before the tables of the configuration file.
const CONFIGURATION_HEAD: &str = "\
# Reference of the configuration file

Every key of the configuration file. This page is generated from the JSON Schema that `gateway
check` applies: `gateway schema` prints it, `cargo xtask reference` writes this page.

`NAME` stands for a name of your choice, `[]` for the items of a list. Durations are written as
`500ms`, `30s`, `5m`, `1h` or `1d`, sizes as `64KiB` or `10MiB`.

The options of each standard plugin (`config` in a route's `plugins`) are on
[the page of that plugin](../plugins-standard.md). [Recipes](../recipes.md) has complete
configurations.
";

/// A page for the configuration file.
fn configuration() -> Result<String> {
    let schema = gateway::app::schema().map_err(|error| anyhow!("{error}"))?;
    let mut page = CONFIGURATION_HEAD.to_owned();
    let parts = schema["properties"].as_object().into_iter().flatten();
    for (name, part) in parts {
        let _ = writeln!(page, "\n## {name}\n");
        let described = resolved(part, &schema);
        let kind = kind(described, &schema);
        let default = part
            .get("default")
            .or_else(|| described.get("default"))
            .filter(|value| !value.is_null() && !value.is_object());
        let default = default.map(|value| format!(", default `{value}`")).unwrap_or_default();
        page.push_str(&wrapped(&format!("{} ({kind}{default})", text(part, described).trim_end())));
        let rows = rows(described, &schema, name);
        if !rows.is_empty() {
            let _ = write!(page, "\n{rows}");
        }
    }
    Ok(page)
}

/// A paragraph in lines of at most 100 characters.
fn wrapped(paragraph: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in paragraph.split_whitespace() {
        let more = word.chars().count();
        if length > 0 && length + 1 + more > 100 {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines.push_str(word);
        length += more;
    }
    lines + "\n"
}

fn table(schema: &Value) -> String {
    rows(schema, schema, "")
}

/// A table of what is within an option; empty if nothing is.
fn rows(schema: &Value, whole: &Value, path: &str) -> String {
    let mut rows = Vec::new();
    collect(schema, whole, path, 0, &mut rows);
    if rows.is_empty() {
        return String::new();
    }
    let mut table = "| option | type | default | meaning |\n|---|---|---|---|\n".to_owned();
    for [path, kind, default, meaning] in rows {
        let _ = writeln!(table, "| `{path}` | {kind} | {default} | {meaning} |");
    }
    table
}

/// What a `$ref` stands for, and what a choice with `null` is otherwise.
fn resolved<'a>(schema: &'a Value, whole: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..8 {
        if let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            schema = whole.pointer(pointer).unwrap_or(&Value::Null);
        } else if let Some([one]) = schema["allOf"].as_array().map(Vec::as_slice) {
            schema = one;
        } else if let Some(only) = choices(schema).and_then(|all| {
            let mut others = all.iter().filter(|choice| choice["type"] != "null");
            others.next().filter(|_| others.next().is_none())
        }) {
            schema = only;
        } else {
            break;
        }
    }
    schema
}

fn choices(schema: &Value) -> Option<&Vec<Value>> {
    schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array())
}

fn collect(schema: &Value, whole: &Value, path: &str, depth: usize, rows: &mut Vec<[String; 4]>) {
    let schema = resolved(schema, whole);
    if depth > DEPTH {
        return;
    }
    for choice in choices(schema).into_iter().flatten() {
        if resolved(choice, whole)["properties"].is_object() || resolved(choice, whole)["type"] == "array" {
            collect(choice, whole, path, depth + 1, rows);
        }
    }
    if schema["items"].is_object() {
        collect(&schema["items"], whole, &format!("{path}[]"), depth + 1, rows);
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        let described = resolved(option, whole);
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let default = match option.get("default").or_else(|| described.get("default")) {
            Some(Value::Null) => String::new(),
            Some(value) => format!("`{}`", cell(&value.to_string())),
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None => String::new(),
        };
        let row = [inner.clone(), kind(described, whole), default, cell(&text(option, described))];
        if !rows.contains(&row) {
            rows.push(row);
        }
        collect(option, whole, &inner, depth + 1, rows);
    }
    if schema["additionalProperties"].is_object() {
        let name = if path.is_empty() { "NAME".to_owned() } else { format!("{path}.NAME") };
        collect(&schema["additionalProperties"], whole, &name, depth + 1, rows);
    }
}

fn text(option: &Value, described: &Value) -> String {
    let own = option["description"].as_str().or_else(|| described["description"].as_str());
    let mut text = own.unwrap_or_default().to_owned();
    // What each of the fixed values means.
    for choice in choices(described).into_iter().flatten() {
        if let (Some(value), Some(meaning)) = (choice["const"].as_str(), choice["description"].as_str()) {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}`{value}`: {meaning}");
        }
    }
    text
}

/// In a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}

fn kind(schema: &Value, whole: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> =
            values.iter().map(|value| format!("`{}`", cell(value.as_str().unwrap_or(&value.to_string())))).collect();
        return values.join(", ");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{}`", cell(value.as_str().unwrap_or(&value.to_string())));
    }
    if let Some(all) = choices(schema) {
        let mut kinds: Vec<String> = Vec::new();
        for choice in all {
            let kind = kind(resolved(choice, whole), whole);
            if !kind.is_empty() && !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        return kinds.join(" or ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => {
            let of = kind(resolved(&schema["items"], whole), whole);
            if of.is_empty() { "list".to_owned() } else { format!("list of {of}") }
        }
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect();
            names.join(" or ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_reference_of_the_configuration_in_docs_is_current() {
        let written = fs::read_to_string(root().join(CONFIGURATION)).unwrap_or_default();
        // Not `assert_eq`, which would print both.
        assert!(written == configuration().unwrap(), "{CONFIGURATION} is not current: run `cargo xtask reference`");
    }

    #[test]
    fn options_within_options_have_their_place() {
        let schema = json!({
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": { "$ref": "#/$defs/A", "description": "Of its own." },
                "b": { "anyOf": [{ "type": "array", "items": { "$ref": "#/$defs/A" } }, { "type": "null" }], "default": null },
                "c": { "type": "object", "additionalProperties": { "$ref": "#/$defs/A" } },
            },
            "$defs": { "A": { "type": "object", "properties": { "x": { "enum": ["one", "t|wo"], "default": "one" } } } },
        });
        let table = table(&schema);
        for line in [
            "| `a` | object | required | Of its own. |",
            "| `a.x` | `one`, `t\\|wo` | `\"one\"` |  |",
            "| `b` | list of object |  |  |",
            "| `b[].x` | `one`, `t\\|wo` | `\"one\"` |  |",
            "| `c.NAME.x` | `one`, `t\\|wo` | `\"one\"` |  |",
        ] {
            assert!(table.contains(line), "{line} is not in\n{table}");
        }
    }
}
