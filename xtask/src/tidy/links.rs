//! Links in Markdown lead to a file of the project, and to a heading that is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use super::Source;

pub fn check(sources: &[Source], exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let pages: Vec<&Source> = sources.iter().filter(|source| source.path.ends_with(".md")).collect();
    let anchors: BTreeMap<PathBuf, BTreeSet<String>> =
        pages.iter().map(|page| (PathBuf::from(&page.path), anchors(&page.text))).collect();
    let mut findings = Vec::new();
    for page in pages {
        let folder = Path::new(&page.path).parent().unwrap_or(Path::new(""));
        for link in links(&page.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let file = file.split('?').next().unwrap_or_default();
            let target = if file.is_empty() { Some(PathBuf::from(&page.path)) } else { normalise(&folder.join(file)) };
            match target {
                Some(path) if file.is_empty() || exists(&path) => {
                    let headings = anchors.get(&path).filter(|_| anchor.is_some());
                    if headings.is_some_and(|headings| !headings.contains(anchor.unwrap_or_default())) {
                        findings.push(format!("{}: no heading of {} is called {link}", page.path, path.display()));
                    }
                }
                _ => findings.push(format!("{}: the link to {link} leads nowhere", page.path)),
            }
        }
    }
    findings
}

/// The names under which a page's headings can be linked to, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in without_code_blocks(text) {
        let heading = line.trim_start_matches('#');
        let level = line.len() - heading.len();
        if !(1..=6).contains(&level) || !heading.starts_with(' ') {
            continue;
        }
        let slug = slug(&without_targets(heading.trim()));
        // Further headings of the same name have a number.
        let mut unique = slug.clone();
        for number in 1.. {
            if anchors.insert(unique) {
                break;
            }
            unique = format!("{slug}-{number}");
        }
    }
    anchors
}

/// `[text](target)` is `text`.
fn without_targets(heading: &str) -> String {
    let mut parts = heading.split("](");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    out
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn without_code_blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// The targets of `[text](target)`, outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for line in without_code_blocks(text) {
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
        let text = "[a](../wit/0.2/store.wit#store) [b](https://example.com/x) [d](0.2/store.wit \"title\")";
        assert_eq!(findings("wit/README.md", text), [""; 0]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        assert_eq!(findings("README.md", "see [it](docs/x.md)."), ["README.md: the link to docs/x.md leads nowhere"]);
        assert_eq!(findings("README.md", "[it](../outside)").len(), 1);
    }

    #[test]
    fn a_link_to_a_heading_that_is_not_there_is_found() {
        let text = "# One `two`, [three](https://x)\n## One\n## One\n```\n# Code\n```\n\
                    [a](#one-two-three) [b](#one-1) [c](#one-2) [d](other.md#here) [e](other.md#there) [f](#code)";
        let sources = [source("docs/a.md", text), source("docs/other.md", "# Here")];
        let expected = [
            "docs/a.md: no heading of docs/a.md is called #one-2",
            "docs/a.md: no heading of docs/other.md is called other.md#there",
            "docs/a.md: no heading of docs/a.md is called #code",
        ];
        assert_eq!(check(&sources, &|_| true), expected);
    }

    #[test]
    fn code_is_not_read_for_links() {
        assert_eq!(findings("README.md", "```\n[a](b)\n```\n`[a](b)` text"), [""; 0]);
    }
}
