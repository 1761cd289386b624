//! What people forget and a compiler does not see. Every finding names the file and the cure.

mod layout;
mod links;
mod modules;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::shell::{output, root};

/// A text file of the project; its path is relative to the root, with `/`.
pub struct Source {
    pub path: String,
    pub text: String,
}

pub fn run() -> Result<()> {
    let sources = sources()?;
    let mut findings = layout::check(&sources);
    findings.extend(links::check(&sources, &|path: &Path| root().join(path).exists()));
    findings.extend(modules::check(&sources));
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} untidy places", findings.len());
    }
    println!("{} files are tidy", sources.len());
    Ok(())
}

/// Every text file that git knows or would add.
fn sources() -> Result<Vec<Source>> {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(root());
    let listing = output(&mut git).context("the tidiness check lists files through git")?;
    let mut sources = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        let file: PathBuf = root().join(path);
        // A file that was deleted and is still in the index, or that is not text.
        if let Ok(text) = fs::read_to_string(file) {
            sources.push(Source { path: path.to_owned(), text });
        }
    }
    Ok(sources)
}

#[cfg(test)]
pub fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}
