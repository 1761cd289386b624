//! Components from elsewhere: by HTTP with a digest, from a registry, and what an operator has approved of.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use aws_lc_rs::digest;
use http::Response;
use tempfile::TempDir;

use crate::support::{
    Client, Process, TestGateway, Upstream, certs::Authority, client::Request, eventually, process::Ended,
    registry::Registry, upstream::full,
};

const WASM: &str = "application/wasm";

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder with a configuration in which `hello` is this component.
struct Place {
    folder: TempDir,
    upstream: Upstream,
}

impl Place {
    async fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder"), upstream: Upstream::echo().await }
    }

    fn write(&self, hello: &str) {
        let yaml = format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]
upstreams: {{ service: {{ endpoints: [\"http://{}\"] }} }}
plugins: {{ hello: {hello} }}
routes: [{{ name: all, match: {{ path: \"/{{*rest}}\" }}, plugins: [{{ name: hello, config: {{ keys: {{ k: anna }} }} }}], upstream: service }}]
",
            self.upstream.address()
        );
        fs::write(self.folder.path().join("gateway.yaml"), yaml).expect("a file");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What is kept, and Docker's configuration, are the folder's.
    fn start(&self, args: &[&str], more: &[(&str, &str)]) -> Process {
        let cache = self.path().join("cache").display().to_string();
        let docker = self.path().display().to_string();
        let mut variables = vec![("CACHE_DIRECTORY", cache.as_str()), ("DOCKER_CONFIG", docker.as_str())];
        variables.extend(more);
        Process::start_with(self.path(), args, &variables)
    }

    async fn check(&self) -> Ended {
        self.start(&["check", "-c", "gateway.yaml"], &[]).ended().await
    }

    async fn serves(&self, more: &[(&str, &str)]) -> Process {
        let mut gateway = self.start(&["run", "-c", "gateway.yaml"], more);
        let address = gateway.addresses().await[0];
        let response = Client::connect(address).await.send(Request::get("/").header("x-api-key", "k")).await;
        assert_eq!(response.upstream_saw("x-client"), ["anna"]);
        gateway
    }
}

/// A server of HTTPS with the component at `/hello.wasm`, and something else elsewhere.
async fn server(authority: &Authority) -> (Upstream, TestGateway) {
    let files = Upstream::serving(async |request| match request.uri().path() {
        "/hello.wasm" => Response::new(full(test_guests::hello())),
        "/moved.wasm" => {
            let moved = Response::builder().status(302).header("location", "/hello.wasm");
            moved.body(full("")).expect("a response")
        }
        "/other.wasm" => Response::new(full(test_guests::naughty())),
        _ => Response::builder().status(404).body(full("")).expect("a response"),
    })
    .await;
    let folder = TempDir::new().expect("a folder");
    authority.issue(folder.path(), "server", &["localhost"]);
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0, tls: {{ certificates: [{{ cert: server.pem, key: server.key }}] }} }}]
upstreams: {{ files: {{ endpoints: [\"http://{}\"] }} }}
routes: [{{ name: all, match: {{ path: \"/{{*rest}}\" }}, upstream: files }}]",
        files.address()
    );
    let gateway = TestGateway::start_in(folder, &yaml).await;
    (files, gateway)
}

#[tokio::test]
async fn a_component_comes_by_https_if_its_digest_is_the_right_one() {
    let place = Place::new().await;
    let authority = Authority::new();
    authority.write(&place.path().join("authority.pem"));
    let (files, server) = server(&authority).await;
    let url = |path: &str| format!("https://localhost:{}/{path}", server.address().port());
    let trusted = place.path().join("authority.pem").display().to_string();
    let trusted = [("SSL_CERT_FILE", trusted.as_str())];
    let digest = sha256(test_guests::hello());

    place.write(&format!("{{ component: \"{}\", sha256: {digest} }}", url("moved.wasm")));
    drop(place.serves(&trusted).await);
    let asked = files.requests();

    // It is kept: nobody is asked again, and nobody need be there.
    drop(place.serves(&trusted).await);
    assert_eq!(files.requests(), asked);
    place.write(&format!("{{ component: \"https://localhost:1/hello.wasm\", sha256: {} }}", digest.to_uppercase()));
    drop(place.serves(&trusted).await);

    for (path, digest, why) in [
        ("other.wasm", sha256(b"another one"), "its SHA-256 is "),
        ("missing.wasm", sha256(b"another one"), "the server answers with 404 Not Found"),
    ] {
        place.write(&format!("{{ component: \"{}\", sha256: {digest} }}", url(path)));
        let checked = place.start(&["check", "-c", "gateway.yaml"], &trusted).ended().await;
        assert_eq!(checked.code, 3, "{}", checked.stderr);
        assert!(checked.stderr.contains("gateway.yaml:3:") && checked.stderr.contains(why), "{}", checked.stderr);
    }

    // Nobody vouches for the server.
    place.write(&format!("{{ component: \"{}\", sha256: {} }}", url("hello.wasm"), sha256(b"yet another")));
    let checked = place.check().await;
    assert!(checked.code == 3 && checked.stderr.contains("certificate"), "{}", checked.stderr);
}

#[tokio::test]
async fn a_component_comes_from_a_registry_by_tag_and_by_digest() {
    let place = Place::new().await;
    let mut registry = Registry::start().await;
    let at = registry.address();
    let manifest = registry.push("acme/hello:1.0", WASM, test_guests::hello()).await;
    for reference in [format!("{at}/acme/hello:1.0"), format!("{at}/acme/hello@{manifest}")] {
        place.write(&format!("{{ component: \"oci://{reference}\" }}"));
        drop(place.serves(&[]).await);
    }

    // Without the registry it is what it was last time.
    registry.kill().await;
    place.write(&format!("{{ component: \"oci://{at}/acme/hello:1.0\" }}"));
    let mut gateway = place.serves(&[]).await;
    gateway.logged("cannot be asked for, what it was last time stays").await;
    place.write(&format!("{{ component: \"oci://{at}/acme/hello@{manifest}\" }}"));
    drop(place.serves(&[]).await);

    // What was never there is not to be had, and what was serving goes on serving.
    place.write(&format!("{{ component: \"oci://{at}/acme/hello:2.0\" }}"));
    gateway.signal("HUP");
    gateway.logged("the component cannot be had").await;
    let address = gateway.addresses().await[0];
    assert_eq!(Client::connect(address).await.send(Request::get("/")).await.status, 401);

    // When it is there, it is taken up.
    registry.start_again().await;
    registry.push("acme/hello:2.0", "application/vnd.wasm.content.layer.v1+wasm", test_guests::hello()).await;
    gateway.signal("HUP");
    gateway.logged("configuration reloaded").await;
}

#[tokio::test]
async fn a_component_that_was_rejected_does_not_take_the_place_of_the_one_that_its_tag_stood_for() {
    let place = Place::new().await;
    let mut registry = Registry::start().await;
    let at = registry.address();
    registry.push("acme/hello:1.0", WASM, test_guests::hello()).await;
    place.write(&format!("{{ component: \"oci://{at}/acme/hello:1.0\" }}"));
    let mut gateway = place.serves(&[]).await;
    registry.push("acme/hello:1.0", WASM, b"not a component").await;
    gateway.signal("HUP");
    gateway.logged("not WebAssembly").await;
    registry.kill().await;
    gateway.signal("HUP");
    gateway.logged("configuration reloaded").await;
}

#[tokio::test]
async fn what_is_no_component_in_a_registry_is_told_at_its_place() {
    let place = Place::new().await;
    let registry = Registry::start().await;
    let at = registry.address();
    registry.push("acme/image:1", "application/vnd.oci.image.layer.v1.tar+gzip", b"not a component").await;
    registry.push("acme/text:1", WASM, b"not a component").await;
    for (reference, why) in [
        (format!("{at}/acme/image:1"), "it has 0 layers of application/wasm, and not one"),
        (format!("{at}/acme/text:1"), "not WebAssembly"),
        (format!("{at}/acme/nothing:1"), "manifest unknown"),
        (format!("{at}/Acme"), "is no reference"),
    ] {
        place.write(&format!("{{ component: \"oci://{reference}\" }}"));
        let checked = place.check().await;
        assert_eq!(checked.code, 3, "{}", checked.stderr);
        let told = checked.stderr.contains("gateway.yaml:3:") && checked.stderr.contains(why);
        assert!(told, "{why} is not in\n{}", checked.stderr);
    }
}

#[tokio::test]
async fn a_registry_is_given_the_credentials_of_dockers_configuration() {
    let place = Place::new().await;
    let registry = Registry::of("anna", "a password").await;
    let at = registry.address();
    registry.push("acme/hello:1", WASM, test_guests::hello()).await;
    place.write(&format!("{{ component: \"oci://{at}/acme/hello:1\" }}"));
    let refused = place.check().await;
    assert!(refused.code == 3 && refused.stderr.contains("the component cannot be had"), "{}", refused.stderr);

    // base64 of `anna:a password`, as `docker login` writes it.
    let config = format!(r#"{{"auths":{{"{at}":{{"auth":"YW5uYTphIHBhc3N3b3Jk"}}}}}}"#);
    fs::write(place.path().join("config.json"), config).expect("a file");
    drop(place.serves(&[]).await);

    // Or a program knows them.
    let program = place.path().join("docker-credential-test");
    let says = r#"{"ServerURL":"","Username":"anna","Secret":"a password"}"#;
    // It reads the server's name first, like all of them: else it may have ended before that is written.
    fs::write(&program, format!("#!/bin/sh\ncat > /dev/null\necho '{says}'\n")).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(place.path().join("config.json"), format!(r#"{{"credHelpers":{{"{at}":"test"}}}}"#)).expect("a file");
    let path = format!("{}:{}", place.path().display(), std::env::var("PATH").expect("a path"));
    drop(place.serves(&[("PATH", &path)]).await);
}

#[tokio::test]
async fn what_asks_for_more_than_what_was_approved_is_not_let_in_until_it_is() {
    let place = Place::new().await;
    let component = place.path().join("hello.wasm");
    fs::write(&component, test_guests::hello()).expect("a file");
    place.write("{ component: hello.wasm }");
    let approve = async |more: &[&str]| -> Ended {
        let args = [&["plugin", "approve", "-c", "gateway.yaml"], more].concat();
        place.start(&args, &[]).ended().await
    };

    // Without a lock everything is let in; with one, only what is in it.
    drop(place.serves(&[]).await);
    let told = approve(&["--dry-run"]).await;
    assert_eq!(told.code, 3, "{}", told.stdout);
    assert!(told.stdout.starts_with("hello: is new: hello.wasm, sha256 "), "{}", told.stdout);
    assert!(told.stdout.contains("\n  uses gateway:plugin/http"), "{}", told.stdout);
    assert!(!place.path().join("gateway.lock").exists());
    fs::write(place.path().join("gateway.lock"), "plugins: {}\n").expect("a file");
    let checked = place.check().await;
    assert_eq!(checked.code, 3, "{}", checked.stderr);
    assert!(
        checked.stderr.contains("plugin `hello` is not approved: `gateway plugin approve -c"),
        "{}",
        checked.stderr
    );
    let approved = approve(&[]).await;
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    assert!(approve(&["--dry-run"]).await.stdout.contains("says all of it already"));
    let mut gateway = place.serves(&[]).await;
    let address = gateway.addresses().await[0];

    // Another one does not come in, even if it asks for no more: a custom section more.
    let mut other = test_guests::hello().to_vec();
    other.extend([0, 3, 1, b'x', 7]);
    fs::write(&component, &other).expect("a file");
    gateway.signal("HUP");
    gateway.logged(&format!("is not the component that was approved: its SHA-256 is {}", sha256(&other))).await;

    // Nor does one that is granted more, and what was serving goes on serving.
    fs::write(&component, test_guests::waiter()).expect("a file");
    let yaml = fs::read_to_string(place.path().join("gateway.yaml")).expect("a file");
    let waiter = yaml
        .replace("{ keys: { k: anna } }", "{ do: count }")
        .replace("component: hello.wasm", "component: hello.wasm, grants: { upstreams: [service] }");
    fs::write(place.path().join("gateway.yaml"), &waiter).expect("a file");
    gateway.logged("plugin `hello` is granted `service` of upstreams, which is not approved").await;
    let response = Client::connect(address).await.send(Request::get("/").header("x-api-key", "k")).await;
    assert_eq!(response.upstream_saw("x-client"), ["anna"]);
    assert_eq!(place.check().await.code, 3);

    // The lock is watched: with the operator's word it comes in.
    let approved = approve(&["hello"]).await;
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    assert!(approved.stdout.contains("\n  now is granted `service` of upstreams"), "{}", approved.stdout);
    eventually("another plugin", async || {
        let mut client = Client::connect(address).await;
        client.send(Request::get("/")).await.status == 200
    })
    .await;

    // A lock that cannot be read lets nobody in.
    fs::write(place.path().join("gateway.lock"), "plugins: [").expect("a file");
    let checked = place.check().await;
    assert!(checked.code == 3 && checked.stderr.contains("gateway.lock: "), "{}", checked.stderr);
    let unknown = approve(&["nobody"]).await;
    assert!(unknown.code != 0, "{}", unknown.stdout);
}
