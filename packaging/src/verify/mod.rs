//! Other programs try the artefacts: they check sums and signatures, install the packages and serve a request, and build a
//! plugin with each SDK.

mod install;
mod sdks;
mod signed;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    Names,
    project::{Project, Run},
    system,
};

/// The artefacts and where to try them.
struct Artefacts<'a> {
    project: &'a Project,
    names: &'a Names,
    folder: PathBuf,
    go_module: &'a str,
    scratch: PathBuf,
}

type Step = fn(&Artefacts<'_>) -> Result<()>;

const STEPS: [(&str, Step); 13] = [
    ("sums", signed::sums),
    ("signatures", signed::signatures),
    ("sbom", signed::sbom),
    ("archive", install::archive),
    ("deb", install::deb),
    ("rpm", install::rpm),
    ("image", install::image),
    ("rust", sdks::rust),
    ("javascript", sdks::javascript),
    ("python", sdks::python),
    ("go", sdks::go),
    ("c", sdks::c),
    ("wit", sdks::wit),
];

/// The programs that the steps start, and Debian's packages that have them.
const PROGRAMS: [(&str, &str); 10] = [
    ("curl", "curl"),
    ("debootstrap", "debootstrap"),
    ("dpkg-deb", "dpkg"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("python3", "python3-venv"),
    ("rpm", "rpm"),
    ("rpm2cpio", "rpm2cpio"),
    ("cpio", "cpio"),
    ("skopeo", "skopeo"),
];

/// Takes all steps, or those that are named, and says how each ended.
pub fn run(project: &Project, names: &Names, folder: &Path, go_module: &str, wanted: &[String]) -> Result<()> {
    for name in wanted {
        let known: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
        ensure!(known.contains(&name.as_str()), "there is no step {name}; there are {}", known.join(", "));
    }
    let missing: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| system::find(program).is_none()).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        system::install(&missing)?;
    }
    let folder = fs::canonicalize(folder).with_context(|| format!("there is no {}", folder.display()))?;
    let scratch = project.target_dir.join("package-verification");
    let artefacts = Artefacts { project, names, folder, go_module, scratch };
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        match step(&artefacts) {
            Ok(()) => println!("verified: {name}"),
            Err(error) => {
                println!("FAILED: {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    ensure!(failed.is_empty(), "not verified: {}", failed.join(", "));
    Ok(())
}

impl Artefacts<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// An empty folder for a step.
    fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The gateway out of the archive, which other steps use too.
    fn gateway(&self) -> Result<PathBuf> {
        let folder = self.scratch.join("archive");
        let name = self.names.archive.trim_end_matches(".tar.gz");
        let program = folder.join(name).join("gateway");
        let archive = self.file(&self.names.archive);
        let is_current =
            program.is_file() && fs::metadata(&program)?.modified()? > fs::metadata(&archive)?.modified()?;
        if !is_current {
            let folder = self.scratch("archive")?;
            // Not with the times of the archive, which are the commit's.
            Command::new("tar").arg("-xmzf").arg(archive).arg("-C").arg(folder).run()?;
        }
        Ok(program)
    }
}

/// Whether what a program printed has this in it.
fn says(output: &str, text: &str) -> Result<()> {
    ensure!(output.contains(text), "`{text}` is not in:\n{output}");
    Ok(())
}

/// Two ports that are free now.
fn ports() -> Result<(u16, u16)> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}
