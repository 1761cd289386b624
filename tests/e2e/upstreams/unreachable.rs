//! Addresses that drop packets: to connect there takes as long as `timeouts.connect`, and few requests pay for that.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use super::{answers, balanced};
use crate::support::{TestGateway, Upstream, counted::metric, eventually};

/// A listener whose queue is full, so that the system drops further attempts to connect.
struct Full {
    listener: Socket,
    address: SocketAddr,
    queued: Vec<Socket>,
}

impl Full {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        listener.listen(1).expect("a listener");
        let address = listener.local_addr().expect("an address").as_socket().expect("of IP");
        let mut queued = Vec::new();
        // The first that is not accepted at once shows that the queue is full.
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).map(|it| queued.push(it.into())).is_ok()
        {
        }
        Self { listener, address, queued }
    }

    /// Takes connections from now on.
    fn reopen(mut self) -> std::net::TcpListener {
        self.queued.clear();
        self.listener.into()
    }
}

async fn connects_failed(gateway: &TestGateway) -> u64 {
    metric(gateway, "gateway_upstream_connects_total{upstream=\"it\",result=\"error\"}").await
}

async fn fit(gateway: &TestGateway) -> u64 {
    metric(gateway, "gateway_upstream_endpoints{upstream=\"it\",state=\"healthy\"}").await
}

#[tokio::test]
async fn an_address_that_drops_packets_delays_one_request_and_comes_back_when_it_accepts() {
    let full = tokio::task::spawn_blocking(Full::new).await.expect("no panic");
    let alive = Upstream::named("alive").await;
    let settings = "timeouts: { connect: 600ms }, idle-connections: 0";
    let gateway = TestGateway::start(&balanced(&[full.address, alive.address()], settings)).await;
    assert_eq!(answers(&gateway, 30).await["alive"], 30);
    assert_eq!(connects_failed(&gateway).await, 1, "one request has found out for all");
    assert_eq!(fit(&gateway).await, 1);
    let address = full.address;
    drop(full.reopen());
    let back = Upstream::serving_at(address, |_| async { http::Response::new(crate::support::upstream::full("back")) });
    let _back = back.await.expect("the port is free");
    eventually("requests going there again", async || answers(&gateway, 2).await.contains_key("back")).await;
    assert_eq!(fit(&gateway).await, 2);
    assert_eq!(connects_failed(&gateway).await, 1, "no request was the one to try");
}

#[tokio::test]
async fn with_few_endpoints_healthy_those_that_cannot_be_reached_are_left_out_nevertheless() {
    let (one, other) = tokio::task::spawn_blocking(|| (Full::new(), Full::new())).await.expect("no panic");
    let alive = Upstream::named("alive").await;
    let settings = "timeouts: { connect: 600ms }, idle-connections: 0, health: { panic-threshold: 90% }";
    let endpoints = [one.address, other.address, alive.address()];
    let gateway = TestGateway::start(&balanced(&endpoints, settings)).await;
    assert_eq!(answers(&gateway, 30).await["alive"], 30);
    assert_eq!(connects_failed(&gateway).await, 2);
}
