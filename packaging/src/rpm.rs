//! The package for Fedora, Red Hat, SUSE and their relatives.

use anyhow::{Context, Result};
use rpm::{BuildConfig, CompressionWithLevel, Dependency, FileOptions, PackageBuilder, Scriptlet};

use crate::{
    product::Product,
    project::{DESCRIPTION, LICENCE, Project},
};

pub fn package(product: &Product, project: &Project) -> Result<Vec<u8>> {
    let time = u32::try_from(project.time).context("rpm has 32 bits for times")?;
    // No space for a signature is reserved: packages are signed by cosign's format, beside them.
    let config = BuildConfig::v4().source_date(time).compression(CompressionWithLevel::Gzip(9)).reserved_space(None);
    let mut builder =
        PackageBuilder::new("gateway", &project.package_version(), LICENCE, project.arch.name, DESCRIPTION);
    builder
        .using_config(config)
        .release("1")
        .build_host("localhost")
        .description(
            "Routes, balances and protects HTTP/1.1, HTTP/2, gRPC and WebSocket traffic. The configuration is one YAML \
             file. Plugins are WebAssembly components in Rust, JavaScript, TypeScript, Python, Go or C.",
        )
        .requires(Dependency::any("/bin/sh"))
        .recommends(Dependency::any("ca-certificates"))
        .post_install_script(script(product.install_script("[ \"$1\" -gt 1 ] && old=yes || old=")))
        .pre_uninstall_script(script(product.remove_script("[ \"$1\" = 0 ] || exit 0")));
    let mut tree = product.installed()?;
    tree.file("usr/share/zsh/site-functions/_gateway", product.zsh.clone());
    for (path, content) in tree.files() {
        let mode = if path.starts_with("usr/bin/") { 0o755 } else { 0o644 };
        let options = FileOptions::new(format!("/{path}")).permissions(mode);
        let options = if path.starts_with("usr/share/man/") { options.doc() } else { options };
        builder.with_file_contents(content.to_vec(), options)?;
    }
    builder.with_dir_entry(FileOptions::dir("/etc/gateway").permissions(0o755))?;
    let options = FileOptions::new("/etc/gateway/gateway.yaml").permissions(0o644).config().noreplace();
    builder.with_file_contents(product.config.clone(), options)?;
    for (name, text) in product.licences.files() {
        let options = FileOptions::new(format!("/usr/share/licenses/gateway/{name}")).permissions(0o644).license();
        builder.with_file_contents(text.to_vec(), options)?;
    }
    let mut bytes = Vec::new();
    builder.build()?.write(&mut bytes)?;
    Ok(bytes)
}

fn script(text: String) -> Scriptlet {
    Scriptlet::new(text).prog(vec!["/bin/sh"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::tests::product;

    #[test]
    fn a_package_has_the_files_with_their_modes_and_the_configuration_as_such() {
        let project = Project::here().unwrap();
        let bytes = package(&product(), &project).unwrap();
        assert_eq!(bytes, package(&product(), &project).unwrap(), "the same input gives the same bytes");
        let package = rpm::Package::parse(&mut bytes.as_slice()).unwrap();
        package.verify_digests().unwrap();
        assert_eq!(package.metadata.get_name().unwrap(), "gateway");
        let files = package.metadata.get_file_entries().unwrap();
        let file = |path: &str| files.iter().find(|file| file.path().to_str() == Some(path)).unwrap();
        assert_eq!(file("/usr/bin/gateway").mode().permissions(), 0o755);
        assert!(file("/etc/gateway/gateway.yaml").flags().contains(rpm::FileFlags::CONFIG));
        assert!(file("/usr/share/licenses/gateway/LICENSE-MIT").flags().contains(rpm::FileFlags::LICENSE));
    }
}
