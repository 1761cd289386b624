//! Upstreams that fail, lie, or say more than they should: each has one right outcome, and no client is told
//! anything that was not said.

mod balancing;
mod breaker;
mod cancelled;
mod connections;
mod ejection;
mod endpoints;
mod heads;
mod health;
mod http2;
mod loops;
mod names;
mod private;
mod processes;
mod reload;
mod responses;
mod retries;
mod tls;
mod unreachable;

use std::{collections::HashMap, net::SocketAddr};

use crate::support::{Client, Response, TestGateway, client::Request};

/// Everything to these endpoints.
fn balanced(endpoints: &[SocketAddr], settings: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("'http://{address}'")).collect();
    configured(&endpoints.join(", "), settings)
}

/// One worker, so that turns and idle connections are what they seem.
fn configured(endpoints: &str, settings: &str) -> String {
    format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
timeouts: {{ request: 5s }}
upstreams: {{ it: {{ endpoints: [{endpoints}], {settings} }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: it }}]
"
    )
}

async fn gateway_to(upstream: SocketAddr) -> TestGateway {
    TestGateway::start(&balanced(&[upstream], "")).await
}

/// How many of so many requests each name answered.
async fn answers(gateway: &TestGateway, requests: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let mut client = Client::connect(gateway.address()).await;
    for _ in 0..requests {
        *counts.entry(client.send(Request::get("/")).await.text()).or_default() += 1;
    }
    counts
}

fn is_problem(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(response.json()["request-id"], response.header("x-request-id"));
    assert!(!response.text().contains("127.0.0.1"), "{}", response.text());
}
