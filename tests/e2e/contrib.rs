//! What lies in `contrib/` fits the gateway that it comes with.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::support::{TestGateway, Upstream, process::run};

fn contrib(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("gateway_")).collect()
}

/// As queries name them: a histogram has several names.
fn exported(metrics: &str) -> BTreeSet<String> {
    let mut exported = BTreeSet::new();
    for line in metrics.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else { continue };
        match kind {
            "histogram" => exported.extend(["bucket", "count", "sum"].map(|part| format!("{name}_{part}"))),
            _ => drop(exported.insert(name.to_owned())),
        }
    }
    exported
}

#[tokio::test]
async fn dashboards_and_alerts_name_only_metrics_that_there_are() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: echo }}]
",
        upstream.address()
    ))
    .await;
    let exported = exported(&gateway.metrics().await);
    for file in ["prometheus/alerts.yaml", "grafana/gateway.json"] {
        let text = contrib(file);
        let names = names(&text);
        assert!(names.len() > 5, "{file} names hardly a metric");
        for name in names {
            assert!(exported.contains(name), "{file} names {name}, which is not among {exported:#?}");
        }
    }
}

#[tokio::test]
async fn the_grafana_dashboard_is_json_whose_panels_do_not_overlap() {
    let dashboard: serde_json::Value = serde_json::from_str(&contrib("grafana/gateway.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} is where another panel is", panel["title"]);
            }
        }
    }
}

#[tokio::test]
async fn the_unit_runs_commands_that_there_are() {
    let unit = contrib("systemd/gateway.service");
    let folder = TempDir::new().unwrap();
    let mut seen = 0;
    for line in unit.lines() {
        let Some((_, command)) = line.split_once("=/usr/local/bin/gateway ") else { continue };
        let command: Vec<&str> = command.split(' ').collect();
        let ended = run(folder.path(), &command).await;
        // Understood, and only the file is missing here.
        assert!(ended.stderr.contains("/etc/gateway/gateway.yaml"), "{command:?}: {}", ended.stderr);
        assert_ne!(ended.code, 2, "{command:?}: {}", ended.stderr);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[tokio::test]
async fn shells_get_completions_and_man_its_pages() {
    let folder = TempDir::new().unwrap();
    for (shell, text) in [("bash", "complete -F"), ("zsh", "#compdef gateway"), ("fish", "complete -c gateway")] {
        let ended = run(folder.path(), ["completions", shell]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        assert!(ended.stdout.contains(text) && ended.stdout.contains("inspect"), "{shell}: {}", ended.stdout);
    }
    assert_eq!(run(folder.path(), ["man", "."]).await.code, 0);
    for page in ["gateway.1", "gateway-run.1", "gateway-plugin-inspect.1"] {
        let text = fs::read_to_string(folder.path().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{text}");
    }
    let ended = run(folder.path(), ["man", "nowhere"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with("gateway: nowhere: "), "{}", ended.stderr);
}
