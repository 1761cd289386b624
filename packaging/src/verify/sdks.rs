//! A new project for each language whose SDK is the artefact, built to a component and tested.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{Artefacts, says};
use crate::project::Run;

/// A project of `gateway plugin new`, without the SDK that it brings along.
struct Plugin {
    gateway: PathBuf,
    folder: PathBuf,
}

impl Plugin {
    fn new(artefacts: &Artefacts<'_>, language: &str, vendor: &str) -> Result<Self> {
        let scratch = artefacts.scratch(language)?;
        let gateway = artefacts.gateway()?;
        Command::new(&gateway)
            .args(["plugin", "new", "greeter", "--lang", language])
            .current_dir(&scratch)
            .output_text()?;
        let folder = scratch.join("greeter");
        fs::remove_dir_all(folder.join(vendor)).with_context(|| format!("a project in {language} has no {vendor}"))?;
        Ok(Self { gateway, folder })
    }

    /// Replaces text in a file of the project, where it must be.
    fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let file = self.folder.join(file);
        let text = fs::read_to_string(&file)?;
        says(&text, from)?;
        fs::write(file, text.replace(from, to))?;
        Ok(())
    }

    /// Builds the component and runs the project's cases against it.
    fn works(&self, variables: &[(&str, &str)]) -> Result<()> {
        let plugin = |command: &str| {
            let mut gateway = Command::new(&self.gateway);
            gateway.args(["plugin", command]).current_dir(&self.folder).envs(variables.iter().copied());
            // The target folder is the project's own.
            gateway.env_remove("CARGO_TARGET_DIR").output_text()
        };
        plugin("build")?;
        plugin("test")?;
        Ok(())
    }
}

fn unpack(archive: &Path, into: &Path, strip: usize) -> Result<()> {
    fs::create_dir_all(into)?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(into).arg(format!("--strip-components={strip}")).run()
}

/// The crates replace those of crates.io, where they are not yet.
pub(super) fn rust(artefacts: &Artefacts<'_>) -> Result<()> {
    let plugin = Plugin::new(artefacts, "rust", "vendor")?;
    let version = &artefacts.project.version;
    let local = plugin.folder.join("../registry");
    for name in ["plugin-sdk", "gateway-rules"] {
        unpack(&artefacts.file(&format!("{name}-{version}.crate")), &local.join(name), 1)?;
        let manifest = fs::read_to_string(local.join(name).join("Cargo.toml"))?;
        ensure!(!manifest.contains("path = \"../"), "{name} names a folder that only the workspace has");
    }
    plugin.edit("Cargo.toml", "{ path = \"vendor/plugin-sdk\" }", &format!("\"{version}\""))?;
    let patch = "\n[patch.crates-io]\nplugin-sdk = { path = \"../registry/plugin-sdk\" }\ngateway-rules = { path = \
                 \"../registry/gateway-rules\" }\n";
    let manifest = fs::read_to_string(plugin.folder.join("Cargo.toml"))?;
    fs::write(plugin.folder.join("Cargo.toml"), manifest + patch)?;
    plugin.works(&[])
}

pub(super) fn javascript(artefacts: &Artefacts<'_>) -> Result<()> {
    let plugin = Plugin::new(artefacts, "javascript", "vendor")?;
    let package = artefacts.file(&format!("gateway-plugin-{}.tgz", artefacts.project.version));
    plugin.edit("package.json", "file:vendor/gateway-plugin", &format!("file:{}", package.display()))?;
    plugin.edit("plugin.yaml", "from: [package.json, vendor/gateway-plugin/package.json]", "from: [package.json]")?;
    plugin.works(&[])?;
    let installed = plugin.folder.join("node_modules/gateway-plugin");
    ensure!(installed.join("README.md").is_file() && installed.join("LICENSE-MIT").is_file(), "files are missing");
    Ok(())
}

pub(super) fn python(artefacts: &Artefacts<'_>) -> Result<()> {
    let plugin = Plugin::new(artefacts, "python", "vendor")?;
    let requirement =
        format!("--find-links {}\ngateway-plugin=={}", artefacts.folder.display(), artefacts.project.version);
    plugin.edit("requirements.txt", "mashumaro==3.23", &requirement)?;
    plugin.edit("plugin.yaml", " --python-path, vendor,", "")?;
    plugin.works(&[])?;
    ensure!(plugin.folder.join("build/packages/gateway_plugin/py.typed").is_file(), "it is not installed");
    Ok(())
}

/// From a module proxy that is a folder.
pub(super) fn go(artefacts: &Artefacts<'_>) -> Result<()> {
    let plugin = Plugin::new(artefacts, "go", "sdk")?;
    let (module, version) = (artefacts.go_module, &artefacts.project.version);
    plugin.edit("go.mod", "require gateway-plugin v0.1.0", &format!("require {module} v{version}"))?;
    plugin.edit("go.mod", "replace gateway-plugin => ./sdk/gateway-plugin", "")?;
    plugin.edit("plugin.go", "\"gateway-plugin\"", &format!("\"{module}\""))?;
    // Without the second flag the downloaded module is read-only, and cannot be removed.
    plugin.edit("plugin.yaml", "GOFLAGS: \"\"", "GOFLAGS: \"-mod=mod -modcacherw\"")?;
    let proxy = format!("file://{}/goproxy", artefacts.folder.display());
    let modules = plugin.folder.join("../modules");
    let modules = modules.to_str().context("the path is text")?.to_owned();
    // The checksum database knows only what is published.
    plugin.works(&[("GOPROXY", &proxy), ("GONOSUMDB", module), ("GOMODCACHE", &modules)])
}

pub(super) fn c(artefacts: &Artefacts<'_>) -> Result<()> {
    let plugin = Plugin::new(artefacts, "c", "vendor")?;
    let archive = artefacts.file(&format!("gateway-plugin-c-{}.tar.gz", artefacts.project.version));
    unpack(&archive, &plugin.folder.join("vendor/gateway-plugin"), 1)?;
    plugin.works(&[])
}

/// componentize-py generates bindings from the binary package in place of the text.
pub(super) fn wit(artefacts: &Artefacts<'_>) -> Result<()> {
    let template = artefacts.project.read("gateway/src/project/templates/python/plugin.yaml.in")?;
    let tool = template.split_once("componentize-py==").and_then(|(_, rest)| rest.split(']').next());
    let tool = format!("componentize-py=={}", tool.context("the template names the tool's version")?);
    let scratch = artefacts.scratch("wit")?;
    let venv = scratch.join("venv");
    Command::new("python3").args(["-m", "venv"]).arg(&venv).run()?;
    let install = ["install", "--quiet", "--disable-pip-version-check", &tool];
    Command::new(venv.join("bin/pip")).args(install).run()?;
    let is_package = |name: &str| name.starts_with("gateway-plugin-wit-") && name.ends_with(".wasm");
    let names =
        fs::read_dir(&artefacts.folder)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let package = names.into_iter().find(|name| is_package(name)).context("there is no WIT package")?;
    let bindings = scratch.join("bindings");
    let mut componentize = Command::new(venv.join("bin/componentize-py"));
    componentize.arg("--wit-path").arg(artefacts.file(&package)).args(["--world", "plugin", "bindings"]).arg(&bindings);
    componentize.output_text()?;
    let store = fs::read_to_string(bindings.join("wit_world/imports/store.py"))?;
    says(&store, "class ")
}
