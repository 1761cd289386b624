//! What makes the gateway read its configuration again, and what it says if it cannot use it.

use std::fs;

use tempfile::TempDir;

use super::{Running, to, with};
use crate::support::{Client, Process, Upstream, client::Request, eventually, raw};

#[tokio::test]
async fn sighup_puts_the_changed_file_in_force() {
    let one = Upstream::named("one").await;
    let two = Upstream::named("two").await;
    let mut gateway = Running::start_with(&to(one.address()), &["--no-watch"]).await;
    assert_eq!(gateway.get("/").await, "one");
    fs::write(&gateway.file, to(two.address())).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("configuration reloaded").await;
    assert_eq!(gateway.get("/").await, "two");
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_config_reloads_total{result=\"ok\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_broken_file_leaves_the_old_one_serving_and_the_log_says_why() {
    let upstream = Upstream::named("one").await;
    let mut gateway = Running::start_with(&to(upstream.address()), &["--no-watch"]).await;
    let valid = fs::read_to_string(&gateway.file).unwrap();
    fs::write(&gateway.file, valid.replace("upstream: echo", "upstream: ecko")).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("reload failed").await;
    let problem = gateway.process.logged("gateway.yaml:6:").await;
    assert!(problem.contains("did you mean `echo`?"), "{problem}");
    assert_eq!(gateway.get("/").await, "one");
    assert_eq!(gateway.admin_page("/readyz").await.0, 200, "it still serves");
    eventually("the failure is counted", async || {
        let metrics = gateway.metrics().await;
        metrics.contains("gateway_config_last_reload_successful 0\n")
            && metrics.contains("gateway_config_reloads_total{result=\"error\"} 1\n")
    })
    .await;

    fs::write(&gateway.file, valid).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("configuration reloaded").await;
    eventually("all is well again", async || {
        gateway.metrics().await.contains("gateway_config_last_reload_successful 1\n")
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_gone_leaves_the_old_one_serving() {
    let upstream = Upstream::named("one").await;
    let mut gateway = Running::start_with(&to(upstream.address()), &["--no-watch"]).await;
    fs::remove_file(&gateway.file).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("reload failed").await;
    assert_eq!(gateway.get("/").await, "one");
}

#[tokio::test]
async fn a_change_of_the_file_is_noticed_however_it_is_made() {
    let names = ["one", "two", "three"];
    let mut upstreams = Vec::new();
    for name in names {
        upstreams.push(Upstream::named(name).await);
    }
    let gateway = Running::start(&to(upstreams[0].address())).await;
    assert_eq!(gateway.get("/").await, "one");
    // Written in place.
    fs::write(&gateway.file, to(upstreams[1].address())).unwrap();
    eventually("the second is in force", async || gateway.get("/").await == "two").await;
    // Replaced, as editors do.
    let beside = gateway.folder.path().join("gateway.yaml.new");
    fs::write(&beside, to(upstreams[2].address())).unwrap();
    fs::rename(&beside, &gateway.file).unwrap();
    eventually("the third is in force", async || gateway.get("/").await == "three").await;
    // Other files in the folder do not count.
    fs::write(gateway.folder.path().join("other.yaml"), "x").unwrap();
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_config_reloads_total{result=\"error\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_folder_that_kubernetes_mounts_is_noticed_when_its_link_turns() {
    let one = Upstream::named("one").await;
    let two = Upstream::named("two").await;
    let folder = TempDir::new().unwrap();
    for (version, upstream) in [("v1", &one), ("v2", &two)] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("gateway.yaml"), to(upstream.address())).unwrap();
    }
    let link = |from: &str, to: &str| std::os::unix::fs::symlink(to, folder.path().join(from)).unwrap();
    link("..data", "v1");
    link("gateway.yaml", "..data/gateway.yaml");
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let address = process.addresses().await[0];
    let answer = async || Client::connect(address).await.send(Request::get("/")).await.text();
    assert_eq!(answer().await, "one");
    link("..data_new", "v2");
    fs::rename(folder.path().join("..data_new"), folder.path().join("..data")).unwrap();
    eventually("the second is in force", async || answer().await == "two").await;
}

#[tokio::test]
async fn what_changes_only_at_the_next_start_is_warned_of() {
    let upstream = Upstream::echo().await;
    let mut gateway = Running::start_with(&to(upstream.address()), &["--no-watch"]).await;
    fs::write(&gateway.file, to(upstream.address()).replace("workers: 2", "workers: 3")).unwrap();
    gateway.process.signal("HUP");
    let warning = gateway.process.logged("`workers`").await;
    assert!(warning.contains("WARN") && warning.contains("next start"), "{warning}");
    gateway.process.logged("configuration reloaded").await;
    assert_eq!(gateway.client().await.send(Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn the_logs_level_changes_by_reload_and_its_format_at_the_next_start() {
    let upstream = Upstream::echo().await;
    let mut gateway = Running::start_with(&to(upstream.address()), &["--no-watch"]).await;
    fs::write(&gateway.file, with(upstream.address(), "log: { level: debug, format: json }")).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("`log.format` takes effect at the next start").await;
    gateway.process.logged("configuration reloaded").await;
    // A client that talks nonsense is worth a word at this level.
    raw::exchange(gateway.address, b"nonsense\r\n\r\n").await;
    gateway.process.logged("DEBUG gateway_").await;
}

#[tokio::test]
async fn a_file_that_is_written_by_another_path_is_noticed() {
    let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
    let gateway = Running::start(&to(one.address())).await;
    assert_eq!(gateway.get("/").await, "one");
    // As of a file that is mounted by itself, the folder that the gateway knows sees nothing of it.
    let host = TempDir::new_in(gateway.folder.path()).unwrap();
    let host = host.path().join("on-the-host.yaml");
    fs::hard_link(&gateway.file, &host).unwrap();
    fs::write(&host, to(two.address())).unwrap();
    eventually("the second is in force", async || gateway.get("/").await == "two").await;
}

#[tokio::test]
async fn a_file_that_is_a_link_is_taken_up_when_its_target_changes() {
    let names = ["one", "two", "three"];
    let mut upstreams = Vec::new();
    for name in names {
        upstreams.push(Upstream::named(name).await);
    }
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("elsewhere")).unwrap();
    fs::write(path("elsewhere/real.yaml"), to(upstreams[0].address())).unwrap();
    std::os::unix::fs::symlink("elsewhere/real.yaml", path("gateway.yaml")).unwrap();
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let address = process.addresses().await[0];
    let answer = async || Client::connect(address).await.send(Request::get("/")).await.text();
    assert_eq!(answer().await, "one");
    // Written in place, and replaced.
    fs::write(path("elsewhere/real.yaml"), to(upstreams[1].address())).unwrap();
    eventually("the second is in force", async || answer().await == "two").await;
    fs::write(path("elsewhere/new.yaml"), to(upstreams[2].address())).unwrap();
    fs::rename(path("elsewhere/new.yaml"), path("elsewhere/real.yaml")).unwrap();
    eventually("the third is in force", async || answer().await == "three").await;
}

#[tokio::test]
async fn a_configuration_that_lacks_a_file_is_in_force_when_the_file_comes() {
    let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
    let mut gateway = Running::start(&to(one.address())).await;
    let secrets = "secrets: { key: { file: later } }";
    fs::write(&gateway.file, with(two.address(), secrets)).unwrap();
    gateway.process.logged("reload failed").await;
    assert_eq!(gateway.get("/").await, "one");
    fs::write(gateway.folder.path().join("later"), "s3cret\n").unwrap();
    eventually("the second is in force", async || gateway.get("/").await == "two").await;
}

#[tokio::test]
async fn a_component_that_is_written_is_loaded() {
    use crate::support::guests;
    let upstream = Upstream::echo().await;
    let folder = guests::folder();
    let plugins = format!("{}plugins: {{ {} }}", guests::OWN, guests::naughty(""));
    let yaml = with(upstream.address(), &plugins).replace(
        "upstream: echo }",
        "upstream: echo, plugins: [{ name: naughty, config: { do: method, with: GET } }] }",
    );
    fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    process.addresses().await;
    let component = folder.path().join("naughty.wasm");
    let bytes = fs::read(&component).unwrap();
    fs::write(&component, b"no component").unwrap();
    process.logged("reload failed").await;
    fs::write(&component, bytes).unwrap();
    process.logged("configuration reloaded").await;
}
