//! `cargo xtask package`: the artefacts of a release, and their verification. docs/releasing.md describes them.

mod binary;
mod deb;
mod graph;
mod hash;
mod image;
mod licences;
mod product;
mod project;
mod rpm;
mod sbom;
mod sdk;
mod sign;
mod system;
mod tree;
mod verify;

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use graph::{Graph, graph};
use product::Product;
use project::Project;
use sign::{Key, PUBLIC_KEY, SUMS};
use tree::Tree;

/// Build the artefacts of a release: archive, .deb, .rpm, container image, SDKs, bill of materials, checksums, signatures.
#[derive(Parser)]
#[command(name = "cargo xtask package", max_term_width = 100)]
struct Options {
    /// Package this program in place of building a static one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Fail unless this is the workspace's version, such as from a tag
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Sign with this key: ECDSA P-256 in PKCS#8, PEM
    #[arg(long, value_name = "PEM")]
    key: Option<PathBuf>,
    /// The folder for the artefacts; `package` in cargo's target folder if left out
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The path that the SDK's Go module has, which is where it is published
    #[arg(long, value_name = "MODULE", default_value = "example.com/gateway-plugin")]
    go_module: String,
    /// Verify the artefacts with other programs afterwards: install, start, build a plugin with each SDK. Needs root and
    /// Debian
    #[arg(long)]
    verify: bool,
    /// Verify what is in the folder already, without building anything; also single steps
    #[arg(long, value_name = "STEP,…", value_delimiter = ',', num_args = 0.., conflicts_with = "verify")]
    only_verify: Option<Vec<String>>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let project = Project::here()?;
    if let Some(version) = &options.version {
        let own = &project.version;
        ensure!(
            version.trim_start_matches('v') == own,
            "{version} is to be packaged, and the workspace's version is {own}"
        );
    }
    // The key is read first: a wrong one is reported before the build.
    let key = options.key.as_deref().map(Key::read).transpose()?;
    let output = options.output.clone().unwrap_or_else(|| project.target_dir.join("package"));
    let names = Names::of(&project);
    if let Some(steps) = &options.only_verify {
        return verify::run(&project, &names, &output, &options.go_module, steps);
    }
    let artefacts = build(options, &project, &names)?;
    write(&artefacts, key.as_ref(), &output)?;
    if options.verify {
        verify::run(&project, &names, &output, &options.go_module, &[])?;
    }
    Ok(())
}

/// What the artefacts are called.
#[derive(Debug)]
pub struct Names {
    pub archive: String,
    pub deb: String,
    pub rpm: String,
    pub image: String,
    pub image_payload: String,
    pub sbom: String,
}

impl Names {
    fn of(project: &Project) -> Self {
        let (version, package, arch) = (&project.version, project.package_version(), project.arch);
        Self {
            archive: format!("gateway-{version}-linux-{}.tar.gz", arch.name),
            deb: format!("gateway_{package}_{}.deb", arch.debian),
            rpm: format!("gateway-{package}-1.{}.rpm", arch.name),
            image: format!("gateway-{version}-linux-{}.oci.tar", arch.name),
            image_payload: format!("gateway-{version}-linux-{}.oci.payload.json", arch.name),
            sbom: format!("gateway-{version}-linux-{}.cdx.json", arch.name),
        }
    }
}

fn build(options: &Options, project: &Project, names: &Names) -> Result<Tree> {
    let binary = match &options.binary {
        Some(binary) => fs::canonicalize(binary).with_context(|| format!("there is no {}", binary.display()))?,
        None => binary::build(project)?,
    };
    binary::check(&binary, &project.version)?;
    println!("listing what the gateway is made of");
    let gateway = graph(project, "gateway", project.arch.musl)?;
    let plugins = plugins(project)?;
    let graphs: Vec<&Graph> = [&gateway].into_iter().chain(plugins.values()).collect();
    let product = Product::of(&binary, licences::third_party(&graphs)?, project)?;
    if !binary::is_static(&product.binary) {
        println!("warning: {} is not static: packages and image work only where its libraries are", binary.display());
    }
    println!("packaging");
    let image = image::image(&product, project)?;
    let mut all = sdk::packages(project, &options.go_module)?;
    let prefix = format!("{}/", names.archive.trim_end_matches(".tar.gz"));
    all.file(&names.archive, product.archive(project)?.tar_gz(&prefix, project.time)?)
        .file(&names.deb, deb::package(&product, project)?)
        .file(&names.rpm, rpm::package(&product, project)?)
        .file(&names.sbom, sbom::document(project, &product.binary, &gateway, &plugins)?)
        .file(&names.image, image.archive)
        .file(&names.image_payload, sign::image_payload(&image.digest));
    Ok(all)
}

/// The standard plugins, by the names of their packages.
fn plugins(project: &Project) -> Result<BTreeMap<String, Graph>> {
    let mut plugins = BTreeMap::new();
    for entry in fs::read_dir(project.root.join("plugins"))? {
        let folder = entry?.path();
        if folder.join("Cargo.toml").is_file() {
            let name = folder.file_name().context("a folder has a name")?.to_string_lossy();
            let name = format!("plugin-{name}");
            let graph = graph(project, &name, "wasm32-wasip2")?;
            plugins.insert(name, graph);
        }
    }
    Ok(plugins)
}

/// Writes the artefacts into an empty folder, their checksums, and the signatures of all.
fn write(artefacts: &Tree, key: Option<&Key>, output: &std::path::Path) -> Result<()> {
    if output.exists() {
        // What an earlier version left behind would be released too.
        let is_ours = output.join(SUMS).is_file() || fs::read_dir(output)?.next().is_none();
        ensure!(is_ours, "{} has other files in it", output.display());
        fs::remove_dir_all(output).with_context(|| format!("cannot empty {}", output.display()))?;
    }
    let mut all = artefacts.clone();
    let sums = sign::sums(artefacts.files().map(|(name, content)| (name, &content[..])));
    all.file(SUMS, sums.into_bytes());
    if let Some(key) = key {
        let mut signed = Tree::default();
        for (name, content) in all.files().filter(|(name, _)| !name.starts_with("goproxy/")) {
            signed.file(format!("{name}.sig"), key.sign(content)?.into_bytes());
        }
        signed.file(PUBLIC_KEY, key.public()?.into_bytes());
        for (name, content) in signed.files() {
            all.file(name, content.clone());
        }
    } else {
        println!("not signed: there is no --key");
    }
    sdk::write(&all, output)?;
    for (name, content) in artefacts.files() {
        println!("{:>12} {name}", content.len());
    }
    println!("{}", output.display());
    Ok(())
}
