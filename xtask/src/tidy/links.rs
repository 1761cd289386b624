//! Links in Markdown to files of the project lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::Source;

pub fn check(sources: &[Source], exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with(".md")) {
        let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
        for link in links(&source.text) {
            let file = link.split(['#', '?']).next().unwrap_or_default();
            // What `cargo xtask book` makes is there when it has made it, which a test of its own looks at.
            let is_made = source.path == "docs/SUMMARY.md" && (file.starts_with("reference/") || file == "recipes.md");
            let elsewhere = is_made || file.is_empty() || file.contains("://") || file.starts_with("mailto:");
            if !elsewhere && !normalise(&folder.join(file)).is_some_and(|path| exists(&path)) {
                findings.push(format!("{}: the link to {link} leads nowhere", source.path));
            }
        }
    }
    findings
}

/// The targets of `[text](target)`, outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let in_code = line[..at].matches('`').count() % 2 == 1;
            let target = &line[at + 2..];
            if let Some(end) = target.find([')', ' ']).filter(|_| !in_code) {
                links.push(&target[..end]);
            }
        }
    }
    links
}

/// Resolves `..` without asking the disk; `None` outside of the project.
fn normalise(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&[source(path, text)], &|path| path == Path::new("wit/0.2/store.wit") || path == Path::new(""))
    }

    #[test]
    fn links_to_files_and_to_elsewhere_are_fine() {
        let text = "[a](../wit/0.2/store.wit#store) [b](https://example.com/x) [c](#here) [d](0.2/store.wit \"title\")";
        assert_eq!(findings("wit/README.md", text), [""; 0]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        assert_eq!(findings("README.md", "see [it](docs/x.md)."), ["README.md: the link to docs/x.md leads nowhere"]);
        assert_eq!(findings("README.md", "[it](../outside)").len(), 1);
    }

    #[test]
    fn code_is_not_read_for_links() {
        assert_eq!(findings("README.md", "```\n[a](b)\n```\n`[a](b)` text"), [""; 0]);
    }
}
