//! What is installed: the program and the files that come with it.

use std::{fs, path::Path, process::Command, sync::Arc};

use anyhow::{Context, Result};

use crate::{
    project::{Project, Run},
    tree::{Tree, gzip},
};

/// The parts that the archive, the packages and the image are put together from.
#[derive(Debug)]
pub struct Product {
    pub binary: Arc<[u8]>,
    /// `gateway.1` and a page for each command.
    pub manual: Tree,
    pub bash: Vec<u8>,
    pub zsh: Vec<u8>,
    pub fish: Vec<u8>,
    /// The configuration that a package installs.
    pub config: String,
    /// The project's licences and those of what it is made of.
    pub licences: Tree,
    /// The unit for systemd, with the program in `/usr/bin`.
    unit: String,
    sysusers: String,
    install: String,
    remove: String,
}

impl Product {
    /// Asks the program for its manual pages and completions.
    pub fn of(binary: &Path, third_party: String, project: &Project) -> Result<Self> {
        let completions = |shell: &str| -> Result<Vec<u8>> {
            Ok(Command::new(binary).args(["completions", shell]).output_text()?.into_bytes())
        };
        let mut licences = project.licences()?;
        licences.file("THIRD-PARTY-LICENSES", third_party.into_bytes());
        Ok(Self {
            binary: fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?.into(),
            manual: manual(binary)?,
            bash: completions("bash")?,
            zsh: completions("zsh")?,
            fish: completions("fish")?,
            config: project.read("packaging/files/gateway.yaml")?,
            licences,
            unit: project.read("contrib/systemd/gateway.service")?.replace("/usr/local/bin/", "/usr/bin/"),
            sysusers: project.read("packaging/files/gateway.sysusers")?,
            install: project.read("packaging/files/install.sh")?,
            remove: project.read("packaging/files/remove.sh")?,
        })
    }

    /// The archive for any Linux.
    pub fn archive(&self, project: &Project) -> Result<Tree> {
        let mut tree = Tree::default();
        tree.program("gateway", self.binary.clone())
            .below("man/man1", &self.manual)
            .file("completions/gateway.bash", self.bash.clone())
            .file("completions/_gateway", self.zsh.clone())
            .file("completions/gateway.fish", self.fish.clone())
            .file("gateway.yaml", self.config.clone().into_bytes())
            .below("contrib", &project.files("contrib", |path| !path.starts_with("docker/"))?)
            .file("docs/installing.md", project.read("docs/installing.md")?.into_bytes());
        for (name, content) in self.licences.files() {
            tree.file(name, content.clone());
        }
        Ok(tree)
    }

    /// The files that packages of all distributions have in the same places, except the configuration.
    pub fn installed(&self) -> Result<Tree> {
        let mut tree = Tree::default();
        tree.program("usr/bin/gateway", self.binary.clone())
            .file("usr/lib/systemd/system/gateway.service", self.unit.clone().into_bytes())
            .file("usr/lib/sysusers.d/gateway.conf", self.sysusers.clone().into_bytes())
            .file("usr/share/bash-completion/completions/gateway", self.bash.clone())
            .file("usr/share/fish/vendor_completions.d/gateway.fish", self.fish.clone());
        for (name, page) in self.manual.files() {
            tree.file(format!("usr/share/man/man1/{name}.gz"), gzip(page)?);
        }
        Ok(tree)
    }

    /// The script after installation; `old` is shell that sets `$old`.
    pub fn install_script(&self, old: &str) -> String {
        format!("{old}\n{}", self.install)
    }

    /// The script before removal; `guard` is shell that exits at an upgrade.
    pub fn remove_script(&self, guard: &str) -> String {
        format!("{guard}\n{}", self.remove)
    }
}

fn manual(binary: &Path) -> Result<Tree> {
    let folder = tempfile::tempdir()?;
    Command::new(binary).arg("man").arg(folder.path()).run()?;
    let mut tree = Tree::default();
    for entry in fs::read_dir(folder.path())? {
        let path = entry?.path();
        let name = path.file_name().context("a page has a name")?.to_string_lossy().into_owned();
        tree.file(name, fs::read(&path)?);
    }
    Ok(tree)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A product whose program is a shell script.
    pub fn product() -> Product {
        let mut manual = Tree::default();
        manual.file("gateway.1", *b".TH gateway 1\n");
        let mut licences = Tree::default();
        licences.file("LICENSE-MIT", *b"MIT").file("THIRD-PARTY-LICENSES", *b"others");
        let project = Project::here().unwrap();
        Product {
            binary: Arc::from(&b"#!/bin/sh\necho gateway\n"[..]),
            manual,
            bash: b"complete gateway\n".to_vec(),
            zsh: b"#compdef gateway\n".to_vec(),
            fish: b"complete -c gateway\n".to_vec(),
            config: project.read("packaging/files/gateway.yaml").unwrap(),
            licences,
            unit: "[Service]\n".to_owned(),
            sysusers: project.read("packaging/files/gateway.sysusers").unwrap(),
            install: project.read("packaging/files/install.sh").unwrap(),
            remove: project.read("packaging/files/remove.sh").unwrap(),
        }
    }

    #[test]
    fn scripts_are_shell() {
        let product = product();
        for script in [product.install_script("old=$2"), product.remove_script("[ $1 = remove ] || exit 0")] {
            Command::new("sh").args(["-n", "-c", &script]).run().unwrap();
        }
    }
}
