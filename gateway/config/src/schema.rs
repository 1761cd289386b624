//! The JSON Schema (2020-12) of the file: the one that files are checked against, and the one for editors,
//! which knows the configuration of the standard plugins too.

use gateway_core::model::ComponentSource;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{
    catalog::{Catalog, CatalogError},
    file::{ConfiguredUse, File},
};

/// The schema of everything but the plugins' own configuration.
pub(super) fn base() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<File>().to_value();
    tidy(&mut schema);
    schema
}

/// The schema of the whole, with titles and descriptions for editors. The configuration of each standard
/// plugin is checked wherever the plugin is used. Fails if the catalog cannot open its own plugins.
pub fn schema(catalog: &mut dyn Catalog) -> Result<Value, CatalogError> {
    let mut schema = base();
    let names = catalog.builtins();
    let mut conditions = Vec::new();
    for name in &names {
        let facts = catalog.open(&ComponentSource::Builtin(name.clone()))?;
        let key = format!("config of {name}");
        let pointer = format!("#/$defs/{}", key.replace(' ', "%20"));
        let mut own = facts.config_schema.clone();
        if own.is_null() {
            own = json!({ "type": "object", "additionalProperties": false });
        }
        let needs_config = own["required"].as_array().is_some_and(|keys| !keys.is_empty());
        rebase(&mut own, &pointer);
        if let Some(own) = own.as_object_mut() {
            own.remove("$schema");
            own.remove("$id");
            own.entry("title").or_insert_with(|| json!(format!("{name} {}", facts.version)));
            own.entry("description").or_insert_with(|| json!(facts.description));
        }
        let mut then = json!({ "properties": { "config": { "$ref": pointer } } });
        if needs_config {
            then["required"] = json!(["config"]);
        }
        conditions.push(json!({
            "if": { "properties": { "name": { "const": name } }, "required": ["name"] },
            "then": then,
        }));
        schema["$defs"][key] = own;
    }
    let plugin_use = &mut schema["$defs"][<ConfiguredUse as schemars::JsonSchema>::schema_name().as_ref()];
    plugin_use["allOf"] = conditions.into();
    // Editors offer the known names and accept others.
    if let Some(name) = plugin_use.pointer_mut("/properties/name").and_then(Value::as_object_mut) {
        name.remove("type");
        name.insert("anyOf".to_owned(), json!([{ "enum": names }, { "type": "string" }]));
    }
    Ok(schema)
}

/// What the generator writes is made plainer. Optional keys are left out, never null: an empty value is a
/// mistake that should be seen.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            tidy_keywords(map);
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn tidy_keywords(map: &mut Map<String, Value>) {
    if map.get("default").is_some_and(|default| default.is_null() || default == "") {
        map.remove("default");
    }
    // `uint32` and the like say nothing beside the range.
    if map.get("format").and_then(Value::as_str).is_some_and(|format| format.contains("int")) {
        map.remove("format");
    }
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
        branches.retain(|branch| branch != &json!({ "type": "null" }));
        if let [Value::Object(only)] = &branches[..] {
            let only = only.clone();
            map.remove("anyOf");
            map.extend(only);
        }
    }
}

/// Moves a schema from the root to `pointer`: its references to itself follow. `$defs` stay inside, so that
/// those of several plugins cannot clash.
fn rebase(schema: &mut Value, pointer: &str) {
    match schema {
        Value::Object(map) => rebase_keys(map, pointer),
        Value::Array(items) => items.iter_mut().for_each(|item| rebase(item, pointer)),
        _ => {}
    }
}

fn rebase_keys(map: &mut Map<String, Value>, pointer: &str) {
    for (key, value) in map {
        match (key.as_str(), value) {
            ("$ref" | "$dynamicRef", Value::String(target)) => {
                if let Some(rest) = target.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                    *target = format!("{pointer}{rest}");
                }
            }
            // Data, not schemas.
            ("const" | "enum" | "default" | "examples", _) => {}
            (_, value) => rebase(value, pointer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, plugin};

    fn catalog() -> Fake {
        let tree = json!({
            "type": "object",
            "properties": { "child": { "$ref": "#" }, "leaf": { "$ref": "#/$defs/Leaf" } },
            "additionalProperties": false,
            "$defs": { "Leaf": { "type": "integer" } },
        });
        let other = json!({ "required": ["leaf"], "properties": { "leaf": { "$ref": "#/$defs/Leaf" } },
            "$defs": { "Leaf": { "type": "string" } } });
        Fake::default()
            .builtin("tree", plugin(tree))
            .builtin("other", plugin(other))
            .builtin("none", plugin(Value::Null))
    }

    fn file(plugin_use: Value) -> Value {
        json!({
            "listeners": [{ "address": "127.0.0.1:80" }],
            "routes": [{ "name": "a", "match": {}, "upstream": "u", "plugins": [plugin_use] }],
        })
    }

    #[test]
    fn the_schema_of_the_whole_checks_the_configuration_of_standard_plugins() {
        let validator = jsonschema::draft202012::new(&schema(&mut catalog()).unwrap()).unwrap();
        for good in [
            json!("none"),
            json!({ "name": "none", "config": {} }),
            json!({ "name": "tree", "config": { "child": { "child": { "leaf": 1 } } } }),
            json!({ "name": "other", "config": { "leaf": "text" } }),
            json!({ "name": "mine", "config": { "anything": 1 } }),
        ] {
            assert!(validator.is_valid(&file(good.clone())), "{good}");
        }
        for bad in [
            json!({ "name": "none", "config": { "x": 1 } }),
            json!({ "name": "tree", "config": { "child": { "child": { "leaf": "text" } } } }),
            json!({ "name": "other", "config": { "leaf": 1 } }),
            json!({ "name": "other" }),
        ] {
            assert!(!validator.is_valid(&file(bad.clone())), "{bad}");
        }
    }

    #[test]
    fn the_schema_is_valid_and_describes_every_key() {
        let schema = base();
        assert!(jsonschema::draft202012::meta::is_valid(&schema));
        let text = schema.to_string();
        assert!(!text.contains("null"), "{text}");
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            for (key, value) in definition["properties"].as_object().into_iter().flatten() {
                assert!(value["description"].is_string() || value["$ref"].is_string(), "{name}.{key}");
            }
        }
    }
}
