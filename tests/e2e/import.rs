//! `gateway import`: what it writes is a configuration that `gateway check` accepts.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::support::{certs::Authority, process::run};

/// The sources that the translation itself is tested with.
fn source(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("import/tests/sources").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Translates a source and checks the configuration, with files of the test for those of the source's machine.
async fn translated(name: &str, files: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(name), source(name)).unwrap();
    Authority::new().issue(folder.path(), "server", &["localhost"]);
    fs::write(folder.path().join("htpasswd"), "anna:$2y$04$rV3amTNfLuW0n7Dtcky2k.2w0YFTIeDmxrzJdKWCVARjBlXbEdNWu\n")
        .unwrap();
    let imported = run(folder.path(), ["import", name]).await;
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    let mut yaml = imported.stdout;
    for (theirs, ours) in files {
        assert!(yaml.contains(theirs), "{theirs}: {yaml}");
        yaml = yaml.replace(theirs, ours);
    }
    fs::write(folder.path().join("gateway.yaml"), &yaml).unwrap();
    let checked = run(folder.path(), ["check", "-c", "gateway.yaml"]).await;
    assert_eq!(checked.code, 0, "{}\n{yaml}", checked.stderr);
    imported.stderr
}

#[tokio::test]
async fn an_nginx_conf_becomes_a_valid_configuration_and_a_list_of_what_is_missing() {
    let files = [
        ("/etc/ssl/www.pem", "server.pem"),
        ("/etc/ssl/www.key", "server.key"),
        ("/etc/ssl/grpc.pem", "server.pem"),
        ("/etc/ssl/grpc.key", "server.key"),
        ("/etc/nginx/htpasswd", "htpasswd"),
    ];
    let notes = translated("nginx.conf", &files).await;
    assert!(notes.contains("nginx.conf:11: `gzip on`"), "{notes}");
    assert!(notes.contains("check the configuration with `gateway check`"), "{notes}");
}

#[tokio::test]
async fn a_declarative_configuration_of_kong_becomes_a_valid_configuration() {
    let notes = translated("kong.yaml", &[]).await;
    assert!(notes.contains("plugin `pre-function`: no counterpart"), "{notes}");
}

#[tokio::test]
async fn an_openapi_document_becomes_a_valid_configuration() {
    let notes = translated("openapi.yaml", &[]).await;
    assert!(notes.contains("security scheme `key`: add `api-key`"), "{notes}");
}

#[tokio::test]
async fn ingresses_become_a_valid_configuration() {
    let files =
        [("/etc/gateway/tls/shop-tls/tls.crt", "server.pem"), ("/etc/gateway/tls/shop-tls/tls.key", "server.key")];
    let notes = translated("ingress.yaml", &files).await;
    assert!(notes.contains("secret `shop-tls`: mount it"), "{notes}");
}

#[tokio::test]
async fn a_file_that_is_none_of_these_is_an_error_that_names_the_formats() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.yaml"), "hello: world\n").unwrap();
    let ended = run(folder.path(), ["import", "a.yaml"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("--from nginx|kong|openapi|ingress"), "{}", ended.stderr);

    fs::write(folder.path().join("nginx.conf"), "http {\n  server {\n").unwrap();
    let ended = run(folder.path(), ["import", "nginx.conf"]).await;
    assert_eq!(ended.code, 3);
    assert!(ended.stderr.contains("line 2: the block of `server` is not closed"), "{}", ended.stderr);
}
