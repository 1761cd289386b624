//! Signals that do not end the gateway, and one that does.

use std::fs;

use super::{Running, with};
use crate::support::{Gate, Upstream, client::Request, eventually};

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
    gateway.process.logged("the files of sinks are open anew").await;
    assert_eq!(fs::read_to_string(&current).unwrap(), "", "it is there, also without a line");
    assert_eq!(gateway.client().await.send(Request::get("/after")).await.status, 200);
    eventually("the line is in the new file", async || has(&current, "/after")).await;
    assert!(!has(&rotated, "/after"));
    assert!(gateway.metrics().await.contains("gateway_config_reloads_total{result=\"ok\"} 0\n"), "it is no reload");
}
