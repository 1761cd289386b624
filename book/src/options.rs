//! References of what can be configured, from the JSON Schemas that the gateway checks it against.

use std::{fmt::Write, fs, path::Path};

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

/// A page for the configuration file.
pub fn configuration() -> Result<String> {
    let schema = gateway::app::schema().map_err(|error| anyhow!("{error}"))?;
    let mut page = "# The configuration file\n\nMade of its JSON Schema, which `gateway schema` prints. What standard plugins take has pages of its own.\n".to_owned();
    let parts = schema["properties"].as_object().into_iter().flatten();
    for (name, part) in parts {
        let _ = writeln!(page, "\n## {name}\n");
        let described = resolved(part, &schema);
        let _ = writeln!(page, "{}\n", text(part, described));
        page.push_str(&rows_of(described, &schema));
    }
    Ok(page)
}

fn table(schema: &Value) -> String {
    rows_of(schema, schema)
}

fn rows_of(schema: &Value, whole: &Value) -> String {
    let mut rows = Vec::new();
    collect(schema, whole, "", 0, &mut rows);
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
    own.unwrap_or_default().to_owned()
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
