//! What one client can make of traces: nothing that others lose theirs by, and no number of names.

use http::Method;

use crate::support::{
    Client, TestGateway, Upstream,
    client::Request,
    collector::{GrpcCollector, http_collector},
    eventually,
};

const SERVER: i32 = 2;

fn yaml(upstream: &Upstream, collector: &str, protocol: &str) -> String {
    format!(
        "tracing: {{ otlp: {{ upstream: collector, protocol: {protocol} }} }}
upstreams:
  it: {{ endpoints: ['http://{}'] }}
  collector: {{ endpoints: ['http://{collector}'], protocol: {} }}
routes: [{{ name: items, match: {{ path: '/items/{{id}}' }}, upstream: it }}]
",
        upstream.address(),
        if protocol == "grpc" { "http2" } else { "http1" },
    )
}

/// Sends requests one after another on one connection.
async fn ask(gateway: &TestGateway, requests: usize, agent: &str) {
    let mut client = Client::connect(gateway.address()).await;
    for number in 0..requests {
        let request = Request::get(&format!("/items/{number}")).header("user-agent", agent);
        assert_eq!(client.send(request).await.status, 200);
    }
}

async fn dropped(gateway: &TestGateway) -> Option<u64> {
    gateway.metric("gateway_trace_spans_dropped_total", &[]).await
}

#[tokio::test]
async fn long_fields_of_one_client_do_not_make_others_lose_their_spans() {
    let (upstream, collector) = (Upstream::named("it").await, GrpcCollector::start().await);
    let gateway = TestGateway::start(&yaml(&upstream, &collector.address.to_string(), "grpc")).await;
    // Together more than the 4 MiB that a collector takes at once.
    ask(&gateway, 150, &"x".repeat(40_000)).await;
    ask(&gateway, 1, "another client").await;
    let spans = collector.collected.wait_for(2 * 151).await;
    let agents = spans.iter().filter(|span| span.span.kind == SERVER).map(|span| span.get("user_agent.original"));
    let longest = agents.clone().map(str::len).max();
    assert_eq!(longest, Some(1024), "it is cut");
    assert_eq!(agents.filter(|agent| *agent == "another client").count(), 1);
    assert_eq!(dropped(&gateway).await, Some(0));
}

#[tokio::test]
async fn many_spans_take_several_requests_to_the_collector() {
    const CLIENTS: usize = 16;
    const REQUESTS: usize = 32;
    let (upstream, collector) = (Upstream::named("it").await, GrpcCollector::start().await);
    let gateway = TestGateway::start(&yaml(&upstream, &collector.address.to_string(), "grpc")).await;
    // Every text as long as one may be: all spans together are more than the 1 MB that one request may have.
    let method = Method::from_bytes("A".repeat(2000).as_bytes()).unwrap();
    let address = gateway.address();
    let clients = (0..CLIENTS).map(|_| {
        let method = method.clone();
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            for _ in 0..REQUESTS {
                let request = Request::new(method.clone(), &format!("/items/{}", "p".repeat(2000)));
                let request = request.header("host", &"h".repeat(250)).header("user-agent", &"u".repeat(2000));
                assert_eq!(client.send(request).await.status, 200);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("every request is served");
    }
    let spans = collector.collected.wait_for(2 * CLIENTS * REQUESTS).await;
    assert_eq!(spans.len(), 2 * CLIENTS * REQUESTS);
    let largest = collector.collected.largest_request();
    // What goes with the spans is little.
    assert!(largest <= 1_001_000, "{largest} bytes");
    assert!(collector.collected.total_bytes() > 1_001_000, "one request would not have done");
    assert_eq!(dropped(&gateway).await, Some(0));
}

#[tokio::test]
async fn a_collector_that_takes_less_at_once_is_sent_less() {
    let upstream = Upstream::named("it").await;
    // RESOURCE_EXHAUSTED is what gRPC servers say of a message that is larger than they take, 413 what HTTP servers say.
    let grpc = GrpcCollector::start().await;
    let (http, collected) = http_collector().await;
    for (address, protocol, collected, too_large) in
        [(grpc.address, "grpc", grpc.collected.clone(), 8), (http.address(), "http", collected, 413)]
    {
        let gateway = TestGateway::start(&yaml(&upstream, &address.to_string(), protocol)).await;
        collected.refuse(&[too_large, too_large]);
        ask(&gateway, 8, "a client").await;
        let spans = collected.wait_for(16).await;
        assert_eq!(spans.len(), 16, "{protocol}: each once");
        // What is too large all by itself is given up.
        collected.refuse(&[too_large; 64]);
        ask(&gateway, 1, "a client").await;
        eventually("what was refused being counted", async || dropped(&gateway).await == Some(2)).await;
    }
}

#[tokio::test]
async fn methods_that_clients_make_up_are_in_no_name() {
    let (upstream, collector) = (Upstream::named("it").await, GrpcCollector::start().await);
    let gateway = TestGateway::start(&yaml(&upstream, &collector.address.to_string(), "grpc")).await;
    let long = "A".repeat(2000);
    for method in ["BREW", "get", &long] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut client = Client::connect(gateway.address()).await;
        assert_eq!(client.send(Request::new(method, "/items/1")).await.status, 200);
    }
    ask(&gateway, 1, "a client").await;
    let spans = collector.collected.wait_for(8).await;
    let servers: Vec<_> = spans.iter().filter(|span| span.span.kind == SERVER).collect();
    let of = |original: &str| servers.iter().find(|span| span.get("http.request.method_original") == original);
    for original in ["BREW", "get", &long[..1024]] {
        let span = of(original).unwrap_or_else(|| panic!("{original} in {servers:#?}"));
        assert_eq!((span.name(), span.get("http.request.method")), ("HTTP /items/{id}", "_OTHER"));
    }
    let known = of("").expect("a known method has no original");
    assert_eq!((known.name(), known.get("http.request.method")), ("GET /items/{id}", "GET"));
    let names: std::collections::BTreeSet<_> = spans.iter().map(|span| span.name().to_owned()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["GET", "GET /items/{id}", "HTTP", "HTTP /items/{id}"]);
}
