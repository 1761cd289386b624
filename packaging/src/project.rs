//! The workspace that is packaged, and the programs that this runs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::tree::Tree;

pub const DESCRIPTION: &str = "API gateway that is extended with sandboxed WebAssembly plugins";
pub const LICENCE: &str = "MIT OR Apache-2.0";

/// What every artefact needs to know.
#[derive(Debug)]
pub struct Project {
    pub root: PathBuf,
    pub target_dir: PathBuf,
    pub version: String,
    /// The time of all files, in seconds since 1970: `SOURCE_DATE_EPOCH`, or that of the last commit.
    pub time: u64,
    pub arch: Arch,
}

/// The processors that packages are made for: those of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Arch {
    /// As the kernel and RPM call it.
    pub name: &'static str,
    pub debian: &'static str,
    pub oci: &'static str,
    /// The target of the static binary.
    pub musl: &'static str,
}

const ARCHITECTURES: [Arch; 2] = [
    Arch { name: "x86_64", debian: "amd64", oci: "amd64", musl: "x86_64-unknown-linux-musl" },
    Arch { name: "aarch64", debian: "arm64", oci: "arm64", musl: "aarch64-unknown-linux-musl" },
];

impl Project {
    /// The workspace of this crate, on this machine.
    pub fn here() -> Result<Self> {
        let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&here).parent().context("packaging lies in the workspace")?.to_owned();
        let metadata = cargo(&root).args(["metadata", "--no-deps", "--format-version", "1"]).output_text()?;
        let metadata: Value = serde_json::from_str(&metadata)?;
        let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
        let gateway = packages.iter().find(|package| package["name"] == "gateway").context("no package gateway")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("cargo metadata is not understood");
        let arch = ARCHITECTURES.into_iter().find(|arch| arch.name == env::consts::ARCH);
        let arch = arch.with_context(|| format!("there are no packages for {}", env::consts::ARCH))?;
        Ok(Self {
            target_dir: text(&metadata["target_directory"])?.into(),
            version: text(&gateway["version"])?,
            time: time(&root)?,
            arch,
            root,
        })
    }

    /// A file of the workspace.
    pub fn read(&self, path: &str) -> Result<String> {
        let file = self.root.join(path);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// The files of a folder for which `wanted` holds, with their paths in it.
    pub fn files(&self, folder: &str, wanted: impl Fn(&str) -> bool) -> Result<Tree> {
        let base = self.root.join(folder);
        let mut tree = Tree::default();
        let mut folders = vec![base.clone()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                let name = path.strip_prefix(&base)?.to_string_lossy().replace('\\', "/");
                if path.is_dir() {
                    folders.push(path);
                } else if wanted(&name) {
                    tree.file(name, fs::read(path)?);
                }
            }
        }
        Ok(tree)
    }

    /// The project's own licences.
    pub fn licences(&self) -> Result<Tree> {
        let mut tree = Tree::default();
        for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
            tree.file(name, self.read(name)?.into_bytes());
        }
        Ok(tree)
    }

    pub fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// The version with what `~` means to dpkg and rpm: a pre-release is older than its release.
    pub fn package_version(&self) -> String {
        self.version.replacen('-', "~", 1)
    }
}

fn time(root: &Path) -> Result<u64> {
    if let Ok(time) = env::var("SOURCE_DATE_EPOCH") {
        return time.parse().with_context(|| format!("SOURCE_DATE_EPOCH is not a number of seconds: {time}"));
    }
    let time = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root).output_text();
    Ok(time.context("set SOURCE_DATE_EPOCH: there is no commit whose time could be used")?.trim().parse()?)
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // These belong to the cargo that runs this.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command.current_dir(root);
    command
}

/// Running a program to its end.
pub trait Run {
    /// What it prints is shown.
    fn run(&mut self) -> Result<()>;
    /// What it prints to standard output; the error has what it printed to both.
    fn output_text(&mut self) -> Result<String>;
}

impl Run for Command {
    fn run(&mut self) -> Result<()> {
        let status = self.stdin(Stdio::null()).status().with_context(|| format!("cannot start {self:?}"))?;
        if !status.success() {
            bail!("{self:?} ended with {status}");
        }
        Ok(())
    }

    fn output_text(&mut self) -> Result<String> {
        let output = self.stdin(Stdio::null()).output().with_context(|| format!("cannot start {self:?}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            bail!("{self:?} ended with {}:\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
        }
        Ok(text(&output.stdout))
    }
}

/// JSON whose members are sorted, whatever features serde_json has been compiled with.
pub fn json(value: &Value) -> Vec<u8> {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let mut names: Vec<_> = members.keys().collect();
                names.sort();
                names.into_iter().map(|name| (name.clone(), sorted(&members[name]))).collect()
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    sorted(value).to_string().into_bytes()
}

/// A time as RFC 3339 writes it.
pub fn rfc3339(time: u64) -> String {
    let (days, seconds) = (time / 86_400, time % 86_400);
    // The civil calendar, counted in eras of 400 years that begin in March.
    let z = days + 719_468;
    let (era, day) = (z / 146_097, z % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let (date, month) = (in_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_system() {
        for time in [0, 951_782_400, 1_709_164_799, 1_709_251_200, 1_798_675_199, 1_796_082_004, 4_107_542_400] {
            let mut date = Command::new("date");
            date.args(["-u", "-d", &format!("@{time}"), "+%Y-%m-%dT%H:%M:%SZ"]);
            assert_eq!(rfc3339(time), date.output_text().unwrap().trim());
        }
    }

    #[test]
    fn members_are_sorted_at_every_level() {
        let value = serde_json::json!({ "b": [{ "z": 1, "a": 2 }], "a": null });
        assert_eq!(json(&value), br#"{"a":null,"b":[{"a":2,"z":1}]}"#);
    }
}
