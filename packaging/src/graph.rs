//! The crates that a program is made of, as cargo resolves them for one target.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::project::{Project, Run};

/// A crate of the graph.
#[derive(Clone, Debug)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub licence: Option<String>,
    pub licence_file: Option<String>,
    pub description: Option<String>,
    pub repository: Option<String>,
    pub authors: Vec<String>,
    pub folder: PathBuf,
    /// Whether it comes from crates.io, not from this workspace.
    pub published: bool,
    pub dependencies: BTreeSet<String>,
}

/// Crates by `NAME@VERSION`.
pub type Graph = BTreeMap<String, Package>;

/// What `root` is made of on `target`: its dependencies and theirs, build scripts, macros and tests left out.
pub fn graph(project: &Project, root: &str, target: &str) -> Result<Graph> {
    // `metadata` has the details, and unites the features that any crate of the workspace needs; `tree` knows which
    // crates those of `root` alone lead to.
    let names = tree(project, root, target)?;
    let metadata = project
        .cargo()
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", target])
        .output_text()?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut ids = BTreeMap::new();
    let mut packages = Graph::new();
    for package in list(&metadata["packages"]) {
        let (name, version) =
            (text(&package["name"]).context("no name")?, text(&package["version"]).context("no version")?);
        let key = format!("{name}@{version}");
        ids.insert(text(&package["id"]).context("no id")?, key.clone());
        let manifest = PathBuf::from(text(&package["manifest_path"]).context("no manifest")?);
        let package = Package {
            licence: text(&package["license"]),
            licence_file: text(&package["license_file"]),
            description: text(&package["description"]),
            repository: text(&package["repository"]),
            authors: list(&package["authors"]).iter().filter_map(text).collect(),
            folder: manifest.parent().context("a manifest is in a folder")?.to_owned(),
            published: package["source"].is_string(),
            dependencies: BTreeSet::new(),
            name,
            version,
        };
        packages.insert(key, package);
    }
    packages.retain(|key, _| names.contains(key));
    for node in list(&metadata["resolve"]["nodes"]) {
        let key = text(&node["id"]).and_then(|id| ids.get(&id)).context("a node is a package")?;
        let Some(package) = packages.get_mut(key) else { continue };
        for dependency in list(&node["deps"]) {
            let is_normal = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let key = text(&dependency["pkg"]).and_then(|id| ids.get(&id)).context("a dependency is a package")?;
            if is_normal && names.contains(key) {
                package.dependencies.insert(key.clone());
            }
        }
    }
    Ok(packages)
}

fn tree(project: &Project, root: &str, target: &str) -> Result<BTreeSet<String>> {
    let tree = project
        .cargo()
        .args(["tree", "--locked", "--package", root, "--target", target, "--edges", "normal,no-proc-macro"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}"])
        .output_text()?;
    let mut names = BTreeSet::new();
    for line in tree.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next().and_then(|version| version.strip_prefix('v')))
        {
            names.insert(format!("{name}@{version}"));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_has_what_runs_and_not_what_builds_or_tests() {
        let project = Project::here().unwrap();
        let graph = graph(&project, "gateway-rules", project.arch.musl).unwrap();
        let names: BTreeSet<&str> = graph.values().map(|package| package.name.as_str()).collect();
        assert!(names.contains("gateway-rules") && names.contains("http") && names.contains("bytes"), "{names:?}");
        assert!(!names.contains("syn") && !names.contains("tempfile") && !names.contains("cc"), "{names:?}");
        let rules = graph.values().find(|package| package.name == "gateway-rules").unwrap();
        assert!(rules.dependencies.iter().any(|key| key.starts_with("http@")), "{rules:?}");
        assert!(!rules.published);
    }
}
