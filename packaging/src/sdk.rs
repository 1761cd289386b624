//! The SDKs and the plugin interface, as the languages' registries take them.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wit_parser::Resolve;

use crate::{
    project::{LICENCE, Project, Run},
    tree::Tree,
};

/// The artefacts of all languages, by their file names. `go_module` is the path that the Go module has.
pub fn packages(project: &Project, go_module: &str) -> Result<Tree> {
    let mut all = Tree::default();
    for (name, content) in crates(project)?.files() {
        all.file(name, content.clone());
    }
    let version = &project.version;
    all.file(format!("gateway-plugin-{version}.tgz"), npm(project)?)
        .file(format!("gateway_plugin-{version}-py3-none-any.whl"), wheel(project)?)
        .file(format!("gateway-plugin-c-{version}.tar.gz"), c(project)?)
        .below("goproxy", &go(project, go_module)?);
    let (interface, wit) = wit(project)?;
    all.file(format!("gateway-plugin-wit-{interface}.wasm"), wit);
    Ok(all)
}

/// How the SDK names a module of the rules that it compiles itself.
const SHARED: &str = "#[path = \"../../gateway/rules/src/";

/// `plugin-sdk` and `gateway-rules`, which its test kit applies, made by `cargo package`.
fn crates(project: &Project) -> Result<Tree> {
    let folder = tempfile::tempdir()?;
    let stage = |tree: &Tree, below: &str| write(tree, &folder.path().join(below));
    let templates = "gateway/src/project/templates/rust";
    // The manifests of new projects stand by themselves; those here inherit from the workspace.
    let manifest = |name: &str| -> Result<String> {
        let text =
            project.read(&format!("{templates}/{name}"))?.replace("publish = false\n", "readme = \"README.md\"\n");
        let version = text.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
        same_version(name, version, project)?;
        Ok(text)
    };
    let mut sdk = Tree::default();
    sdk.below("src", &project.files("plugin-sdk/src", |_| true)?)
        .below("wit/0.2", &project.files("wit/0.2", |_| true)?);
    // Modules that both crates compile: in the workspace one file, here a copy.
    for (path, content) in project.files("plugin-sdk/src", |path| path.ends_with(".rs"))?.files() {
        let text = String::from_utf8_lossy(content);
        let Some((_, rest)) = text.split_once(SHARED) else { continue };
        let name = rest.split('"').next().context("a path ends")?.to_owned();
        let shared = project.read(&format!("gateway/rules/src/{name}"))?;
        let folder = path.rsplit_once('/').map_or("src".to_owned(), |(folder, _)| format!("src/{folder}"));
        sdk.file(format!("src/{path}"), text.replace(SHARED, "#[path = \"").into_bytes());
        sdk.file(format!("{folder}/{name}"), shared.into_bytes());
    }
    let generated = project.read("plugin-sdk/src/host/generated.rs")?;
    ensure!(generated.contains("\"../wit/0.2\""), "plugin-sdk/src/host/generated.rs names another folder");
    sdk.file("src/host/generated.rs", generated.replace("\"../wit/0.2\"", "\"wit/0.2\"").into_bytes());
    sdk.file("README.md", project.read("plugin-sdk/README.md")?.into_bytes());
    let own = format!("{{ version = \"={}\", path = \"../gateway-rules\",", project.version);
    let text = manifest("sdk.toml.in")?;
    ensure!(text.contains("{ path = \"../gateway/rules\","), "the SDK's manifest names the rules elsewhere");
    sdk.file("Cargo.toml", text.replace("{ path = \"../gateway/rules\",", &own).into_bytes());
    let mut rules = Tree::default();
    rules.below("src", &project.files("gateway/rules/src", |_| true)?);
    rules.file("README.md", *b"The rules of an exchange that the gateway and the test kit of `plugin-sdk` share.\n");
    rules.file("Cargo.toml", manifest("rules.toml.in")?.into_bytes());
    for (tree, name) in [(&mut sdk, "plugin-sdk"), (&mut rules, "gateway-rules")] {
        for (file, content) in project.licences()?.files() {
            tree.file(file, content.clone());
        }
        stage(tree, name)?;
    }
    let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"plugin-sdk\", \"gateway-rules\"]\n";
    fs::write(folder.path().join("Cargo.toml"), workspace)?;
    // The versions that are tested here: nothing is looked up.
    fs::copy(project.root.join("Cargo.lock"), folder.path().join("Cargo.lock"))?;
    project
        .cargo()
        .current_dir(folder.path())
        .args(["package", "--quiet", "--workspace", "--no-verify", "--allow-dirty", "--target-dir", "target"])
        .run()?;
    let mut made = Tree::default();
    for name in ["plugin-sdk", "gateway-rules"] {
        let file = format!("{name}-{}.crate", project.version);
        made.file(file.clone(), fs::read(folder.path().join("target/package").join(file))?);
    }
    Ok(made)
}

/// The archive that `npm pack` makes: what `files` of package.json names, below `package/`.
fn npm(project: &Project) -> Result<Vec<u8>> {
    let folder = "plugin-sdk/javascript";
    let package: Value = serde_json::from_str(&project.read(&format!("{folder}/package.json"))?)?;
    same_version("package.json", package["version"].as_str(), project)?;
    let files: Vec<&str> = package["files"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wanted = |path: &str| {
        let in_files = files.iter().any(|pattern| pattern.strip_prefix('*').is_some_and(|end| path.ends_with(end)));
        !path.contains('/') && (in_files || ["package.json", "README.md"].contains(&path))
    };
    let mut tree = project.files(folder, wanted)?;
    with_licences(&mut tree, project)?;
    tree.tar_gz("package/", project.time)
}

/// A wheel (the "binary distribution format" of Python's packaging specifications) of modules without native code.
fn wheel(project: &Project) -> Result<Vec<u8>> {
    let folder = "plugin-sdk/python";
    let manifest: toml::Table = project.read(&format!("{folder}/pyproject.toml"))?.parse()?;
    let about = manifest.get("project").context("pyproject.toml has no [project]")?;
    let text = |key: &str| about.get(key).and_then(toml::Value::as_str);
    same_version("pyproject.toml", text("version"), project)?;
    let of = |key: &str| text(key).with_context(|| format!("pyproject.toml has no {key}"));
    let mut metadata = format!(
        "Metadata-Version: 2.4\nName: {}\nVersion: {}\nSummary: {}\nLicense-Expression: {LICENCE}\nRequires-Python: {}\n",
        of("name")?,
        of("version")?,
        of("description")?,
        of("requires-python")?
    );
    let dependencies = about.get("dependencies").and_then(toml::Value::as_array);
    for dependency in dependencies.into_iter().flatten().filter_map(toml::Value::as_str) {
        metadata.push_str(&format!("Requires-Dist: {dependency}\n"));
    }
    for file in project.licences()?.files() {
        metadata.push_str(&format!("License-File: {}\n", file.0));
    }
    metadata.push_str("Description-Content-Type: text/markdown\n\n");
    metadata.push_str(&project.read(&format!("{folder}/README.md"))?);
    let info = format!("gateway_plugin-{}.dist-info", project.version);
    let module = |path: &str| path.ends_with(".py") || path == "py.typed";
    let mut tree = Tree::default();
    tree.below("gateway_plugin", &project.files(&format!("{folder}/gateway_plugin"), module)?)
        .below(&format!("{info}/licenses"), &project.licences()?)
        .file(format!("{info}/METADATA"), metadata.into_bytes())
        .file(
            format!("{info}/WHEEL"),
            *b"Wheel-Version: 1.0\nGenerator: cargo xtask package\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        );
    let mut record = String::new();
    for (path, content) in tree.files() {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        let digest = <base64ct::Base64UrlUnpadded as base64ct::Encoding>::encode_string(digest.as_ref());
        record.push_str(&format!("{path},sha256={digest},{}\n", content.len()));
    }
    record.push_str(&format!("{info}/RECORD,,\n"));
    tree.file(format!("{info}/RECORD"), record.into_bytes());
    tree.zip()
}

/// What a module proxy serves of the module: a folder that is one, for `GOPROXY=file://…` or any web server.
fn go(project: &Project, module: &str) -> Result<Tree> {
    let host = module.split('/').next().unwrap_or_default();
    ensure!(
        host.contains('.') && module == module.to_lowercase(),
        "{module}: a module's path begins with a host's name"
    );
    let version = format!("v{}", project.version);
    let wanted =
        |path: &str| [".go", ".s"].iter().any(|end| path.ends_with(end)) || ["go.mod", "README.md"].contains(&path);
    let mut tree = project.files("plugin-sdk/go", wanted)?;
    let manifest = project.read("plugin-sdk/go/go.mod")?;
    ensure!(manifest.starts_with("module gateway-plugin\n"), "plugin-sdk/go/go.mod is another module's");
    let manifest = manifest.replacen("module gateway-plugin\n", &format!("module {module}\n"), 1);
    tree.file("go.mod", manifest.clone().into_bytes());
    with_licences(&mut tree, project)?;
    let mut zip = Tree::default();
    zip.below(&format!("{module}@{version}"), &tree);
    let info = serde_json::json!({ "Version": version, "Time": crate::project::rfc3339(project.time) });
    let at = format!("{module}/@v");
    let mut proxy = Tree::default();
    proxy
        .file(format!("{at}/list"), format!("{version}\n").into_bytes())
        .file(format!("{at}/{version}.info"), crate::project::json(&info))
        .file(format!("{at}/{version}.mod"), manifest.into_bytes())
        .file(format!("{at}/{version}.zip"), zip.zip()?);
    Ok(proxy)
}

fn c(project: &Project) -> Result<Vec<u8>> {
    let mut tree = project.files("plugin-sdk/c", |path| path.ends_with(".c") || path.ends_with(".h"))?;
    tree.file("README.md", project.read("packaging/files/README-c.md")?.into_bytes());
    with_licences(&mut tree, project)?;
    tree.tar_gz(&format!("gateway-plugin-c-{}/", project.version), project.time)
}

/// The plugin interface as a package in WIT's binary form, which `wkg` publishes and tools read in place of text. Also its
/// version, which is not the gateway's.
fn wit(project: &Project) -> Result<(String, Vec<u8>)> {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    let (package, _) = resolve.push_dir(project.root.join("wit/0.2"))?;
    let version = resolve.packages[package].name.version.as_ref().context("the interface has a version")?.to_string();
    Ok((version, wit_component::encode(&resolve, package)?))
}

fn with_licences(tree: &mut Tree, project: &Project) -> Result<()> {
    for (name, content) in project.licences()?.files() {
        tree.file(name, content.clone());
    }
    Ok(())
}

fn same_version(file: &str, version: Option<&str>, project: &Project) -> Result<()> {
    let version = version.with_context(|| format!("{file} has no version"))?;
    ensure!(version == project.version, "{file} has version {version}, and the workspace {}", project.version);
    Ok(())
}

/// Writes the files of a tree into a folder.
pub fn write(tree: &Tree, folder: &Path) -> Result<()> {
    for (path, content) in tree.files() {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const MODULE: &str = "example.com/gateway-plugin";

    #[test]
    fn the_same_sources_give_the_same_bytes() {
        let project = Project::here().unwrap();
        let (one, other) = (packages(&project, MODULE).unwrap(), packages(&project, MODULE).unwrap());
        let files =
            |tree: &Tree| tree.files().map(|(name, content)| (name.to_owned(), content.clone())).collect::<Vec<_>>();
        for (one, other) in files(&one).iter().zip(&files(&other)) {
            assert!(one == other, "{}", one.0);
        }
    }

    #[test]
    fn python_imports_the_wheel_and_finds_its_version() {
        let project = Project::here().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway_plugin-py3-none-any.whl");
        fs::write(&file, wheel(&project).unwrap()).unwrap();
        let code = "import importlib.metadata as m, hashlib, base64, sys
d = next(m.distributions(name='gateway-plugin', path=[sys.argv[1]]))
import zipfile
z = zipfile.ZipFile(sys.argv[1])
lines = [line.rsplit(',', 2) for line in z.read(next(n for n in z.namelist() if n.endswith('RECORD'))).decode().split()]
assert sorted(line[0] for line in lines) == sorted(z.namelist())
for name, digest, size in lines:
    if digest:
        data = z.read(name)
        assert digest == 'sha256=' + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('='), name
        assert int(size) == len(data), name
print(d.version, d.requires)";
        let said = Command::new("python3").args(["-c", code]).arg(&file).output_text().unwrap();
        assert!(said.starts_with(&format!("{} ['mashumaro", project.version)), "{said}");
    }

    #[test]
    fn the_interface_decodes_to_every_interface_in_wit() {
        let project = Project::here().unwrap();
        let (version, bytes) = wit(&project).unwrap();
        let decoded = wit_component::decode(&bytes).unwrap();
        let package = &decoded.resolve().packages[decoded.package()];
        assert_eq!(package.name.to_string(), format!("gateway:plugin@{version}"));
        for (name, _) in project.files("wit/0.2", |path| path != "worlds.wit").unwrap().files() {
            assert!(package.interfaces.contains_key(name.trim_end_matches(".wit")), "no {name}");
        }
        assert!(package.worlds.contains_key("plugin"));
    }

    #[test]
    fn the_crates_name_no_file_outside_them() {
        let project = Project::here().unwrap();
        let folder = tempfile::tempdir().unwrap();
        write(&crates(&project).unwrap(), folder.path()).unwrap();
        for name in ["plugin-sdk", "gateway-rules"] {
            let archive = folder.path().join(format!("{name}-{}.crate", project.version));
            Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).run().unwrap();
            let sources = folder.path().join(format!("{name}-{}", project.version));
            assert!(sources.join("src/lib.rs").is_file() && sources.join("LICENSE-MIT").is_file());
            let outside = Command::new("grep")
                .args(["-rnE", "\"(\\.\\./)+(gateway|wit|plugin-sdk)"])
                .arg(sources.join("src"))
                .output();
            assert_eq!(String::from_utf8(outside.unwrap().stdout).unwrap(), "");
        }
    }

    #[test]
    fn a_module_without_a_host_is_refused() {
        let project = Project::here().unwrap();
        assert!(go(&project, "gateway-plugin").is_err());
    }
}
