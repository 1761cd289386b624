//! Sums, signatures and the bill of materials.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use super::{Artefacts, says};
use crate::{
    project::Run,
    sign::{PUBLIC_KEY, SUMS},
};

pub(super) fn sums(artefacts: &Artefacts<'_>) -> Result<()> {
    let said =
        Command::new("sha256sum").args(["--check", "--strict", SUMS]).current_dir(&artefacts.folder).output_text()?;
    for name in [&artefacts.names.archive, &artefacts.names.deb, &artefacts.names.rpm, &artefacts.names.image] {
        says(&said, &format!("{name}: OK"))?;
    }
    Ok(())
}

/// By OpenSSL, and by cosign where it is installed.
pub(super) fn signatures(artefacts: &Artefacts<'_>) -> Result<()> {
    let scratch = artefacts.scratch("signatures")?;
    let key = artefacts.file(PUBLIC_KEY);
    ensure!(key.is_file(), "the artefacts are not signed: there was no --key");
    let mut verified = 0;
    for entry in fs::read_dir(&artefacts.folder)? {
        let signature = entry?.path();
        let Some(name) = signature.to_str().and_then(|path| path.strip_suffix(".sig")) else { continue };
        let raw = scratch.join("signature");
        Command::new("openssl")
            .args(["base64", "-d", "-A", "-in"])
            .arg(&signature)
            .arg("-out")
            .arg(&raw)
            .output_text()?;
        let verify = |file: &str| {
            let mut openssl = Command::new("openssl");
            openssl.args(["dgst", "-sha256", "-verify"]).arg(&key).arg("-signature").arg(&raw).arg(file).output_text()
        };
        verify(name)?;
        if crate::system::find("cosign").is_some() {
            let mut cosign = Command::new("cosign");
            cosign.args(["verify-blob", "--insecure-ignore-tlog=true", "--key"]).arg(&key).arg("--signature");
            cosign.arg(&signature).arg(name).output_text()?;
        }
        let other = scratch.join("other");
        fs::write(&other, [fs::read(name)?, b"x".to_vec()].concat())?;
        let other = other.to_str().context("the path is text")?;
        ensure!(verify(other).is_err(), "the signature of {name} holds for other content");
        verified += 1;
    }
    ensure!(verified >= 10, "only {verified} artefacts are signed");
    Ok(())
}

/// The schema of CycloneDX is in its own library.
pub(super) fn sbom(artefacts: &Artefacts<'_>) -> Result<()> {
    let venv = artefacts.scratch.join("cyclonedx");
    if !venv.join("bin/pip").is_file() {
        Command::new("python3").args(["-m", "venv"]).arg(&venv).run()?;
    }
    let install =
        ["install", "--quiet", "--disable-pip-version-check", "cyclonedx-python-lib[json-validation]==11.12.0"];
    Command::new(venv.join("bin/pip")).args(install).run()?;
    let code = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from cyclonedx.model.bom import Bom
import json
text = open(sys.argv[1]).read()
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
if error: sys.exit(repr(error))
bom = Bom.from_json(json.loads(text))
bom.validate()
print(len(bom.components), 'components')";
    let document = artefacts.file(&artefacts.names.sbom);
    says(&Command::new(venv.join("bin/python")).args(["-c", code]).arg(document).output_text()?, "components")
}
