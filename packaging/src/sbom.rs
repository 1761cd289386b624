//! The bill of materials: CycloneDX 1.6 in JSON, of the gateway, the standard plugins and the dashboard inside.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use crate::{
    graph::{Graph, Package},
    hash::{hex, sha256},
    project::{DESCRIPTION, LICENCE, Project, json, rfc3339},
};

/// The document. `plugins` are the graphs of the standard plugins by the names of their packages.
pub fn document(
    project: &Project,
    binary: &[u8],
    gateway: &Graph,
    plugins: &BTreeMap<String, Graph>,
) -> Result<Vec<u8>> {
    let checksums = checksums(&project.read("Cargo.lock")?)?;
    let root = format!("gateway@{}", project.version);
    let mut components: BTreeMap<String, Value> = BTreeMap::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, package) in [gateway].into_iter().chain(plugins.values()).flatten() {
        // A crate that several programs share may have fewer dependencies in one of them.
        edges.entry(key.clone()).or_default().extend(package.dependencies.iter().cloned());
        components.insert(key.clone(), component(key, package, &checksums));
    }
    components.remove(&root);
    let inside = edges.entry(root.clone()).or_default();
    for graph in plugins.values() {
        let of_graph = graph.iter().find(|(_, package)| plugins.contains_key(&package.name));
        inside.insert(of_graph.context("a plugin is in its own graph")?.0.clone());
    }
    for (key, component) in dashboard(&project.read("dashboard/package-lock.json")?)? {
        edges.entry(root.clone()).or_default().insert(key.clone());
        edges.entry(key.clone()).or_default();
        components.insert(key, component);
    }
    let dependencies: Vec<Value> = edges
        .into_iter()
        .map(|(key, to)| json!({ "ref": key, "dependsOn": to.into_iter().collect::<Vec<_>>() }))
        .collect();
    let components: Vec<Value> = components.into_values().collect();
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(project.time),
            "lifecycles": [{ "phase": "build" }],
            "tools": { "components": [{ "type": "application", "name": "cargo xtask package", "version": project.version }] },
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "gateway",
                "version": project.version,
                "description": DESCRIPTION,
                "licenses": [{ "expression": LICENCE }],
                "hashes": [{ "alg": "SHA-256", "content": sha256(binary) }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    document["serialNumber"] = json!(serial(&json(&document)));
    let mut bytes = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&json(&document))?)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A UUID of version 8 (RFC 9562) that follows from the content.
fn serial(content: &[u8]) -> String {
    let digest = sha256(content);
    let part = |from: usize, to: usize| &digest[from..to];
    format!("urn:uuid:{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

fn component(key: &str, package: &Package, checksums: &BTreeMap<String, String>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": key,
        "name": package.name,
        "version": package.version,
        "scope": "required",
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            component[name] = value;
        }
    };
    set("description", package.description.as_ref().map(|text| json!(text.trim())));
    // Old manifests separate alternatives by a slash.
    set("licenses", package.licence.as_ref().map(|text| json!([{ "expression": text.replace('/', " OR ") }])));
    set("hashes", checksums.get(key).map(|sum| json!([{ "alg": "SHA-256", "content": sum }])));
    if package.published {
        set("purl", Some(json!(format!("pkg:cargo/{key}"))));
    }
    let vcs = package.repository.as_ref().filter(|url| url.starts_with("http"));
    set("externalReferences", vcs.map(|url| json!([{ "type": "vcs", "url": url }])));
    component
}

/// The SHA-256 of each crate's archive, from Cargo.lock.
fn checksums(lock: &str) -> Result<BTreeMap<String, String>> {
    let lock: toml::Table = lock.parse().context("cannot read Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock has no packages")?;
    let sum = |package: &toml::Value| {
        let text = |name: &str| package.get(name)?.as_str();
        Some((format!("{}@{}", text("name")?, text("version")?), text("checksum")?.to_owned()))
    };
    Ok(packages.iter().filter_map(sum).collect())
}

/// Of npm's packages only these are in the dashboard's files; the others build and test it.
const DASHBOARD: [&str; 1] = ["preact"];

fn dashboard(lock: &str) -> Result<Vec<(String, Value)>> {
    let lock: Value = serde_json::from_str(lock).context("cannot read dashboard/package-lock.json")?;
    let mut components = Vec::new();
    for name in DASHBOARD {
        let package = &lock["packages"][format!("node_modules/{name}")];
        let text = |field: &str| {
            package[field].as_str().with_context(|| format!("dashboard/package-lock.json has no {field} of {name}"))
        };
        let key = format!("npm:{name}@{}", text("version")?);
        let integrity = text("integrity")?.strip_prefix("sha512-").context("npm has SHA-512")?;
        let sum = Base64::decode_vec(integrity).ok().context("npm's integrity is Base64")?;
        let component = json!({
            "type": "library",
            "bom-ref": key,
            "name": name,
            "version": text("version")?,
            "scope": "required",
            "licenses": [{ "expression": text("license")? }],
            "hashes": [{ "alg": "SHA-512", "content": hex(&sum) }],
            "purl": format!("pkg:npm/{name}@{}", text("version")?),
        });
        components.push((key, component));
    }
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::graph;

    #[test]
    fn every_reference_leads_to_a_component_and_every_published_crate_has_hash_and_licence() {
        let project = Project::here().unwrap();
        let gateway = graph(&project, "gateway", project.arch.musl).unwrap();
        let cors = graph(&project, "plugin-cors", "wasm32-wasip2").unwrap();
        let plugins = BTreeMap::from([("plugin-cors".to_owned(), cors)]);
        let bytes = document(&project, b"binary", &gateway, &plugins).unwrap();
        assert_eq!(bytes, document(&project, b"binary", &gateway, &plugins).unwrap());
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let components = document["components"].as_array().unwrap();
        assert!(components.len() > 200, "{}", components.len());
        let mut known: BTreeSet<&str> =
            components.iter().map(|component| component["bom-ref"].as_str().unwrap()).collect();
        known.insert(document["metadata"]["component"]["bom-ref"].as_str().unwrap());
        for dependency in document["dependencies"].as_array().unwrap() {
            assert!(known.contains(dependency["ref"].as_str().unwrap()), "{dependency}");
            for to in dependency["dependsOn"].as_array().unwrap() {
                assert!(known.contains(to.as_str().unwrap()), "{dependency}");
            }
        }
        for component in components.iter().filter(|component| component["purl"].is_string()) {
            assert!(component["hashes"][0]["content"].is_string(), "{component}");
            assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        }
        for name in ["wasmtime", "rustls", "preact", "plugin-cors"] {
            assert!(components.iter().any(|component| component["name"] == name), "no {name}");
        }
    }
}
