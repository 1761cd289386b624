//! What a reload changes, and what it must not disturb.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::{free_address, is_refused, to};
use crate::support::{Client, Gate, TestGateway, Upstream, client::Request, eventually};

#[tokio::test]
async fn no_request_is_lost_while_fifty_reloads_happen() {
    let one = Upstream::named("one").await;
    let two = Upstream::named("two").await;
    let mut gateway = TestGateway::start(&to(one.address())).await;
    let address = gateway.address();
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..6)
        .map(|n| {
            let (stop, answered) = (stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let mut http2 = Client::connect_http2(address).await;
                while !stop.load(Ordering::Relaxed) {
                    // Connections that are kept, of both kinds, and new ones.
                    let response = match n % 3 {
                        0 => client.send(Request::get("/")).await,
                        1 => http2.send(Request::post("/", "hello")).await,
                        _ => Client::connect(address).await.send(Request::get("/")).await,
                    };
                    assert_eq!(response.status, 200);
                    assert!(["one", "two"].contains(&response.text().as_str()));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 0..50 {
        let before = answered.load(Ordering::Relaxed);
        let upstream = if n % 2 == 0 { &two } else { &one };
        gateway.reload(&to(upstream.address())).await.unwrap();
        // Every configuration gets its share of requests.
        eventually("requests are answered", async || answered.load(Ordering::Relaxed) > before + 6).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(one.requests() > 100 && two.requests() > 100, "{} and {}", one.requests(), two.requests());
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_config_reloads_total{result=\"ok\"} 50\n"), "{metrics}");
}

#[tokio::test]
async fn a_request_in_flight_finishes_on_the_configuration_it_began_with() {
    let old = Gate::answering("old").await;
    let new = Upstream::named("new").await;
    let config = |path: &str, upstream: SocketAddr| {
        format!(
            "upstreams: {{ only: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: only, match: {{ path: {path} }}, upstream: only }}]
"
        )
    };
    let mut gateway = TestGateway::start(&config("/old", old.address())).await;
    let mut client = Client::connect(gateway.address()).await;
    let in_flight = tokio::spawn(async move {
        let response = client.send(Request::get("/old")).await;
        (client, response)
    });
    old.arrivals(1).await;
    gateway.reload(&config("/new", new.address())).await.unwrap();
    old.release(1);
    let (mut client, response) = in_flight.await.unwrap();
    assert_eq!(response.text(), "old");
    // The next request on the same connection goes by the new one.
    assert_eq!(client.send(Request::get("/old")).await.status, 404);
    assert_eq!(client.send(Request::get("/new")).await.text(), "new");
}

#[tokio::test]
async fn listeners_come_and_go_by_reload() {
    let slow = Gate::answering("slow").await;
    let quick = Upstream::named("quick").await;
    let (first, second) = (free_address(), free_address());
    let config = |listeners: &[SocketAddr]| {
        let listeners: String = listeners.iter().map(|address| format!("  - address: {address}\n")).collect();
        format!(
            "workers: 2
listeners:
{listeners}
upstreams:
  slow: {{ endpoints: ['http://{}'] }}
  quick: {{ endpoints: ['http://{}'] }}
routes:
  - {{ name: slow, match: {{ path: /slow }}, upstream: slow }}
  - {{ name: quick, match: {{ path: /quick }}, upstream: quick }}
",
            slow.address(),
            quick.address()
        )
    };
    let answer = async |address| Client::connect(address).await.send(Request::get("/quick")).await.text();
    let mut gateway = TestGateway::start(&config(&[first])).await;
    let mut client = Client::connect(first).await;
    let in_flight = tokio::spawn(async move { client.send(Request::get("/slow")).await });
    slow.arrivals(1).await;
    assert!(is_refused(second).await);

    gateway.reload(&config(&[first, second])).await.unwrap();
    assert_eq!(answer(first).await, "quick");
    assert_eq!(answer(second).await, "quick");

    gateway.reload(&config(&[second])).await.unwrap();
    eventually("the first is closed", async || is_refused(first).await).await;
    assert_eq!(answer(second).await, "quick");
    slow.release(1);
    assert_eq!(in_flight.await.unwrap().text(), "slow", "the request came before its listener went");

    // The port is free again, also for the gateway itself.
    gateway.reload(&config(&[first, second])).await.unwrap();
    assert_eq!(answer(first).await, "quick");
}

#[tokio::test]
async fn a_reload_that_cannot_listen_has_no_effect_at_all() {
    let one = Upstream::named("one").await;
    let two = Upstream::named("two").await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (address, taken)).unwrap();
    let mut gateway = TestGateway::start(&to(one.address())).await;
    let free = free_address();
    let listeners =
        format!("listeners: [{{ address: '127.0.0.1:0' }}, {{ address: '{free}' }}, {{ address: '{}' }}]\n", taken.0);
    let config = to(two.address()).replace("listeners: [{ address: '127.0.0.1:0' }]\n", &listeners);
    let error = gateway.reload(&config).await.unwrap_err().to_string();
    assert!(error.contains(&taken.0.to_string()), "{error}");
    assert_eq!(gateway.get("/").await.text(), "one");
    assert!(is_refused(free).await, "a listener of the refused configuration is open");
}
