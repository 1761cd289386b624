//! JSON over HTTP to a real Thrift server (Apache's Python library), over real sockets.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Authority, TestGateway,
    client::{Request, Response},
    eventually,
    thrift::{FOLDER, ThriftServer},
};

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in ["everything.thrift", "shared.thrift"] {
        fs::copy(format!("{FOLDER}/{file}"), folder.path().join(file)).expect("a file");
    }
    folder
}

/// A gateway before a service over TCP.
async fn over_tcp(address: std::net::SocketAddr, config: &str, settings: &str) -> TestGateway {
    let yaml = format!(
        "files: {{ everything: everything.thrift, shared: shared.thrift }}
upstreams: {{ it: {{ endpoints: ['tcp://{address}'] }} }}
plugins: {{ thrift-json: {{ grants: {{ upstreams: [it] }} }} }}
{settings}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    plugins:
      - name: thrift-json
        config: {{ idl: everything, upstream: it, {config} }}
    respond: {{ status: 404 }}
"
    );
    TestGateway::start_in(folder(), &yaml).await
}

async fn over_http(address: std::net::SocketAddr, config: &str) -> TestGateway {
    let yaml = format!(
        "files: {{ everything: everything.thrift, shared: shared.thrift }}
upstreams: {{ it: {{ endpoints: ['http://{address}'] }} }}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    plugins: [{{ name: thrift-json, config: {{ idl: everything, transport: http, {config} }} }}]
    upstream: it
"
    );
    TestGateway::start_in(folder(), &yaml).await
}

async fn call(gateway: &TestGateway, method: &str, arguments: Value) -> Response {
    let request = Request::post(&format!("/Everything/{method}"), arguments.to_string());
    gateway.send(request.header("content-type", "application/json")).await
}

fn thing() -> Value {
    json!({
        "id": 9_007_199_254_740_993_i64,
        "name": "Grüße",
        "colour": "BLUE",
        "numbers": [1, -2, 32767],
        "tags": ["z"],
        "places": { "here": { "x": 0.5, "y": -1.0 } },
        "blob": "AP8K",
        "shape": { "point": { "x": 1.0, "y": 1.5 } },
        "small": -128,
        "ratio": 0.1,
        "flag": true,
        "names": { "7": "seven" },
        "next": { "id": 1, "colour": "GREEN", "tags": ["a"] },
    })
}

/// What every protocol and transport has to do alike.
async fn everything_works(gateway: &TestGateway) {
    let answer = call(gateway, "echo", json!({ "thing": thing() })).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"), "{}", answer.text());
    assert_eq!(answer.json(), thing());
    let answer = call(gateway, "add", json!({ "a": 1 })).await;
    assert_eq!(answer.json(), json!(21), "the default of an argument is a constant");
    let answer = call(gateway, "nothing", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(call(gateway, "ping", json!({})).await.json(), json!("pong"), "of the service that it extends");
    let answer = call(gateway, "echo", json!({ "thing": { "id": 5, "name": "missing" } })).await;
    let problem = json!({
        "type": "about:blank", "title": "Not Found", "status": 404, "detail": "no such thing",
        "request-id": answer.header("x-request-id"), "exception": "NotFound",
        "value": { "message": "no such thing", "id": 5 },
    });
    let mut found = answer.json();
    found["request-id"] = problem["request-id"].clone();
    assert_eq!((answer.status.as_u16(), found), (404, problem));
    let answer = call(gateway, "echo", json!({ "thing": { "id": 5, "name": "denied" } })).await;
    assert_eq!((answer.status.as_u16(), answer.json()["value"]["level"].clone()), (403, json!(3)));
    let answer = call(gateway, "boom", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.json()["kind"].clone()), (502, json!("INTERNAL_ERROR")));
    let answer = call(gateway, "many", json!({ "count": 2000 })).await;
    let things = answer.json();
    assert_eq!(things.as_array().expect("a list").len(), 2000);
    assert_eq!(things[1999]["next"]["id"], json!(-1999));
    // The server makes calls of different connections side by side, so it may be a moment.
    let answer = call(gateway, "note", json!({ "text": "one" })).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    eventually("the note", async || call(gateway, "noted", json!({})).await.json() == json!(["one"])).await;
}

const EXCEPTIONS: &str = "exceptions: { Denied: 403 }";

#[tokio::test]
async fn binary_in_frames() {
    let server = ThriftServer::start("framed", "binary").await;
    everything_works(&over_tcp(server.address(), EXCEPTIONS, "").await).await;
}

#[tokio::test]
async fn compact_in_frames() {
    let server = ThriftServer::start("framed", "compact").await;
    everything_works(&over_tcp(server.address(), &format!("protocol: compact, {EXCEPTIONS}"), "").await).await;
}

#[tokio::test]
async fn binary_without_frames() {
    let server = ThriftServer::start("buffered", "binary").await;
    everything_works(&over_tcp(server.address(), &format!("transport: buffered, {EXCEPTIONS}"), "").await).await;
}

#[tokio::test]
async fn compact_without_frames() {
    let server = ThriftServer::start("buffered", "compact").await;
    let config = format!("transport: buffered, protocol: compact, {EXCEPTIONS}");
    everything_works(&over_tcp(server.address(), &config, "").await).await;
}

#[tokio::test]
async fn binary_over_http() {
    let server = ThriftServer::start("http", "binary").await;
    everything_works(&over_http(server.address(), EXCEPTIONS).await).await;
}

#[tokio::test]
async fn compact_over_http() {
    let server = ThriftServer::start("http", "compact").await;
    everything_works(&over_http(server.address(), &format!("protocol: compact, {EXCEPTIONS}")).await).await;
}

#[tokio::test]
async fn several_services_of_one_server() {
    let server = ThriftServer::start_with(&["framed", "binary", "--multiplexed"]).await;
    let gateway = over_tcp(server.address(), "multiplexed: true", "").await;
    assert_eq!(call(&gateway, "add", json!({ "a": 2, "b": 3 })).await.json(), json!(5));
}

#[tokio::test]
async fn connections_serve_one_call_after_another() {
    let server = ThriftServer::start("framed", "binary").await;
    let gateway = over_tcp(server.address(), "", "").await;
    for a in 0..20 {
        assert_eq!(call(&gateway, "add", json!({ "a": a, "b": 1 })).await.json(), json!(a + 1));
    }
    let metrics = gateway.metrics().await;
    let connects = metrics.lines().find_map(|line| {
        line.strip_prefix("gateway_upstream_connects_total{upstream=\"it\",result=\"ok\"} ")?.parse::<u32>().ok()
    });
    assert!(connects.is_some_and(|connects| connects <= 2), "one for each worker: {metrics}");
}

#[tokio::test]
async fn calls_wait_for_a_service_side_by_side() {
    let server = ThriftServer::start("framed", "binary").await;
    let gateway = over_tcp(server.address(), "", "").await;
    let calls = (0..20).map(|_| call(&gateway, "slow", json!({ "millis": 2000 })));
    let in_progress = async || gateway.metric("gateway_wasm_calls_in_progress", &[("plugin", "thrift-json")]).await;
    let (answers, ()) = futures_util::future::join(
        futures_util::future::join_all(calls),
        eventually("all calls waiting", async || in_progress().await == Some(20)),
    )
    .await;
    assert!(answers.iter().all(|answer| answer.json() == json!("done")));
    assert_eq!(in_progress().await, Some(0));
}

#[tokio::test]
async fn bindings_take_arguments_from_path_query_and_body() {
    let server = ThriftServer::start("framed", "binary").await;
    let bindings = "bindings: [
        { call: Everything/add, method: GET, path: '/sum/{a}' },
        { call: Everything/echo, method: PUT, path: '/things/{thing.id}', body: thing, query: { called: thing.name } } ]";
    let gateway = over_tcp(server.address(), bindings, "").await;
    assert_eq!(gateway.get("/sum/40?b=2").await.json(), json!(42));
    assert_eq!(gateway.get("/sum/40").await.json(), json!(60));
    let put = Request::put("/things/7?called=it%20self&thing.numbers=1&thing.numbers=2", r#"{"flag":true}"#);
    let put = put.header("content-type", "application/json");
    let answer = gateway.send(put).await.json();
    assert_eq!(
        (answer["id"].clone(), answer["name"].clone(), answer["numbers"].clone(), answer["flag"].clone()),
        (json!(7), json!("it self"), json!([1, 2]), json!(true))
    );
    let answer = gateway.get("/sum/forty").await;
    assert_eq!((answer.status.as_u16(), answer.json()["parameter"].clone()), (400, json!("a")));
    assert_eq!(gateway.send(Request::post("/sum/40", String::new())).await.status, 405);
    assert_eq!(gateway.get("/sum/4/0").await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_a_call_is_refused_with_its_place_and_reaches_no_service() {
    let server = ThriftServer::start("framed", "binary").await;
    let gateway = over_tcp(server.address(), "", "limits: { buffer-bytes: 64KiB }").await;
    let refused = async |method: &str, body: &str| {
        let request = Request::post(&format!("/Everything/{method}"), body.to_owned());
        let answer = gateway.send(request.header("content-type", "application/json")).await;
        (answer.status.as_u16(), answer.json()["pointer"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(refused("echo", r#"{"thing":{"id":"x"}}"#).await, (400, "/thing/id".to_owned()));
    assert_eq!(refused("echo", r#"{"thing":{"name":"a"}}"#).await, (400, "/thing/id".to_owned()));
    assert_eq!(
        refused("echo", r#"{"thing":{"id":1,"numbers":[1,70000]}}"#).await,
        (400, "/thing/numbers/1".to_owned())
    );
    assert_eq!(refused("echo", r#"{"thing":{"id":1,"shape":{}}}"#).await, (400, "/thing/shape".to_owned()));
    assert_eq!(refused("echo", r#"{"thing":{"id":1,"none":0}}"#).await, (400, "/thing/none".to_owned()));
    assert_eq!(refused("echo", "{").await, (400, String::new()));
    assert_eq!(refused("nowhere", "{}").await.0, 404);
    assert_eq!(refused("note", &json!({ "text": "x".repeat(70_000) }).to_string()).await.0, 413);
    assert_eq!(
        gateway
            .send(Request::post("/Everything/ping", "<x/>".to_owned()).header("content-type", "text/xml"))
            .await
            .status,
        415
    );
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_upstream_connects_total{upstream=\"it\",result=\"ok\"} 0"), "{metrics}");
}

#[tokio::test]
async fn a_message_that_is_larger_than_its_text_is_over_the_limit_too() {
    for (scheme, config) in [("tcp", "upstream: it"), ("http", "transport: http")] {
        let folder = folder();
        fs::write(folder.path().join("wide.thrift"), "service Wide { void take(1: list<double> all) }")
            .expect("a file");
        let action = if scheme == "tcp" { "respond: { status: 404 }" } else { "upstream: it" };
        let yaml = format!(
            "files: {{ wide: wide.thrift }}
limits: {{ buffer-bytes: 64KiB }}
upstreams: {{ it: {{ endpoints: ['{scheme}://127.0.0.1:9'] }} }}
plugins: {{ thrift-json: {{ grants: {{ upstreams: [it] }} }} }}
routes: [{{ name: all, plugins: [{{ name: thrift-json, config: {{ idl: wide, {config} }} }}], {action} }}]
"
        );
        let gateway = TestGateway::start_in(folder, &yaml).await;
        // Two bytes for each number as text, and eight in the message.
        let body = json!({ "all": vec![1; 20_000] }).to_string();
        assert!(body.len() < 64 * 1024);
        let request = Request::post("/Wide/take", body).header("content-type", "application/json");
        assert_eq!(gateway.send(request).await.status, 413, "{scheme}");
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_had_is_a_bad_gateway_and_a_slow_one_a_timeout() {
    let server = ThriftServer::start("framed", "binary").await;
    let gateway = over_tcp(server.address(), "timeout: 100ms", "").await;
    let answer = call(&gateway, "slow", json!({ "millis": 3000 })).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (504, "application/problem+json"));
    drop(server);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let gateway = over_tcp(gone, "", "").await;
    assert_eq!(call(&gateway, "ping", json!({})).await.status, 502);
}

/// A service that says `answer` to whatever it is sent, in parts, and whether it closes then.
async fn liar(answer: Vec<u8>, closes: bool) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    for part in answer.chunks(7) {
                        if stream.write_all(part).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                    if closes {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn lies_of_a_service_are_a_bad_gateway_at_once() {
    let reply = |rest: &[u8]| {
        let mut message = vec![0x80, 1, 0, 2, 0, 0, 0, 4];
        message.extend_from_slice(b"ping");
        message.extend_from_slice(&[0, 0, 0, 1]);
        message.extend_from_slice(rest);
        let mut frame = u32::try_from(message.len()).expect("small").to_be_bytes().to_vec();
        frame.extend(message);
        frame
    };
    let lies = [
        // A string of 2 GiB in a frame of a few bytes, and one of less than none.
        reply(&[11, 0, 0, 0x7f, 0xff, 0xff, 0xff, b'x', 0]),
        reply(&[11, 0, 0, 0xff, 0xff, 0xff, 0xff, b'x', 0]),
        // Another type, and none at all.
        reply(&[8, 0, 0, 0, 0, 0, 1, 0]),
        reply(&[0]),
        // A frame of 4 GiB.
        vec![0xff; 16],
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ];
    for lie in lies {
        let gateway = over_tcp(liar(lie.clone(), false).await, "timeout: 30s", "").await;
        let answer = call(&gateway, "ping", json!({})).await;
        assert_eq!(answer.status, 502, "{lie:?}");
    }
    let gateway = over_tcp(liar(reply(&[11, 0, 0, 0, 0, 0, 4])[..10].to_vec(), true).await, "", "").await;
    assert_eq!(call(&gateway, "ping", json!({})).await.status, 502, "it breaks off");
    let gateway = over_tcp(liar(reply(&[11, 0, 0, 0, 0, 0, 2, b'o', b'k', 0]), false).await, "", "").await;
    for _ in 0..3 {
        assert_eq!(call(&gateway, "ping", json!({})).await.json(), json!("ok"), "the truth, in small parts");
    }
}

#[tokio::test]
async fn routes_come_from_the_idl() {
    let server = ThriftServer::start("framed", "binary").await;
    let yaml = format!(
        "files: {{ everything: everything.thrift, shared: shared.thrift }}
upstreams: {{ it: {{ endpoints: ['tcp://{}'] }} }}
plugins: {{ thrift-json: {{ grants: {{ upstreams: [it] }} }} }}
routes:
  - name: calls
    match: {{ from-plugin: thrift-json }}
    plugins:
      - name: thrift-json
        config:
          {{ idl: everything, upstream: it, prefix: /api, bindings: [{{ call: Everything/add, method: GET, path: '/sum/{{a}}' }}] }}
    respond: {{ status: 404 }}
  - {{ name: rest, match: {{ path: '/{{*rest}}' }}, respond: {{ status: 418 }} }}
",
        server.address()
    );
    let gateway = TestGateway::start_in(folder(), &yaml).await;
    assert_eq!(gateway.get("/api/sum/40?b=2").await.json(), json!(42));
    assert_eq!(gateway.send(Request::post("/api/Everything/ping", "{}")).await.json(), json!("pong"));
    assert_eq!(gateway.get("/api/Everything").await.status, 418);
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over_and_found_by_checks() {
    let server = ThriftServer::start("framed", "binary").await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let yaml = format!(
        "files: {{ everything: everything.thrift, shared: shared.thrift }}
upstreams:
  it:
    endpoints: ['tcp://{}', 'tcp://{gone}']
    health: {{ active: {{ tcp: {{}}, interval: 50ms, unhealthy-after: 1 }} }}
plugins: {{ thrift-json: {{ grants: {{ upstreams: [it] }} }} }}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    plugins: [{{ name: thrift-json, config: {{ idl: everything, upstream: it }} }}]
    respond: {{ status: 404 }}
",
        server.address()
    );
    let gateway = TestGateway::start_in(folder(), &yaml).await;
    for _ in 0..10 {
        assert_eq!(call(&gateway, "ping", json!({})).await.status, 200);
    }
    eventually("the verdict", async || {
        gateway.metrics().await.contains("gateway_upstream_endpoints{upstream=\"it\",state=\"unhealthy\"} 1")
    })
    .await;
}

#[tokio::test]
async fn a_service_behind_tls_is_verified() {
    let (folder, authority) = (folder(), Authority::new());
    authority.issue(folder.path(), "server", &["localhost"]);
    authority.write(&folder.path().join("ca.pem"));
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (cert, key) = (file("server.pem"), file("server.key"));
    let server = ThriftServer::start_with(&["framed", "binary", "--tls", &cert, &key]).await;
    let yaml = |name: &str| {
        format!(
            "files: {{ everything: everything.thrift, shared: shared.thrift }}
upstreams: {{ it: {{ endpoints: ['tls://{}'], tls: {{ ca: ca.pem, server-name: {name} }} }} }}
plugins: {{ thrift-json: {{ grants: {{ upstreams: [it] }} }} }}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    plugins: [{{ name: thrift-json, config: {{ idl: everything, upstream: it }} }}]
    respond: {{ status: 404 }}
",
            server.address()
        )
    };
    let mut gateway = TestGateway::start_in(folder, &yaml("localhost")).await;
    for _ in 0..3 {
        assert_eq!(call(&gateway, "echo", json!({ "thing": thing() })).await.json(), thing());
    }
    gateway.reload(&yaml("elsewhere")).await.expect("a good configuration");
    assert_eq!(call(&gateway, "ping", json!({})).await.status, 502);
}

#[tokio::test]
async fn a_route_cannot_send_requests_to_an_upstream_of_tcp() {
    let yaml = "upstreams: { it: { endpoints: ['tcp://127.0.0.1:1'] } }
routes: [{ name: all, match: { path: / }, upstream: it }]
";
    let error = TestGateway::try_start(yaml).await.err().expect("refused").to_string();
    assert!(error.contains("not of HTTP but of TCP") && error.contains("thrift-json"), "{error}");
}
