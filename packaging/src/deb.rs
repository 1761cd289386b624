//! The package for Debian and Ubuntu: an `ar` archive of two compressed tar archives (deb(5)).

use std::fmt::Write;

use anyhow::Result;

use crate::{
    product::Product,
    project::{DESCRIPTION, Project},
    tree::Tree,
};

pub fn package(product: &Product, project: &Project) -> Result<Vec<u8>> {
    let data = data(product)?;
    let control = control(product, project, &data);
    let mut archive = ar::Builder::new(Vec::new());
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", control.tar_gz("", project.time)?),
        ("data.tar.gz", data.tar_gz("", project.time)?),
    ];
    for (name, content) in members {
        let mut header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        header.set_mtime(project.time);
        header.set_mode(0o100_644);
        archive.append(&header, content.as_slice())?;
    }
    Ok(archive.into_inner()?)
}

fn data(product: &Product) -> Result<Tree> {
    let mut tree = product.installed()?;
    tree.file("etc/gateway/gateway.yaml", product.config.clone().into_bytes())
        .file("usr/share/zsh/vendor-completions/_gateway", product.zsh.clone());
    let mut copyright = String::new();
    for (name, text) in product.licences.files() {
        let _ = writeln!(copyright, "{name}\n\n{}\n", String::from_utf8_lossy(text));
    }
    tree.file("usr/share/doc/gateway/copyright", copyright.into_bytes());
    Ok(tree)
}

fn control(product: &Product, project: &Project, data: &Tree) -> Tree {
    let bytes: usize = data.files().map(|(_, content)| content.len()).sum();
    let mut tree = Tree::default();
    let control = format!(
        "Package: gateway
Version: {}
Architecture: {}
Maintainer: The gateway's developers <gateway@localhost>
Installed-Size: {}
Depends: passwd
Recommends: ca-certificates
Section: httpd
Priority: optional
Description: {DESCRIPTION}
 Routes, balances and protects HTTP/1.1, HTTP/2, gRPC and WebSocket traffic.
 The configuration is one YAML file. Plugins are WebAssembly components in
 Rust, JavaScript, TypeScript, Python, Go or C.
",
        project.package_version(),
        project.arch.debian,
        bytes.div_ceil(1024)
    );
    let scripts = [
        ("postinst", product.install_script("[ \"$1\" = configure ] || exit 0\nold=${2:-}")),
        ("prerm", product.remove_script("[ \"$1\" = remove ] || exit 0")),
        ("postrm", "[ \"$1\" = purge ] || exit 0\nrm -rf /var/cache/gateway /var/cache/private/gateway\n".to_owned()),
    ];
    tree.file("control", control.into_bytes()).file("conffiles", *b"/etc/gateway/gateway.yaml\n");
    for (name, script) in scripts {
        tree.program(name, format!("#!/bin/sh\nset -e\n{script}").into_bytes());
    }
    tree
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::{product::tests::product, project::Run};

    #[test]
    fn dpkg_reads_the_package() {
        let project = Project::here().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.deb");
        let bytes = package(&product(), &project).unwrap();
        assert_eq!(bytes, package(&product(), &project).unwrap(), "the same input gives the same bytes");
        fs::write(&file, bytes).unwrap();
        let dpkg = |args: &[&str]| Command::new("dpkg-deb").arg(args[0]).arg(&file).args(&args[1..]).output_text();
        assert_eq!(dpkg(&["--field", "Package"]).unwrap().trim(), "gateway");
        assert_eq!(dpkg(&["--field", "Version"]).unwrap().trim(), project.package_version());
        let listed = dpkg(&["--contents"]).unwrap();
        let line = listed.lines().find(|line| line.ends_with(" usr/bin/gateway")).unwrap();
        assert!(line.starts_with("-rwxr-xr-x root/root"), "{line}");
        let root = folder.path().join("root");
        dpkg(&["--raw-extract", root.to_str().unwrap()]).unwrap();
        for script in ["postinst", "prerm", "postrm"] {
            Command::new("sh").arg("-n").arg(root.join("DEBIAN").join(script)).run().unwrap();
        }
        let conffiles = fs::read_to_string(root.join("DEBIAN/conffiles")).unwrap();
        for file in conffiles.lines() {
            assert!(root.join(file.trim_start_matches('/')).is_file(), "{file}");
        }
    }
}
