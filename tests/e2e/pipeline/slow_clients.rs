//! Slow clients and slow services delay only their own requests.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::yaml;
use crate::support::{Client, Gate, TestGateway, Upstream, client::Request, eventually, guests, raw};

const SLOW: usize = 12;

/// One worker and one instance of each plugin.
async fn one_instance(list: &str) -> (TestGateway, Upstream) {
    let upstream = Upstream::echo().await;
    let more = "workers: 1
listeners: [{ address: '127.0.0.1:0' }]
admin: { address: '127.0.0.1:0' }";
    let text = yaml(&[("echo", upstream.address())], list, "limits: { instances: 1, time: 10s }", more);
    let text = text.replacen("plugins: {", "plugins: { json-body: { limits: { instances: 1, time: 10s } }, ", 1);
    (TestGateway::start_in(guests::folder(), &text).await, upstream)
}

fn post() -> Request {
    Request::post("/", b"{\"a\":1}".to_vec()).header("content-type", "application/json")
}

#[tokio::test]
async fn clients_that_send_their_bodies_slowly_hold_up_nobody() {
    let json_body = "{ name: json-body, config: { request: { remove: [/internal] } } }";
    let waiter = "{ name: waiter, config: { do: read-request } }";
    for (plugin, list) in [("json-body", json_body), ("waiter", waiter)] {
        let (gateway, _upstream) = one_instance(&format!("[{list}]")).await;
        let mut slow = Vec::new();
        for _ in 0..SLOW {
            let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
            let head =
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\"";
            stream.write_all(head.as_bytes()).await.unwrap();
            slow.push(stream);
        }
        let instances = async || gateway.metric("gateway_wasm_instances", &[("plugin", plugin)]).await;
        eventually("a slow client in the plugin", async || instances().await == Some(1)).await;
        for _ in 0..3 {
            let response = gateway.send(post()).await;
            assert_eq!(response.status, 200, "{plugin}: {}", response.text());
        }
        for stream in &mut slow {
            stream.write_all(b":1}").await.unwrap();
            let response = raw::read_until(stream, "\r\n\r\n").await;
            assert!(response.starts_with("HTTP/1.1 200"), "{plugin}: {response}");
        }
        for kind in ["error", "trap", "timeout", "busy"] {
            let failures = gateway.metric("gateway_wasm_failures_total", &[("plugin", plugin), ("kind", kind)]).await;
            assert_eq!(failures, Some(0), "{plugin}: {kind}");
        }
    }
}

#[tokio::test]
async fn a_service_that_answers_slowly_is_asked_once_for_each_request_and_holds_up_no_other_route() {
    const REQUESTS: u32 = 40;
    let (gate, echo) = (Gate::answering("").await, Upstream::echo().await);
    let gateway = TestGateway::start(&format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
plugins: {{ ext-auth: {{ grants: {{ upstreams: [gate] }} }} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }}, gate: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: slow, match: {{ path: '/slow/{{*rest}}' }}, upstream: echo, plugins: [{{ name: ext-auth, config: {{ upstream: gate, timeout: 60s }} }}] }}
  - {{ name: other, upstream: echo, plugins: [{{ name: transform, config: {{ request: {{ set-headers: {{ x-a: b }} }} }} }}] }}
",
        echo.address(),
        gate.address()
    ))
    .await;
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        let address = gateway.address();
        requests.spawn(async move {
            let request = Request::get(&format!("/slow/{number}")).header("authorization", "anna");
            Client::connect(address).await.send(request).await.status
        });
    }
    gate.arrivals(REQUESTS).await;
    assert_eq!(gateway.get("/other").await.status, 200);
    gate.release(REQUESTS as usize);
    assert!(requests.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(gate.waiting(), 0, "each was asked once");
    assert_eq!(echo.requests(), REQUESTS as usize + 1);
}
