//! What a plugin whose data is limited can read, by any function and in any phase, with the guest `prober`, which tries all of them.

use std::fs;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response as Answer};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::support::{
    Client, TestGateway, Upstream, client::Request, eventually, guests, process, strict::StrictUpstream, upstream::full,
};

/// What no plugin with these grants may see.
pub(super) const SECRET: &str = "s3cret";

/// `prober` with these grants of data, behind the plugins that set two attributes, and before one that shows an attribute.
pub(super) fn yaml(upstream: std::net::SocketAddr, grants: &str, deed: &str, on_error: &str) -> String {
    format!(
        "sinks: {{ own: {{ file: own.log }} }}
plugins:
  before: {{ component: prober.wasm, grants: {{ sinks: [own] }} }}
  prober: {{ component: prober.wasm, grants: {{ sinks: [own], {grants} }} }}
  after: {{ component: prober.wasm, grants: {{ sinks: [own] }} }}
upstreams: {{ up: {{ endpoints: ['http://{upstream}'] }} }}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    plugins:
      - {{ name: before, config: {{ do: note }} }}
      - {{ name: prober, on-error: {on_error}, config: {{ do: {deed} }} }}
      - {{ name: after, config: {{ do: show }} }}
    upstream: up
"
    )
}

/// What `prober` has written so far.
pub(super) fn written(gateway: &TestGateway) -> Vec<Value> {
    let text = fs::read_to_string(gateway.folder().join("own.log")).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Waits for the lines about one exchange, and empties the file.
async fn looked(gateway: &TestGateway) -> Vec<Value> {
    eventually("lines about all phases", async || written(gateway).len() >= 4).await;
    let lines = written(gateway);
    fs::write(gateway.folder().join("own.log"), "").expect("a file");
    lines
}

/// An upstream whose response has a secret in two headers.
pub(super) async fn upstream() -> Upstream {
    Upstream::serving(async |_| {
        let response = Answer::builder().header("x-secret", SECRET).header("location", SECRET);
        response.header("x-acme-user", "anna").body(full("hello")).expect("a response")
    })
    .await
}

/// A request that has a secret wherever there is room for one.
pub(super) fn request() -> Request {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-secret", HeaderValue::from_static(SECRET));
    trailers.insert("x-acme-end", HeaderValue::from_static("1"));
    let body = Full::from(Bytes::from("body")).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
    let request = Request::post("/s3cret/path?token=s3cret", "").body(body).header("trailer", "x-secret, x-acme-end");
    let request = request.header("authorization", "Bearer s3cret");
    let request = request.header("cookie", "id=s3cret").header("proxy-authorization", "Basic s3cret");
    let request = request.header("x-forwarded-for", "s3cret").header("x_lang", SECRET).header("x-secret", SECRET);
    request.header("x-lang", "de").header("x-acme-user", "anna").header("x-acme-user", "ben")
}

const LIMITED: &str = "request-headers: { read: [X-Lang, x-acme-*] }, response-headers: { read: [x-acme-user] }, \
                       attributes: { read: [acme.*] }";

#[tokio::test]
async fn a_plugin_next_to_an_authorization_header_never_sees_it() {
    let upstream = upstream().await;
    let gateway = TestGateway::start_in(guests::folder(), &yaml(upstream.address(), LIMITED, "look", "fail")).await;
    let clients = [Client::connect(gateway.address()).await, Client::connect_http2(gateway.address()).await];
    // The client of the tests sends trailers over HTTP/2 only.
    for (mut client, trailers) in clients.into_iter().zip([json!([]), json!(["x-acme-end: 1"])]) {
        let response = client.send(request()).await;
        assert_eq!((response.status.as_u16(), response.header("x-secret")), (200, SECRET));
        let lines = looked(&gateway).await;
        let phases: Vec<_> = lines.iter().map(|line| line["phase"].as_str().unwrap()).collect();
        assert_eq!(phases, ["request", "request-body", "response", "complete"]);
        for line in lines {
            assert!(!line.to_string().contains(SECRET), "{line:#}");
            if line["phase"] == "request-body" {
                assert_eq!((&line["body"], &line["trailers"]), (&json!("body"), &trailers));
                continue;
            }
            assert_eq!(line["method"], "POST");
            assert_eq!(line["head"], json!(["", "", ""]));
            let mut request: Vec<_> =
                line["request"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
            request.sort_unstable();
            assert_eq!(request, ["x-acme-user: anna", "x-acme-user: ben", "x-lang: de"]);
            assert_eq!(line["attributes"], json!([null, "gold", null]));
            let selected: Vec<_> =
                line["selected"].as_array().unwrap().iter().filter(|value| !value.is_null()).collect();
            match line["phase"].as_str().unwrap() {
                "request" => assert_eq!(selected, ["de", "anna", "gold", "POST"]),
                _ => {
                    assert_eq!(line["response"], json!(["x-acme-user: anna"]));
                    assert_eq!(selected, ["de", "anna", "anna", "gold", "POST", "200"]);
                }
            }
        }
    }
    // It is visible, and only for this plugin.
    let denied = |data, access| [("plugin", "prober"), ("data", data), ("access", access)];
    for data in ["request-headers", "response-headers", "attributes"] {
        assert!(gateway.metric("gateway_wasm_data_denied_total", &denied(data, "read")).await > Some(0), "{data}");
    }
    assert_eq!(gateway.metric("gateway_wasm_data_denied_total", &denied("attributes", "write")).await, None);
    assert_eq!(gateway.metric("gateway_wasm_data_denied_total", &[("plugin", "before")]).await, None);
}

#[tokio::test]
async fn a_header_that_a_plugin_may_not_read_keeps_its_other_spelling() {
    let upstream = Upstream::echo().await;
    let grants = "request-headers: { read: [x_lang] }";
    let gateway = TestGateway::start_in(guests::folder(), &yaml(upstream.address(), grants, "look", "fail")).await;
    let request = || Request::get("/").header("x-secret", "1").header("x_secret", "2").header("x-acme-user", "a");
    let response = gateway.send(request()).await;
    // A read of `x-secret` that had an effect would have removed `x_secret`.
    assert_eq!(
        (response.upstream_saw("x-secret"), response.upstream_saw("x_secret")),
        (vec!["1".into()], vec!["2".into()])
    );
}

#[tokio::test]
async fn a_reload_that_changes_a_grant_applies_to_instances_that_are_there() {
    let upstream = upstream().await;
    let of = |grants: &str| yaml(upstream.address(), grants, "look", "fail");
    let mut gateway = TestGateway::start_in(guests::folder(), &of("store: [own]")).await;
    let sees = async |gateway: &TestGateway, what: &str| {
        gateway.send(request()).await;
        looked(gateway)
            .await
            .iter()
            .filter(|line| line["phase"] != "request-body")
            .all(|line| line["request"].to_string().contains(what))
    };
    assert!(sees(&gateway, "Bearer s3cret").await);
    gateway.reload(&of("request-headers: {}")).await.expect("a reload");
    assert!(!sees(&gateway, "Bearer s3cret").await && sees(&gateway, "[]").await);
    gateway.reload(&of("request-headers: { read: [Authorization, ':path'] }")).await.expect("a reload");
    assert!(sees(&gateway, "[\"authorization: Bearer s3cret\"]").await);
    gateway.reload(&of("request-headers: { read: ['*'] }")).await.expect("a reload");
    assert!(sees(&gateway, "cookie: id=s3cret").await);
}

#[tokio::test]
async fn a_plugin_that_streams_a_body_gets_the_trailers_that_it_may_read_and_the_others_go_on() {
    let upstream = StrictUpstream::answering(
        b"HTTP/1.1 200 OK\r\ntrailer: x-secret, x-sum, x-end\r\ntransfer-encoding: chunked\r\n\r\n\
          4\r\nbody\r\n0\r\nx-secret: s3cret\r\nx-sum: 42\r\n\r\n",
    )
    .await;
    let yaml = |grants: &str| {
        format!(
            "{}plugins: {{ naughty: {{ component: naughty.wasm, grants: {{ store: [own], secrets: [own], sinks: [own], {grants} }} }} }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: naughty, config: {{ do: shout, phase: part }} }}], upstream: up }}]
",
            guests::OWN,
            upstream.address()
        )
    };
    for (write, expected) in [
        // `x-end` says which trailers the plugin has seen.
        ("x-end", [("x-end", Some("x-sum")), ("x-secret", Some("s3cret")), ("x-sum", Some("42"))]),
        ("x-sum", [("x-end", None), ("x-secret", Some("s3cret")), ("x-sum", None)]),
    ] {
        let grants = format!("response-headers: {{ read: [x-sum], write: [{write}] }}");
        let gateway = TestGateway::start_in(guests::folder(), &yaml(&grants)).await;
        for mut client in [Client::connect(gateway.address()).await, Client::connect_http2(gateway.address()).await] {
            let response = client.send(Request::get("/").header("te", "trailers")).await;
            assert_eq!(response.text(), "BODY");
            let trailers = response.trailers.expect("trailers");
            for (name, part) in expected {
                let value = trailers.get(name).map(|value| value.to_str().unwrap());
                assert_eq!(value.is_some(), part.is_some(), "{write}: {name}: {value:?}");
                assert!(value.unwrap_or_default().contains(part.unwrap_or_default()), "{write}: {name}: {value:?}");
                assert!(name != "x-end" || !value.unwrap_or_default().contains("x-secret"), "{value:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_component_that_gets_bodies_is_refused_without_the_grant() {
    let said = async |grants: &str| {
        let folder = guests::folder();
        let yaml = format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]
{}upstreams: {{ up: {{ endpoints: ['http://127.0.0.1:9'] }} }}
plugins:
  naughty:
    component: naughty.wasm
    grants:
      store: [own]
      secrets: [own]
      sinks: [own]
      body: {grants}
routes: [{{ name: all, plugins: [{{ name: naughty, config: {{ do: mark }} }}], upstream: up }}]
",
            guests::OWN
        );
        fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
        process::run(folder.path(), ["check", "-c", "gateway.yaml"]).await
    };
    for (grants, lists) in [
        ("{}", "add `response` to `read` and `write` of `body`"),
        ("{ read: [response], write: [request] }", "add `response` to `write` of `body`"),
    ] {
        let said = said(grants).await;
        assert_eq!(said.code, 3, "{}", said.stderr);
        assert!(
            said.stderr.starts_with("gateway.yaml:12:7: plugin `naughty` exports `gateway:plugin/response-stream`"),
            "{}",
            said.stderr
        );
        assert!(said.stderr.contains(lists), "{}", said.stderr);
    }
    let said = said("{ read: [response], write: [response] }").await;
    assert_eq!(said.code, 0, "{}", said.stderr);
}

#[tokio::test]
async fn more_data_than_was_approved_needs_another_approval() {
    let folder = guests::folder();
    let write = |grants: &str| {
        let yaml = yaml(([127, 0, 0, 1], 9).into(), grants, "look", "fail");
        fs::write(folder.path().join("gateway.yaml"), format!("listeners: [{{ address: '127.0.0.1:0' }}]\n{yaml}"))
            .expect("a file");
    };
    let check = async || process::run(folder.path(), ["check", "-c", "gateway.yaml"]).await;
    write("request-headers: { read: [x-acme-*] }");
    let approved = process::run(folder.path(), ["plugin", "approve", "-c", "gateway.yaml"]).await;
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    assert!(approved.stdout.contains("is granted `x-acme-*` of request-headers-read"), "{}", approved.stdout);
    for (grants, more) in [
        ("request-headers: { read: [X-Acme-User] }", None),
        ("request-headers: { read: [authorization] }", Some("is granted `authorization` of request-headers-read")),
        ("request-headers: { read: ['*'] }", Some("is granted `*` of request-headers-read")),
        ("request-headers: { read: [x-acme-*], write: [host] }", Some("is granted `host` of request-headers-write")),
        ("store: [own]", Some("is granted all headers, attributes and bodies")),
    ] {
        write(grants);
        let checked = check().await;
        assert_eq!(checked.code, if more.is_some() { 3 } else { 0 }, "{grants}: {}", checked.stderr);
        assert!(checked.stderr.contains(more.unwrap_or_default()), "{grants}: {}", checked.stderr);
    }
}

#[tokio::test]
async fn inspect_shows_which_data_a_component_can_access() {
    let folder = guests::folder();
    let shown = process::run(folder.path(), ["plugin", "inspect", "prober.wasm"]).await;
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for line in [
        "  request-headers: read, write\n",
        "  response-headers: read, write\n",
        "  attributes: read, write\n",
        "  body: read request, write request, write response\n",
    ] {
        assert!(shown.stdout.contains(line), "{line} in {}", shown.stdout);
    }
    let counting = process::run(folder.path(), ["plugin", "inspect", "counting.wasm", "--json"]).await;
    let counting: Value = serde_json::from_str(&counting.stdout).expect("JSON");
    assert_eq!(counting["data"]["body"], json!(["read request", "write request", "write response"]));
    assert_eq!(counting["data"]["attributes"], Value::Null);
}
