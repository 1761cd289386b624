//! The licences of everything that the program has inside, which ask to be passed on with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use anyhow::Result;

use crate::graph::{Graph, Package};

/// One text: which crates are under which licence, and each licence text once with the crates that have it.
pub fn third_party(graphs: &[&Graph]) -> Result<String> {
    let packages: BTreeMap<&String, &Package> =
        graphs.iter().flat_map(|graph| graph.iter()).filter(|(_, package)| package.published).collect();
    let mut text = "The gateway contains the software below, each under the licence named.\n\n".to_owned();
    let mut texts: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (key, package) in &packages {
        let licence = package.licence.as_deref().unwrap_or("see its licence below");
        let _ = writeln!(text, "{key}: {licence}; {}", package.authors.join(", ").trim_end_matches("; "));
        for content in files(package)? {
            texts.entry(content).or_default().insert(key);
        }
    }
    for (content, keys) in texts {
        let keys: Vec<_> = keys.into_iter().collect();
        let _ = write!(text, "\n{}\n{}\n\n{}\n", "-".repeat(80), keys.join(", "), content.trim());
    }
    Ok(text)
}

/// The texts of licences and notices in a crate's folder.
fn files(package: &Package) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(&package.folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start))
            || package.licence_file.as_ref().is_some_and(|file| file.to_uppercase() == name);
        if is_licence && entry.file_type()?.is_file() {
            texts.push(String::from_utf8_lossy(&fs::read(entry.path())?).replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{graph::graph, project::Project};

    #[test]
    fn each_text_is_there_once_with_the_crates_that_have_it() {
        let project = Project::here().unwrap();
        let graph = graph(&project, "gateway-rules", project.arch.musl).unwrap();
        let text = third_party(&[&graph, &graph]).unwrap();
        assert!(text.contains("\nhttp@") && text.contains("Permission is hereby granted"), "{text}");
        assert!(!text.contains("gateway-rules@"));
        assert_eq!(text.matches("Copyright (c) 2017 http-rs authors").count(), 1);
    }
}
