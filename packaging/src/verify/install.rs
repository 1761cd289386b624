//! The archive, the packages and the image, installed where only they are.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Artefacts, ports, says};
use crate::{image::USER, project::Run};

/// A gateway that starts, plugins compiled included.
const START: Duration = Duration::from_secs(120);

pub(super) fn archive(artefacts: &Artefacts<'_>) -> Result<()> {
    let gateway = artefacts.gateway()?;
    let folder = gateway.parent().context("it is in a folder")?;
    says(&Command::new(&gateway).arg("--version").output_text()?, &artefacts.project.version)?;
    says(&Command::new(&gateway).args(["check", "-c", "gateway.yaml"]).current_dir(folder).output_text()?, ": ok")?;
    for file in ["LICENSE-MIT", "THIRD-PARTY-LICENSES", "man/man1/gateway.1", "completions/_gateway"] {
        ensure!(folder.join(file).is_file(), "there is no {file}");
    }
    Command::new("bash").arg("-n").arg(folder.join("completions/gateway.bash")).run()?;
    Ok(())
}

/// Installs the package in a Debian that has only what is essential, serves a request as its user, and removes it.
pub(super) fn deb(artefacts: &Artefacts<'_>) -> Result<()> {
    let root = artefacts.scratch("debian")?;
    let release = fs::read_to_string("/etc/os-release")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("bookworm");
    Command::new("debootstrap").args(["--variant=minbase", suite]).arg(&root).stdout(Stdio::null()).run()?;
    fs::copy(artefacts.file(&artefacts.names.deb), root.join("gateway.deb"))?;
    let inside = |line: &str| Command::new("chroot").arg(&root).args(["/bin/sh", "-ec", line]).output_text();
    inside("dpkg --install /gateway.deb")?;
    says(&inside("dpkg --verify gateway && getent passwd gateway")?, "API gateway")?;
    says(&inside("gateway check -c /etc/gateway/gateway.yaml")?, ": ok")?;
    says(&inside("grep ExecStart= /usr/lib/systemd/system/gateway.service")?, "/usr/bin/gateway run")?;
    says(&inside("zcat /usr/share/man/man1/gateway.1.gz")?, ".TH gateway")?;
    let (port, admin) = with_free_ports(&root.join("etc/gateway/gateway.yaml"))?;
    let mut command = Command::new("chroot");
    command.arg("--userspec=gateway:gateway").arg(&root);
    command.args(["/usr/bin/gateway", "run", "-c", "/etc/gateway/gateway.yaml"]);
    let served = serves(command, port, &root.join("gateway.log"));
    let healthy = served.and_then(|gateway| {
        let health = format!("gateway health --admin 127.0.0.1:{admin}");
        let said = inside(&health);
        gateway.end()?;
        says(&said?, "ready")
    });
    healthy?;
    let changed = fs::read(root.join("etc/gateway/gateway.yaml"))?;
    inside("dpkg --install /gateway.deb")?;
    ensure!(fs::read(root.join("etc/gateway/gateway.yaml"))? == changed, "an upgrade overwrote the configuration");
    inside("dpkg --remove gateway && test -e /etc/gateway/gateway.yaml && test ! -e /usr/bin/gateway")?;
    inside("dpkg --purge gateway && test ! -e /etc/gateway")?;
    fs::remove_dir_all(root)?;
    Ok(())
}

/// Has rpm check the package, installs it into a folder, and compares the program with that of the archive.
pub(super) fn rpm(artefacts: &Artefacts<'_>) -> Result<()> {
    let file = artefacts.file(&artefacts.names.rpm);
    let rpm = |args: &[&str]| Command::new("rpm").args(args).arg(&file).output_text();
    says(&rpm(&["--checksig", "--nosignature", "--verbose"])?, "Payload SHA256 digest: OK")?;
    says(&rpm(&["--query", "--info", "--package"])?, "Name        : gateway")?;
    says(&rpm(&["--query", "--configfiles", "--package"])?, "/etc/gateway/gateway.yaml")?;
    let scripts = rpm(&["--query", "--scripts", "--package"])?;
    says(&scripts, "postinstall scriptlet (using /bin/sh)")?;
    says(&scripts, "preuninstall scriptlet (using /bin/sh)")?;
    let root = artefacts.scratch("rpm")?;
    let install = "rpm2cpio \"$0\" | cpio --extract --make-directories --quiet";
    Command::new("sh").args(["-ec", install]).arg(&file).current_dir(&root).run()?;
    ensure!(fs::read(root.join("usr/bin/gateway"))? == fs::read(artefacts.gateway()?)?, "it is another program");
    // Without scripts, which would add a user here.
    let database = root.join("installed");
    fs::create_dir(&database)?;
    let mut install = Command::new("rpm");
    install.arg("--root").arg(&database).args(["--install", "--nodeps", "--noscripts", "--nosignature"]).arg(&file);
    install.output_text()?;
    let verify =
        Command::new("rpm").arg("--root").arg(&database).args(["--verify", "--nodeps", "gateway"]).output_text()?;
    ensure!(verify.trim().is_empty(), "{verify}");
    Ok(())
}

/// Has skopeo read the image, unpacks it and runs it as its user with a root that cannot be written.
pub(super) fn image(artefacts: &Artefacts<'_>) -> Result<()> {
    let scratch = artefacts.scratch("image")?;
    let file = artefacts.file(&artefacts.names.image);
    let source = format!("oci-archive:{}", file.display());
    let inspected = Command::new("skopeo").args(["inspect", &source]).output_text()?;
    let inspected: Value = serde_json::from_str(&inspected)?;
    let label = &inspected["Labels"]["org.opencontainers.image.version"];
    ensure!(*label == artefacts.project.version.as_str(), "its label says version {label}");
    let payload: Value = serde_json::from_slice(&fs::read(artefacts.file(&artefacts.names.image_payload))?)?;
    let digest = &payload["critical"]["image"]["docker-manifest-digest"];
    ensure!(*digest == inspected["Digest"], "the payload for cosign names {digest}");
    // Each blob is checked while it is copied; the docker archive is what `docker load` reads.
    let copied = scratch.join("copied");
    let copy = |from: &str| {
        let mut skopeo = Command::new("skopeo");
        skopeo
            .args(["--insecure-policy", "copy", "--quiet", from])
            .arg(format!("dir:{}", copied.display()))
            .output_text()
    };
    copy(&format!("docker-archive:{}", file.display()))?;
    fs::remove_dir_all(&copied)?;
    copy(&source)?;
    let manifest: Value = serde_json::from_slice(&fs::read(copied.join("manifest.json"))?)?;
    let blob = |descriptor: &Value| -> Result<_> {
        let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        Ok(copied.join(digest.context("a digest is SHA-256")?))
    };
    let config: Value = serde_json::from_slice(&fs::read(blob(&manifest["config"])?)?)?;
    let config = &config["config"];
    ensure!(config["User"] == format!("{USER}:{USER}"), "its user is {}", config["User"]);
    let root = scratch.join("root");
    fs::create_dir(&root)?;
    for layer in manifest["layers"].as_array().context("a manifest has layers")? {
        Command::new("tar").arg("-xzf").arg(blob(layer)?).arg("-C").arg(&root).run()?;
    }
    let (port, admin) = with_free_ports(&root.join("etc/gateway/gateway.yaml"))?;
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let line = [words(&config["Entrypoint"]), words(&config["Cmd"])].concat();
    // `/dev/null` and the like are what a runtime adds.
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && user=$1 && shift && \
                  exec chroot --userspec=\"$user\" \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-ec", script]).arg(&root).arg(format!("{USER}:{USER}")).args(line);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    for variable in words(&config["Env"]).iter().filter(|variable| !variable.starts_with("PATH=")) {
        let (name, value) = variable.split_once('=').context("a variable has a value")?;
        command.env(name, value);
    }
    let gateway = serves(command, port, &scratch.join("gateway.log"))?;
    let user = fs::metadata(format!("/proc/{}", gateway.0.id())).map(|process| process.uid());
    let health =
        [&words(&config["Healthcheck"]["Test"])[2..], &["--admin".into(), format!("127.0.0.1:{admin}")]].concat();
    let health = Command::new("chroot").arg(&root).arg("/usr/bin/gateway").args(health).output_text();
    gateway.end()?;
    ensure!(user? == USER, "it runs as another user");
    says(&health?, "ready")
}

/// Lets a configuration listen on ports that are free here; the second one is the admin listener's.
fn with_free_ports(file: &Path) -> Result<(u16, u16)> {
    let (port, admin) = ports()?;
    let text = fs::read_to_string(file)?.replace(":8080", &format!(":{port}")).replace(":9900", &format!(":{admin}"));
    says(&text, &format!(":{port}"))?;
    fs::write(file, text)?;
    Ok((port, admin))
}

/// A gateway that was started here.
struct Started(Child);

/// Starts it and waits until it serves the welcome page.
fn serves(mut command: Command, port: u16, log: &Path) -> Result<Started> {
    let output = fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut gateway = Started(command.spawn().with_context(|| format!("cannot start {command:?}"))?);
    let until = Instant::now() + START;
    while Instant::now() < until {
        let url = format!("http://127.0.0.1:{port}/");
        if let Ok(page) = Command::new("curl").args(["--silent", "--fail", "--noproxy", "*", &url]).output_text() {
            says(&page, "The gateway works")?;
            return Ok(gateway);
        }
        if let Some(status) = gateway.0.try_wait()? {
            bail!("it ended with {status}:\n{}", fs::read_to_string(log)?);
        }
        // Until the next attempt to connect.
        thread::sleep(Duration::from_millis(200));
    }
    bail!("it does not serve:\n{}", fs::read_to_string(log)?)
}

impl Started {
    /// Ends it as `docker stop` does; it has no connections to wait for.
    fn end(mut self) -> Result<()> {
        for _ in 0..2 {
            Command::new("kill").args(["-TERM", &self.0.id().to_string()]).run()?;
            // The second signal ends the drain; two at the same moment could arrive as one.
            thread::sleep(Duration::from_millis(100));
        }
        let status = self.0.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
