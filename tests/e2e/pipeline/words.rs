//! What a plugin says (log lines, standard output, standard error) arrives in the gateway's log with its name and
//! the request's identifier. With the real binary, since the log is the process's.

use std::time::Duration;

use serde_json::Value;

use super::{naughty, yaml};
use crate::support::{Client, Process, Upstream, client::Request, eventually, guests};

/// `gateway run` with a list of plugins, a client, and all that it needs to live.
struct Speaking {
    process: Process,
    client: Client,
    _upstream: Upstream,
    _folder: tempfile::TempDir,
}

impl Speaking {
    async fn through(plugins: &str) -> Self {
        let upstream = Upstream::echo().await;
        let folder = guests::folder();
        let yaml = yaml(&[("echo", upstream.address())], plugins, "", "listeners: [{ address: '127.0.0.1:0' }]");
        std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
        let args = ["run", "-c", "gateway.yaml", "--no-watch", "--log-format", "json"];
        let mut process = Process::start(folder.path(), args);
        let line: Value = serde_json::from_str(&process.logged("listening on ").await).unwrap();
        let address = line["message"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        let client = Client::connect(address).await;
        Self { process, client, _upstream: upstream, _folder: folder }
    }

    /// The request's identifier, and the response's status.
    async fn get(&mut self) -> (String, u16) {
        let response = self.client.send(Request::get("/")).await;
        (response.header("x-request-id").to_owned(), response.status.as_u16())
    }

    /// The line with this text, once it is there.
    async fn line(&mut self, text: &str) -> Value {
        serde_json::from_str(&self.process.logged(text).await).expect("a line of JSON")
    }
}

fn is_by_naughty(line: &Value, request: &str, level: &str) {
    assert_eq!(line["plugin"], "naughty", "{line}");
    assert_eq!(line["request"], request, "{line}");
    assert_eq!(line["level"], level, "{line}");
}

#[tokio::test]
async fn what_is_printed_and_what_is_logged_arrives_with_name_and_request() {
    let logs = "{ name: naughty, config: { do: log, with: 'said in the log' } }";
    let mut speaking = Speaking::through(&format!("[{}, {logs}]", naughty("print", "request"))).await;
    let (request, status) = speaking.get().await;
    assert_eq!(status, 200);
    let target = "gateway::plugin::guest";
    for (text, level) in [("printed to stdout", "INFO"), ("printed to stderr", "WARN"), ("said in the log", "INFO")] {
        let line = speaking.line(text).await;
        is_by_naughty(&line, &request, level);
        assert_eq!((&line["message"], &line["target"]), (&text.into(), &target.into()));
    }
}

#[tokio::test]
async fn each_phase_speaks_for_its_request() {
    let list = "[{ name: naughty, config: { do: log, with: on-the-way-back, phase: response } },
  { name: naughty, config: { do: log, with: when-all-is-over, phase: complete } }]";
    let mut speaking = Speaking::through(list).await;
    let (request, _) = speaking.get().await;
    for text in ["on-the-way-back", "when-all-is-over", "complete 200 200"] {
        is_by_naughty(&speaking.line(text).await, &request, "INFO");
    }
}

#[tokio::test]
async fn a_failure_is_told_to_the_operator_with_the_plugins_last_words() {
    let mut speaking = Speaking::through(&format!("[{}]", naughty("panic", "request"))).await;
    let (request, status) = speaking.get().await;
    assert_eq!(status, 500);
    let line = speaking.line("plugin failed: ").await;
    is_by_naughty(&line, &request, "WARN");
    assert_eq!(line["route"], "all");
    assert!(line["message"].as_str().unwrap().contains("the plugin's own words"), "{line}");
}

#[tokio::test]
async fn a_plugin_cannot_fill_the_log_with_many_calls() {
    const CALLS: usize = 8;
    const REQUESTS: usize = 200;
    let long = format!("{{ name: naughty, config: {{ do: log, with: '{}' }} }}", "long-".repeat(800));
    let mut speaking = Speaking::through(&format!("[{}]", vec![long; CALLS].join(", "))).await;
    for _ in 0..REQUESTS {
        assert_eq!(speaking.get().await.1, 200);
    }
    speaking.line("exceeded its output limits").await;
    speaking.process.signal("TERM");
    let ended = speaking.process.ended().await;
    let logged = ended.stderr.lines().filter(|line| line.contains("long-long-")).count();
    assert!((100..CALLS * REQUESTS).contains(&logged), "{logged}");
}

#[tokio::test]
async fn the_clock_of_plugins_stands_still_while_none_is_called() {
    let mut speaking = Speaking::through(&format!("[{}]", naughty("mark", "request"))).await;
    assert_eq!(speaking.get().await.1, 200);
    let sleeps = || speaking.process.sleeps("plugin-clock").expect("there is such a thread");
    eventually("the clock resting", async || {
        let before = sleeps();
        tokio::time::sleep(Duration::from_millis(400)).await;
        sleeps() == before
    })
    .await;
    assert_eq!(speaking.get().await.1, 200);
}

#[tokio::test]
async fn a_guest_can_neither_forge_a_line_nor_flood_the_log() {
    let forging = r#"{ name: naughty, config: { do: log, with: "x\n{\"level\":\"ERROR\"}\e[2J" } }"#;
    let flooding = naughty("log-forever", "request");
    let mut speaking = Speaking::through(&format!("[{forging}, {flooding}]")).await;
    let (request, status) = speaking.get().await;
    assert_eq!(status, 500, "its time ran out");
    let line = speaking.line("exceeded its output limits").await;
    is_by_naughty(&line, &request, "WARN");
    assert_eq!(speaking.line("2J").await["message"], r#"x\n{"level":"ERROR"}\u{1b}[2J"#);
    speaking.process.signal("TERM");
    let ended = speaking.process.ended().await;
    assert_eq!(ended.stderr.lines().filter(|line| line.contains("\"again\"")).count(), 100);
    for line in ended.stderr.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
