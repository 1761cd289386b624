//! From the repository to the book. Pages lie in the book as they lie in the repository, so that links between them hold; what
//! a page of the repository links to and is no page comes along as it is.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use mdbook_driver::MDBook;

use crate::{examples, interface, options};

/// Folders of which all is taken that people read.
const FOLDERS: [&str; 7] = ["docs", "plugins", "plugin-sdk", "wit", "examples", "contrib", "gateway/design"];
const ENDS: [&str; 23] = [
    "md", "yaml", "png", "svg", "wit", "rs", "toml", "proto", "thrift", "py", "h", "js", "ts", "go", "c", "mod",
    "json", "sql", "lua", "service", "env", "conf", "txt",
];
/// Files outside of these folders.
const PAGES: [&str; 8] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "CODE_OF_CONDUCT.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "gateway/ARCHITECTURE.md",
];
/// What belongs to the repository and not to its readers.
const LEFT: [&str; 6] = ["build", "node_modules", "target", ".venv", "src", "tests"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes the book's source to `FOLDER/src` and its pages to `FOLDER/html`.
pub fn book(output: &Path) -> Result<()> {
    let source = output.join("src");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    for folder in FOLDERS {
        copy(&root().join(folder), &source.join(folder))?;
    }
    for file in PAGES {
        let target = source.join(file);
        fs::create_dir_all(target.parent().unwrap_or(&source))?;
        fs::copy(root().join(file), target).with_context(|| file.to_owned())?;
    }
    let reference = source.join("docs/reference");
    fs::create_dir_all(&reference)?;
    let mut plugins = String::new();
    for (name, page) in options::plugins()? {
        fs::write(reference.join(format!("{name}.md")), page)?;
        plugins.push_str(&format!("  - [{name}](docs/reference/{name}.md)\n"));
    }
    let interface = interface::page(&interface::text(&root().join("wit/0.2"))?);
    fs::write(reference.join("interface.md"), interface)?;
    fs::write(source.join("examples/README.md"), examples::page(&root().join("examples"))?)?;

    relink(&source, &source)?;

    let summary = fs::read_to_string(root().join("docs/SUMMARY.md"))?;
    for place in ["<!-- plugins -->\n", "<!-- interface -->\n"] {
        ensure!(summary.contains(place), "docs/SUMMARY.md has no line {place}");
    }
    // Its links are those of docs/, and the book's root is the repository's.
    let summary = summary.replace("](../", "](@/").replace("](", "](docs/").replace("](docs/@/", "](");
    let summary = summary.replace("<!-- plugins -->\n", &plugins);
    let interface = "- [The plugin interface](docs/reference/interface.md)\n";
    fs::write(source.join("SUMMARY.md"), summary.replace("<!-- interface -->\n", interface))?;
    fs::copy(root().join("docs/book.toml"), output.join("book.toml"))?;
    let mut book = MDBook::load(output)?;
    book.config.build.build_dir = PathBuf::from("html");
    book.build()
}

/// Has links lead to where pages are in the book, which is elsewhere for some.
fn relink(folder: &Path, source: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            relink(&path, source)?;
        } else if path.extension().is_some_and(|end| end == "md") {
            let text = fs::read_to_string(&path)?;
            let page = path.strip_prefix(source)?.to_owned();
            fs::write(&path, relinked(&text, &page))?;
        }
    }
    Ok(())
}

fn relinked(text: &str, page: &Path) -> String {
    let mut parts = text.split("](");
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        made.push_str("](");
        let end = part.find([')', '#', ' ', '\n']).unwrap_or(part.len());
        let (link, rest) = part.split_at(end);
        let parent = page.parent().unwrap_or(Path::new(""));
        let here = Some(link).filter(|link| !link.contains(':'));
        match here.and_then(|link| in_the_book(&normal(&parent.join(link)))) {
            Some(elsewhere) => {
                let up = "../".repeat(parent.components().count());
                made.push_str(&format!("{up}{elsewhere}"));
            }
            None => made.push_str(link),
        }
        made.push_str(rest);
    }
    made
}

/// Where a page of the repository is in the book, if it is elsewhere: plugins' guides are part of the reference, and mdBook calls
/// a folder's page `index`.
fn in_the_book(page: &Path) -> Option<String> {
    let page = page.to_str()?;
    let folder = page.strip_suffix("README.md")?.trim_end_matches('/');
    Some(match folder.split_once('/') {
        Some(("plugins", name)) => format!("docs/reference/{name}.md"),
        _ if folder.is_empty() => "index.md".to_owned(),
        _ => format!("{folder}/index.md"),
    })
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.into_iter().collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let target = to.join(&name);
        if path.is_dir() {
            if !LEFT.iter().any(|left| name == *left) || to.ends_with("hello-rust") {
                copy(&path, &target)?;
            }
        } else if path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known)) {
            fs::create_dir_all(to)?;
            fs::copy(&path, target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative links of a page, without what they lead to within it.
    fn links(html: &str) -> Vec<&str> {
        let parts = html.split("href=\"").skip(1).chain(html.split("src=\"").skip(1));
        let links = parts.filter_map(|rest| rest.split('"').next());
        links.map(|link| link.split(['#', '?']).next().unwrap_or_default()).filter(|link| !link.is_empty()).collect()
    }

    fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pages(&path, found);
            } else if path.extension().is_some_and(|end| end == "html") {
                found.push(path);
            }
        }
    }

    #[test]
    fn the_book_is_made_and_its_links_lead_somewhere() {
        let folder = tempfile::tempdir().unwrap();
        book(folder.path()).unwrap();
        let html = folder.path().join("html");
        let mut found = Vec::new();
        pages(&html, &mut found);
        assert!(found.len() > 40, "{found:?}");
        let mut broken = Vec::new();
        for page in &found {
            // It is put together of all pages, whose links are looked at where they stand.
            if page.ends_with("print.html") || page.ends_with("404.html") {
                continue;
            }
            for link in links(&fs::read_to_string(page).unwrap()) {
                let elsewhere = link.contains(':') || link.starts_with("//");
                let target = page.parent().unwrap().join(link);
                if !elsewhere && !target.exists() && !is_source(&target, &html) {
                    broken.push(format!("{}: {link}", page.strip_prefix(&html).unwrap().display()));
                }
            }
        }
        assert!(broken.is_empty(), "{} links lead nowhere:\n{}", broken.len(), broken.join("\n"));

        let read = |page: &str| fs::read_to_string(html.join("docs/reference").join(page)).unwrap();
        assert!(read("rate-limit.html").contains("units that a client gets back"));
        assert!(read("interface.html").contains("on-request: func"));
        assert!(read("configuration.html").contains("Where clients connect."));
        let examples = fs::read_to_string(html.join("examples/index.html")).unwrap();
        assert!(examples.contains("The least there is"));
    }

    #[test]
    fn links_lead_to_where_pages_are_in_the_book() {
        let text = "[a](../plugins/jwt/README.md#x), [b](other.md), [c](../README.md), [d](../wit/README.md), [e](https://a/README.md)";
        let expected = "[a](../docs/reference/jwt.md#x), [b](other.md), [c](../index.md), [d](../wit/index.md), [e](https://a/README.md)";
        assert_eq!(relinked(text, Path::new("docs/page.md")), expected);
    }

    /// Whether it is a file or a folder of the repository that is no page: readers of the book have the repository for it.
    fn is_source(target: &Path, html: &Path) -> bool {
        let path = normal(target.strip_prefix(html).unwrap_or(target));
        let there = root().join(&path);
        there.exists() && path.extension().is_none_or(|end| end != "md" && end != "html")
    }
}
