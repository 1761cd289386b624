//! Signals that do not end the gateway, and one that does.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{Running, with};
use crate::support::{Gate, Upstream, client::Request, eventually, in_time};

#[tokio::test]
async fn sigquit_finishes_requests_like_sigterm() {
    let upstream = Gate::answering("done").await;
    let mut gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 0s, drain: 1h }")).await;
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { client.send(Request::get("/")).await });
    upstream.arrivals(1).await;
    gateway.process.signal("QUIT");
    gateway.process.logged("draining").await;
    upstream.release(1);
    assert_eq!(in_flight.await.unwrap().text(), "done");
    assert_eq!(gateway.process.ended().await.code, 0);
}

#[tokio::test]
async fn sigusr1_opens_the_files_of_sinks_anew_and_loses_no_line() {
    let upstream = Upstream::echo().await;
    let sinks = "sinks: { lines: { file: access.log } }
global-plugins: [{ name: access-log, config: { sink: lines } }]";
    let mut gateway = Running::start_with(&with(upstream.address(), sinks), &["--no-watch"]).await;
    let path = |name: &str| gateway.folder.path().join(name);
    let (current, rotated) = (path("access.log"), path("access.log.1"));
    let has = |path: &std::path::Path, text: &str| fs::read_to_string(path).is_ok_and(|lines| lines.contains(text));
    assert_eq!(gateway.client().await.send(Request::get("/before")).await.status, 200);
    eventually("the line is written", async || has(&current, "/before")).await;
    // As logrotate does.
    fs::rename(&current, &rotated).unwrap();
    assert_eq!(gateway.client().await.send(Request::get("/renamed")).await.status, 200);
    eventually("the line is in the file that was renamed", async || has(&rotated, "/renamed")).await;
    gateway.process.signal("USR1");
    gateway.process.logged("sink files reopened").await;
    assert_eq!(fs::read_to_string(&current).unwrap(), "", "it is there, also without a line");
    assert_eq!(gateway.client().await.send(Request::get("/after")).await.status, 200);
    eventually("the line is in the new file", async || has(&current, "/after")).await;
    assert!(!has(&rotated, "/after"));
    assert!(gateway.metrics().await.contains("gateway_config_reloads_total{result=\"ok\"} 0\n"), "it is no reload");
}

#[tokio::test]
async fn sigterm_does_not_wait_for_a_reload_that_takes_long() {
    let upstream = Upstream::echo().await;
    let settings = "timeouts: { drain-delay: 0s }";
    let mut gateway = Running::start_with(&with(upstream.address(), settings), &["--no-watch"]).await;
    // As long as the other end is open and nothing is written, reading it does not end.
    fs::remove_file(&gateway.file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&gateway.file).status();
    assert!(made.expect("mkfifo").success());
    gateway.process.signal("HUP");
    let file = gateway.file.clone();
    let opening = tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(file));
    let _open = in_time("the gateway reading its file", opening).await.expect("no panic").expect("opened");
    gateway.process.signal("TERM");
    gateway.process.logged("reload cancelled").await;
    assert_eq!(gateway.process.ended().await.code, 0);
}

#[tokio::test]
async fn sigterm_does_not_wait_for_a_file_to_come_to_rest() {
    const RELOADED: &str = "reload failed";
    let upstream = Upstream::echo().await;
    let mut gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 0s }")).await;
    let file = gateway.file.clone();
    let writing = tokio::spawn(async move {
        for number in 0.. {
            // Whole, so that a program that reads it meanwhile sees one of them.
            let beside = file.with_extension("new");
            fs::write(&beside, format!("listeners: {number}\n")).unwrap();
            fs::rename(&beside, &file).unwrap();
            // More often than the gateway takes a file to be at rest.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    gateway.process.logged(RELOADED).await;
    // The next reload is put off by further changes, for two seconds. The signal comes in the middle of that, which nothing
    // announces.
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reloads = |log: &str| log.matches(RELOADED).count();
    let before = reloads(&gateway.process.log());
    gateway.process.signal("TERM");
    let in_time = since.elapsed() < Duration::from_millis(1800);
    let ended = gateway.process.ended().await;
    writing.abort();
    assert_eq!(ended.code, 0);
    // Where the machine was too busy for this, it does not say anything.
    assert!(!in_time || reloads(&ended.stderr) == before, "{}", ended.stderr);
}
