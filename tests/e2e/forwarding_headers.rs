//! The gateway's own forwarding headers, which it sends although no client did: all that decides by headers sees them.

use std::collections::HashSet;

use crate::support::{Response, TestGateway, Upstream, client::Request};

const NAMES: [&str; 6] =
    ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-port", "forwarded", "x-forwarded-host"];

/// What a request from a client that sends none of them brings to the upstream.
const OWN: [&str; 6] =
    ["127.0.0.1", "127.0.0.1", "http", "8080", r#"for=127.0.0.1;host="api.test:8080";proto=http"#, "api.test:8080"];

fn request() -> Request {
    Request::get("/").header("host", "api.test:8080")
}

/// A gateway before an upstream that tells what it saw, with these settings of its route.
async fn echoing(route: &str) -> (TestGateway, Upstream) {
    let upstream = Upstream::echo().await;
    let address = upstream.address();
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ echo: {{ endpoints: ['http://{address}'] }} }}\nroutes: [{{ name: all, {route}, upstream: echo }}]\n"
    ))
    .await;
    (gateway, upstream)
}

/// The lines of forwarding headers that the upstream saw.
fn seen(response: &Response) -> Vec<(&'static str, String)> {
    assert_eq!(response.status, 200, "{}", response.text());
    NAMES.into_iter().flat_map(|name| response.upstream_saw(name).into_iter().map(move |value| (name, value))).collect()
}

/// All of them, as far as they are not among these.
fn own_but(changed: &[&str]) -> Vec<(&'static str, String)> {
    let own = NAMES.into_iter().zip(OWN.map(str::to_owned));
    own.filter(|(name, _)| !changed.contains(name)).collect()
}

#[tokio::test]
async fn a_route_can_have_a_condition_on_them() {
    let conditions = "match: { headers: { x-forwarded-proto: http, x-forwarded-port: '8080' } }";
    let (gateway, _upstream) = echoing(conditions).await;
    assert_eq!(seen(&gateway.send(request()).await), own_but(&[]));
    assert_eq!(gateway.send(Request::get("/").header("host", "api.test:81")).await.status, 404);
    assert_eq!(gateway.send(request().header("x-forwarded-proto", "https")).await.status, 200, "it is not believed");
}

#[tokio::test]
async fn plugins_read_and_edit_them() {
    let template = "'{header.x-real-ip} {header.x-forwarded-port} {header.forwarded}'";
    let (gateway, _upstream) = echoing(&format!(
        "plugins: [
            {{ name: transform, config: {{ request: {{ set-headers: {{ x-seen: {template} }} }} }} }},
            {{ name: transform, config: {{ request: {{
                set-headers: {{ x-forwarded-proto: https }},
                append-headers: {{ x-forwarded-for: '192.0.2.1' }},
                remove-headers: [x-forwarded-host],
            }} }} }},
            {{ name: transform, config: {{ response: {{ set-headers: {{ x-told: '{{header.x-forwarded-proto}}' }} }} }} }}]"
    ))
    .await;
    let response = gateway.send(request()).await;
    assert_eq!(response.upstream_saw("x-seen"), [format!("127.0.0.1 8080 {}", OWN[4])]);
    let mut expected = own_but(&["x-forwarded-proto", "x-forwarded-host"]);
    expected.push(("x-forwarded-for", "192.0.2.1".to_owned()));
    expected.push(("x-forwarded-proto", "https".to_owned()));
    assert_eq!(seen(&response).into_iter().collect::<HashSet<_>>(), expected.into_iter().collect());
    assert_eq!(response.header("x-told"), "https");
}

#[tokio::test]
async fn a_plugin_that_edits_other_headers_leaves_them_as_they_are() {
    let (gateway, _upstream) = echoing(
        "plugins: [{ name: transform, config: { request: { set-headers: { x-a: '1' }, remove-headers: [x-b] } } }]",
    )
    .await;
    let response = gateway.send(request().header("x-b", "1")).await;
    assert_eq!((seen(&response), response.upstream_saw("x-a")), (own_but(&[]), vec!["1".to_owned()]));
    assert!(response.upstream_saw("x-b").is_empty());
}

#[tokio::test]
async fn requests_can_be_balanced_by_them() {
    let upstreams = [Upstream::named("a").await, Upstream::named("b").await, Upstream::named("c").await];
    let endpoints = upstreams.iter().map(|upstream| format!("'http://{}'", upstream.address())).collect::<Vec<_>>();
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ it: {{ endpoints: [{}], balance: {{ hash: {{ header: x-forwarded-host }} }} }} }}
routes: [{{ name: all, upstream: it }}]
",
        endpoints.join(", ")
    ))
    .await;
    let mut names = HashSet::new();
    for key in 0..8 {
        let mut own = HashSet::new();
        for _ in 0..4 {
            own.insert(gateway.send(Request::get("/").header("host", &format!("host-{key}.test"))).await.text());
        }
        assert_eq!(own.len(), 1, "one host, one endpoint");
        names.extend(own);
    }
    assert!(names.len() > 1, "several hosts, several endpoints");
}
