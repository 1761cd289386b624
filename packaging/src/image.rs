//! The container image: an OCI image layout (with the manifest that `docker load` of older versions reads) in a tar
//! archive, written without a container engine.

use anyhow::Result;
use serde_json::{Value, json};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::{
    hash::sha256,
    product::Product,
    project::{DESCRIPTION, LICENCE, Project, json, rfc3339},
    tree::{Tree, gzip},
};

/// The user that the gateway runs as, in containers: a number, so that Kubernetes can check `runAsNonRoot`.
pub const USER: u32 = 65_532;

/// An image and the digest of its manifest, by which registries know it.
pub struct Image {
    pub archive: Vec<u8>,
    pub digest: String,
}

pub fn image(product: &Product, project: &Project) -> Result<Image> {
    let layer = root(product).tar("", project.time)?;
    let diff = format!("sha256:{}", sha256(&layer));
    let layer = gzip(&layer)?;
    let config = json(&config(project, &diff));
    let labels = labels(project);
    let manifest = json(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
        "annotations": labels,
    }));
    let name = format!("gateway:{}", project.version);
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["platform"] = json!({ "architecture": project.arch.oci, "os": "linux" });
    entry["annotations"] = json!({
        "org.opencontainers.image.ref.name": project.version,
        "io.containerd.image.name": format!("docker.io/library/{name}"),
    });
    let index = json(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    }));
    let blob = |content: &[u8]| format!("blobs/sha256/{}", sha256(content));
    let docker = json(&json!([{ "Config": blob(&config), "RepoTags": [name], "Layers": [blob(&layer)] }]));
    let digest = format!("sha256:{}", sha256(&manifest));
    let mut layout = Tree::default();
    layout
        .file("oci-layout", *br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index)
        .file("manifest.json", docker);
    for content in [layer, config, manifest] {
        layout.file(blob(&content), content);
    }
    Ok(Image { archive: layout.tar("", project.time)?, digest })
}

/// The image's files. There is no shell, and nothing that belongs to the gateway's user but `/tmp`.
fn root(product: &Product) -> Tree {
    let mut tree = Tree::default();
    // The container's loopback interface is its own.
    let config = product.config.replace("address: 127.0.0.1:", "address: 0.0.0.0:");
    tree.program("usr/bin/gateway", product.binary.clone())
        .file("etc/gateway/gateway.yaml", config.into_bytes())
        .file(
            "etc/passwd",
            format!("root:x:0:0:root:/:/sbin/nologin\ngateway:x:{USER}:{USER}::/:/sbin/nologin\n").into_bytes(),
        )
        .file("etc/group", format!("root:x:0:\ngateway:x:{USER}:\n").into_bytes())
        .file("etc/ssl/certs/ca-certificates.crt", authorities().into_bytes())
        .folder("tmp", 0o1777)
        .below("usr/share/doc/gateway", &product.licences);
    tree
}

/// Mozilla's certificate authorities, in the version that Cargo.lock has.
fn authorities() -> String {
    use base64ct::{Base64, Encoding};
    let mut bundle = String::new();
    for certificate in TLS_SERVER_ROOT_CERTS {
        bundle.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = Base64::encode_string(certificate);
        for line in text.as_bytes().chunks(64) {
            bundle.push_str(&String::from_utf8_lossy(line));
            bundle.push('\n');
        }
        bundle.push_str("-----END CERTIFICATE-----\n");
    }
    bundle
}

fn labels(project: &Project) -> Value {
    json!({
        "org.opencontainers.image.title": "gateway",
        "org.opencontainers.image.description": DESCRIPTION,
        "org.opencontainers.image.version": project.version,
        "org.opencontainers.image.licenses": LICENCE,
        "org.opencontainers.image.created": rfc3339(project.time),
    })
}

fn config(project: &Project, diff: &str) -> Value {
    let second = 1_000_000_000u64;
    json!({
        "created": rfc3339(project.time),
        "architecture": project.arch.oci,
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "ExposedPorts": { "8080/tcp": {}, "9900/tcp": {} },
            // Compiled plugins. With a read-only root and nothing mounted here they are compiled at each start.
            "Env": ["PATH=/usr/bin", "XDG_CACHE_HOME=/tmp/cache"],
            "Entrypoint": ["/usr/bin/gateway"],
            "Cmd": ["run", "-c", "/etc/gateway/gateway.yaml", "--log-format", "json"],
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            "Labels": labels(project),
            // OCI reserves the name and leaves the meaning to Docker.
            "Healthcheck": {
                "Test": ["CMD", "/usr/bin/gateway", "health"],
                "Interval": 10 * second,
                "Timeout": 3 * second,
                "StartPeriod": 30 * second,
                "Retries": 3,
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [diff] },
        "history": [{ "created": rfc3339(project.time), "created_by": "cargo xtask package" }],
    })
}

fn descriptor(kind: &str, content: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": format!("sha256:{}", sha256(content)), "size": content.len() })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::*;
    use crate::{product::tests::product, project::Run};

    fn read(file: &Path) -> Value {
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }

    /// The blob that a descriptor names, if it has the size and the digest that it says.
    fn blob(layout: &Path, descriptor: &Value) -> std::path::PathBuf {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let file = layout.join("blobs/sha256").join(digest);
        let sum = Command::new("sha256sum").arg(&file).output_text().unwrap();
        assert_eq!(sum.split(' ').next().unwrap(), digest);
        assert_eq!(fs::metadata(&file).unwrap().len(), descriptor["size"].as_u64().unwrap());
        file
    }

    #[test]
    fn the_layout_leads_from_the_index_to_the_files() {
        let project = Project::here().unwrap();
        let written = image(&product(), &project).unwrap();
        assert_eq!(
            written.archive,
            image(&product(), &project).unwrap().archive,
            "the same input gives the same bytes"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image.tar");
        fs::write(&file, &written.archive).unwrap();
        Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(folder.path()).run().unwrap();
        let entry = &read(&folder.path().join("index.json"))["manifests"][0];
        assert_eq!(entry["digest"], written.digest.as_str());
        let manifest = read(&blob(folder.path(), entry));
        let config = read(&blob(folder.path(), &manifest["config"]));
        assert_eq!(config["config"]["User"], "65532:65532");
        let layer = blob(folder.path(), &manifest["layers"][0]);
        let tar = Command::new("sh").args(["-c", "zcat < \"$0\" | sha256sum"]).arg(&layer).output_text().unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", tar.split(' ').next().unwrap()));
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        Command::new("tar").arg("-xzf").arg(layer).arg("-C").arg(&root).run().unwrap();
        let config = fs::read_to_string(root.join("etc/gateway/gateway.yaml")).unwrap();
        assert!(config.contains("address: 0.0.0.0:8080") && config.contains("address: 0.0.0.0:9900"), "{config}");
        let bundle = root.join("etc/ssl/certs/ca-certificates.crt");
        let first = Command::new("openssl").args(["x509", "-noout", "-subject", "-in"]).arg(bundle).output_text();
        assert!(first.unwrap().starts_with("subject"));
    }
}
