//! JSON over HTTP to a real gRPC server (tonic), over real sockets.

use std::{fs, path::Path};

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Client, TestGateway, client::Request, eventually, grpc::GrpcServer};

/// The descriptors of a file in tests/protos or examples, as protoc would write them.
fn descriptors(file: &str) -> Vec<u8> {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let folders = [format!("{workspace}/tests/protos"), format!("{workspace}/examples")];
    let mut compiler = protox::Compiler::new(folders).expect("folders");
    compiler.include_imports(true).include_source_info(false).open_file(file).expect("it compiles");
    compiler.encode_file_descriptor_set()
}

fn describe(folder: &Path) {
    fs::write(folder.join("echo.binpb"), descriptors("echo.proto")).expect("a file");
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    describe(folder.path());
    folder
}

fn yaml(server: &GrpcServer, settings: &str) -> String {
    format!(
        "files: {{ echo: echo.binpb }}
upstreams: {{ it: {{ endpoints: ['http://{}'], protocol: http2 }} }}
{settings}
routes:
  - name: all
    match: {{ path: '/{{*rest}}' }}
    paths: {{ encoded-slashes: keep }}
    plugins: [{{ name: grpc-json, config: {{ descriptors: echo }} }}]
    upstream: it
",
        server.address()
    )
}

async fn before(server: &GrpcServer) -> TestGateway {
    TestGateway::start_in(folder(), &yaml(server, "")).await
}

#[tokio::test]
async fn a_call_is_made_of_path_query_or_body_and_answered_with_json() {
    let server = GrpcServer::start().await;
    let gateway = before(&server).await;
    let answer = gateway.get("/echo/hello%20you?count=7").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "text": "hello you", "count": 7 })));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(answer.header("grpc-status"), "");
    let post =
        |target: &str, body: &str| Request::post(target, body.to_owned()).header("content-type", "application/json");
    let answer = gateway.send(post("/echo", r#"{"text":"a","count":"3"}"#)).await;
    assert_eq!(answer.json(), json!({ "text": "a", "count": 3 }));
    let answer = gateway.send(post("/echo/a/b%2Fc:say", r#"{"count":1}"#)).await;
    assert_eq!(answer.json(), json!({ "text": "a/b%2Fc", "count": 1 }));
    assert_eq!(gateway.get("/count/5").await.json(), json!(5));
}

#[tokio::test]
async fn headers_are_metadata_both_ways() {
    let server = GrpcServer::start().await;
    let gateway = before(&server).await;
    let answer = gateway.send(Request::get("/echo/a").header("x-asked", "yes").header("raw-bin", "AP8K")).await;
    assert_eq!((answer.header("x-asked"), answer.header("raw-bin")), ("yes", "AP8K"));
}

#[tokio::test]
async fn a_failed_call_is_a_problem_with_the_status_that_http_has_for_it() {
    let server = GrpcServer::start().await;
    let gateway = before(&server).await;
    let answer = gateway.get("/echo/fail").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (404, "application/problem+json"));
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["detail"]), (&json!("NOT_FOUND"), &json!("no such thing")));
    assert_eq!(gateway.get("/nothing").await.status, 404);
    assert_eq!(gateway.send(Request::post("/echo/a", "")).await.status, 405);
    assert_eq!(gateway.send(Request::post("/test.Echo/Up", "{}")).await.status, 501);
    let answer = gateway.send(Request::post("/echo", r#"{"text":"a","count":-1}"#)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["pointer"]), (400, &json!("/count")));
    assert_eq!(server.calls(), 1, "what is refused reaches nobody");
}

#[tokio::test]
async fn the_service_is_told_how_long_the_client_waits() {
    let server = GrpcServer::start().await;
    let gateway = before(&server).await;
    let answer = gateway.send(Request::get("/echo/hang").header("grpc-timeout", "50m")).await;
    // That is how tonic says that the time is over.
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (499, &json!("CANCELLED")));
}

#[tokio::test]
async fn messages_stream_as_lines_or_as_events() {
    let server = GrpcServer::start().await;
    let gateway = before(&server).await;
    let answer = gateway.get("/down/x/300").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let text = answer.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 300);
    assert_eq!(lines[299], json!({ "text": "x", "count": 299 }));
    let answer = gateway.send(Request::get("/down/x/2").header("accept", "text/event-stream")).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.text(), "data: {\"text\":\"x\"}\n\ndata: {\"text\":\"x\",\"count\":1}\n\n");
}

#[tokio::test]
async fn a_message_arrives_before_the_next_is_sent_and_who_leaves_ends_the_call() {
    let server = GrpcServer::start().await;
    let gateway = before(&server).await;
    for mut client in [Client::connect(gateway.address()).await, Client::connect_http2(gateway.address()).await] {
        let cancelled = server.cancelled();
        let response = client.begin(Request::get("/down/never/0")).await.expect("a response");
        let mut body = response.into_body();
        let first = body.frame().await.expect("a part").expect("no error").into_data().expect("data");
        assert_eq!(first, "{\"text\":\"first\"}\n");
        drop(body);
        drop(client);
        eventually("the call's end", async || server.cancelled() == cancelled + 1).await;
    }
}

#[tokio::test]
async fn the_plugin_with_instances_for_one_request_each_streams_too() {
    let server = GrpcServer::start().await;
    let settings = "plugins: { grpc-json: { isolation: request } }";
    let gateway = TestGateway::start_in(folder(), &yaml(&server, settings)).await;
    assert_eq!(gateway.get("/down/x/50").await.text().lines().count(), 50);
    assert_eq!(gateway.get("/echo/a").await.json(), json!({ "text": "a" }));
}

#[tokio::test]
async fn a_body_over_the_limit_is_the_clients_fault_and_an_answer_over_it_is_not() {
    let server = GrpcServer::start().await;
    let settings = "limits: { buffer-bytes: 1KiB }";
    let gateway = TestGateway::start_in(folder(), &yaml(&server, settings)).await;
    let body = json!({ "text": "x".repeat(2000) }).to_string();
    assert_eq!(gateway.send(Request::post("/echo", body)).await.status, 413);
    assert_eq!(gateway.get(&format!("/echo/{}", "x".repeat(1020))).await.status, 413, "as a message it is over it");
    // It fits as a message, and not as an answer in JSON.
    assert!(gateway.get(&format!("/echo/{}", "x".repeat(1016))).await.status.is_server_error());
    assert_eq!(gateway.get("/echo/a").await.status, 200);
}

#[tokio::test]
async fn a_message_that_is_larger_than_its_text_is_over_the_limit_too() {
    let folder = folder();
    fs::write(folder.path().join("echo.binpb"), descriptors("library.proto")).expect("a file");
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start_in(folder, &yaml(&server, "limits: { buffer-bytes: 64KiB }")).await;
    // Two bytes for each number as text, and eight in the message.
    let body = json!({ "weights": vec![1; 20_000] }).to_string();
    assert!(body.len() < 64 * 1024);
    assert_eq!(gateway.send(Request::post("/v1/shelves/1/books", body)).await.status, 413);
}

#[tokio::test]
async fn native_clients_share_the_route() {
    let server = GrpcServer::start().await;
    let gateway = before(&server).await;
    let mut client = crate::support::grpc::GrpcClient::connect(gateway.address()).await;
    let answer = client.unary(tonic::Request::new(crate::support::grpc::message("a", 1))).await.expect("an answer");
    assert_eq!(answer.get_ref().text, "a");
}

/// One line makes routes of what the descriptors say.
fn routes_of_the_service(server: &GrpcServer) -> String {
    format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]
files: {{ echo: echo.binpb }}
upstreams: {{ it: {{ endpoints: ['http://{}'], protocol: http2 }} }}
routes:
  - name: echo
    match: {{ from-plugin: grpc-json, methods: [OPTIONS] }}
    plugins:
      - {{ name: cors, config: {{ allow-origins: ['https://app.example.com'] }} }}
      - {{ name: grpc-json, config: {{ descriptors: echo }} }}
    upstream: it
  - {{ name: rest, match: {{ path: '/{{*rest}}' }}, respond: {{ status: 418 }} }}
",
        server.address()
    )
}

#[tokio::test]
async fn routes_come_from_the_descriptors_and_others_stay_what_they_are() {
    let server = GrpcServer::start().await;
    let gateway = TestGateway::start_in(folder(), &routes_of_the_service(&server)).await;
    assert_eq!(gateway.get("/echo/a?count=7").await.json(), json!({ "text": "a", "count": 7 }));
    assert_eq!(gateway.send(Request::post("/echo/a/b:say", "{}")).await.json(), json!({ "text": "a/b" }));
    // What the descriptors do not say is none of the plugin's.
    for target in ["/other", "/down/x", "/test.Echo"] {
        assert_eq!(gateway.get(target).await.status, 418, "{target}");
    }
    let preflight = Request::new(http::Method::OPTIONS, "/echo/a")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "GET");
    assert_eq!(gateway.send(preflight).await.header("access-control-allow-origin"), "https://app.example.com");
    let mut client = crate::support::grpc::GrpcClient::connect(gateway.address()).await;
    let answer = client.unary(tonic::Request::new(crate::support::grpc::message("a", 1))).await.expect("an answer");
    assert_eq!(answer.get_ref().text, "a", "clients of gRPC have their routes too");
}

#[tokio::test]
async fn routes_of_descriptors_are_explained_and_described() {
    let server = GrpcServer::start().await;
    let folder = folder();
    fs::write(folder.path().join("gateway.yaml"), routes_of_the_service(&server)).expect("a file");
    let told = async |arguments: &[&str]| {
        let ended = crate::support::process::run(folder.path(), arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        ended.stdout
    };
    let text = told(&["route", "-c", "gateway.yaml", "GET", "/echo/a"]).await;
    assert!(text.starts_with("GET (no host)/echo/a is answered by route echo (test.Echo/Unary)"), "{text}");
    assert!(text.contains("/echo/{text}  on every host  for test.Echo/Unary"), "{text}");
    let text = told(&["openapi", "-c", "gateway.yaml", "--title", "Echo"]).await;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&document["openapi"], &document["info"]["title"]), (&json!("3.1.0"), &json!("Echo")));
    assert_eq!(document["paths"]["/down/{text}/{count}"]["get"]["operationId"], "Echo_Down");
    // What another route answers is not described as a call.
    let text = routes_of_the_service(&server).replace("path: '/{*rest}'", "path: /echo, methods: [POST]");
    fs::write(
        folder.path().join("gateway.yaml"),
        text.replace("match: { from-plugin: grpc-json, methods: [OPTIONS] }", "match: { path: '/{*rest}' }"),
    )
    .expect("a file");
    let document: Value = serde_json::from_str(&told(&["openapi", "-c", "gateway.yaml"]).await).expect("JSON");
    assert!(document["paths"].get("/echo").is_none() && document["paths"].get("/echo/{text}").is_some(), "{document}");
}

fn reflected(address: std::net::SocketAddr) -> String {
    format!(
        "files: {{ echo: {{ reflection: it }} }}
upstreams: {{ it: {{ endpoints: ['http://{address}'], protocol: http2 }} }}
routes:
  - name: echo
    match: {{ from-plugin: grpc-json }}
    plugins: [{{ name: grpc-json, config: {{ descriptors: echo, services: [test.Echo] }} }}]
    upstream: it
"
    )
}

#[tokio::test]
async fn a_service_tells_its_descriptors_by_reflection() {
    for older in [false, true] {
        let server = GrpcServer::start_with(Some(&descriptors("echo.proto")), older).await;
        let mut gateway = TestGateway::start(&reflected(server.address())).await;
        assert_eq!(gateway.get("/echo/a?count=7").await.json(), json!({ "text": "a", "count": 7 }));
        // Where it is away, what it told before holds.
        let yaml = reflected(server.address());
        drop(server);
        gateway.reload(&yaml).await.expect("it is taken");
        let status = gateway.get("/echo/a").await.status;
        assert_ne!(status, 404, "connections that it had may serve on, but the route is there");
    }
}

#[tokio::test]
async fn a_service_without_reflection_stops_the_start_and_is_named() {
    let server = GrpcServer::start().await;
    let error = TestGateway::try_start(&reflected(server.address())).await.err().expect("refused").to_string();
    assert!(error.contains("descriptors of upstream `it` by reflection") && error.contains("no reflection"), "{error}");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let error = TestGateway::try_start(&reflected(gone)).await.err().expect("refused").to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn descriptors_that_cannot_be_read_stop_the_start_and_a_new_file_counts_from_the_reload_on() {
    let server = GrpcServer::start().await;
    let folder = folder();
    fs::write(folder.path().join("echo.binpb"), "not descriptors").expect("a file");
    let text = yaml(&server, "");
    let refused = TestGateway::try_start_in(folder, &text).await.err().expect("it is refused").to_string();
    assert!(refused.contains("is not a set of descriptors"), "{refused}");
    let missing = TestGateway::try_start(&text).await.err().expect("it is refused").to_string();
    assert!(missing.contains("there is no such file"), "{missing}");

    let mut gateway = TestGateway::start_in(self::folder(), &text).await;
    fs::write(gateway.folder().join("echo.binpb"), "not descriptors").expect("a file");
    gateway.reload(&text).await.expect_err("it is refused");
    assert_eq!(gateway.get("/echo/a").await.status, 200, "what served goes on");
    describe(gateway.folder());
    gateway.reload(&text).await.expect("it is taken");
    assert_eq!(gateway.get("/echo/a").await.status, 200);
}

#[tokio::test]
async fn the_descriptors_among_the_examples_are_those_of_their_proto() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bookstore.binpb");
    let expected = descriptors("bookstore.proto");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(file, &expected).expect("a file");
    }
    assert!(
        fs::read(file).is_ok_and(|bytes| bytes == expected),
        "UPDATE_EXPECT=1 writes examples/bookstore.binpb anew"
    );
}
