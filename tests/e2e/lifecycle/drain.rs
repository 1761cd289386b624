//! The end: what is under way finishes, and nothing else holds it up.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{Running, is_refused, to, with};
use crate::support::{Client, Gate, TestGateway, Upstream, client::Request, eventually, in_time, process::run, raw};

#[tokio::test]
async fn sigterm_drains_readiness_falls_requests_finish_and_it_exits_with_0() {
    let upstream = Gate::answering("done").await;
    let gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 0s, drain: 1h }")).await;
    assert_eq!(gateway.admin_page("/readyz").await, (200, "ready\n".to_owned()));
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { client.send(Request::get("/")).await });
    upstream.arrivals(1).await;

    gateway.process.signal("TERM");
    eventually("readiness falls", async || gateway.admin_page("/readyz").await.0 == 503).await;
    assert_eq!(gateway.admin_page("/healthz").await.0, 200, "it is alive until it ends");
    eventually("new connections are refused", async || is_refused(gateway.address).await).await;

    upstream.release(1);
    let response = in_flight.await.unwrap();
    assert_eq!((response.status.as_u16(), response.text().as_str()), (200, "done"));
    assert_eq!(response.header("connection"), "close");
    let ended = gateway.process.ended().await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("drained"), "{}", ended.stderr);
}

#[tokio::test]
async fn after_sigterm_it_is_not_ready_and_serves_until_load_balancers_have_noticed() {
    let upstream = Upstream::named("served").await;
    let mut gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 1h }")).await;
    let mut kept_alive = gateway.client().await;
    assert_eq!(kept_alive.send(Request::get("/")).await.status, 200);
    gateway.process.signal("TERM");
    eventually("readiness falls", async || gateway.admin_page("/readyz").await.0 == 503).await;
    // New connections and those that are open are served.
    let response = gateway.client().await.send(Request::get("/")).await;
    assert_eq!((response.status.as_u16(), response.text().as_str()), (200, "served"));
    assert_eq!(kept_alive.send(Request::get("/")).await.status, 200);
    assert!(gateway.process.is_running());
    // Who asks twice does not wait.
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.ended().await.code, 0);
}

#[tokio::test]
async fn when_the_delay_is_over_the_listeners_close_and_requests_finish() {
    let upstream = Gate::answering("done").await;
    let mut gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 100ms, drain: 1h }")).await;
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { client.send(Request::get("/")).await });
    upstream.arrivals(1).await;
    gateway.process.signal("QUIT");
    gateway.process.logged("no longer ready").await;
    gateway.process.logged("draining").await;
    eventually("new connections are refused", async || is_refused(gateway.address).await).await;
    upstream.release(1);
    assert_eq!(in_flight.await.unwrap().text(), "done");
    assert_eq!(gateway.process.ended().await.code, 0);
}

#[tokio::test]
async fn ctrl_c_drains_without_a_delay() {
    let upstream = Upstream::echo().await;
    let gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 1h }")).await;
    gateway.process.signal("INT");
    assert_eq!(gateway.process.ended().await.code, 0);
}

#[tokio::test]
async fn sigint_drains_too() {
    let upstream = Upstream::echo().await;
    let gateway = Running::start(&to(upstream.address())).await;
    gateway.process.signal("INT");
    assert_eq!(gateway.process.ended().await.code, 0);
}

#[tokio::test]
async fn the_deadline_ends_what_does_not_finish() {
    let upstream = Gate::answering("never").await;
    let gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 0s, drain: 200ms }")).await;
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { client.try_send(Request::get("/")).await });
    upstream.arrivals(1).await;
    let started = Instant::now();
    gateway.process.signal("TERM");
    let ended = gateway.process.ended().await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(started.elapsed() >= Duration::from_millis(200), "before the deadline");
    assert!(in_flight.await.unwrap().is_err(), "the connection is closed without an answer");
}

#[tokio::test]
async fn who_asks_twice_does_not_wait() {
    let upstream = Gate::answering("never").await;
    let mut gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 0s, drain: 1h }")).await;
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { client.try_send(Request::get("/")).await });
    upstream.arrivals(1).await;
    gateway.process.signal("TERM");
    gateway.process.logged("draining").await;
    assert!(gateway.process.is_running());
    gateway.process.signal("TERM");
    let ended = gateway.process.ended().await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(in_flight.await.unwrap().is_err());
}

#[tokio::test]
async fn connections_that_ask_nothing_do_not_hold_up_a_drain() {
    let upstream = Upstream::echo().await;
    let mut gateway =
        TestGateway::start(&with(upstream.address(), "timeouts: { drain: 1h, idle: 1h, header-read: 10m }")).await;
    let mut kept_alive = Client::connect(gateway.address()).await;
    assert_eq!(kept_alive.send(Request::get("/")).await.status, 200);
    let mut silent = TcpStream::connect(gateway.address()).await.unwrap();
    // It could still become HTTP/2 or something else.
    let mut beginning = TcpStream::connect(gateway.address()).await.unwrap();
    beginning.write_all(b"P").await.unwrap();
    eventually("all are open", async || gateway.metrics().await.contains("gateway_connections 3\n")).await;
    in_time("the drain", gateway.drain()).await.unwrap();
    assert_eq!(raw::read_to_close(&mut silent).await, "");
    assert_eq!(raw::read_to_close(&mut beginning).await, "");
}

#[tokio::test]
async fn the_health_command_succeeds_only_while_the_gateway_is_ready() {
    let upstream = Upstream::echo().await;
    let gateway = Running::start(&with(upstream.address(), "timeouts: { drain-delay: 1h }")).await;
    let folder = tempfile::tempdir().unwrap();
    let health =
        async |admin: std::net::SocketAddr| run(folder.path(), ["health", "--admin", &admin.to_string()]).await;
    let ready = health(gateway.admin).await;
    assert_eq!((ready.code, ready.stdout.as_str(), ready.stderr.as_str()), (0, "ready", ""));
    let other = health(gateway.address).await;
    assert_eq!(other.code, 1, "a listener for clients is no admin listener: {other:?}");

    gateway.process.signal("TERM");
    eventually("readiness falls", async || gateway.admin_page("/readyz").await.0 == 503).await;
    let leaving = health(gateway.admin).await;
    assert_eq!(leaving.code, 1);
    assert!(leaving.stderr.starts_with("gateway: not ready: 503 "), "{leaving:?}");

    gateway.process.signal("TERM");
    let admin = gateway.admin;
    assert_eq!(gateway.process.ended().await.code, 0);
    let gone = health(admin).await;
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains("no response from the admin listener"), "{gone:?}");
}
