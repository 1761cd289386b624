//! What the gateway itself answers, said so that a gRPC client understands it.

use tonic::{Code, Request};

use super::before;
use crate::support::{
    Client, TestGateway,
    client::{self, Request as Plain},
    grpc::{GrpcClient, GrpcServer, message},
    nobody,
};

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_unavailable() {
    let gateway = before(&[nobody()], "").await;
    let mut client = GrpcClient::connect(gateway.address()).await;
    let status = client.unary(Request::new(message("x", 0))).await.expect_err("no answer");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the service could not be reached"));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_in_time_exceeds_the_deadline() {
    let server = GrpcServer::start().await;
    let gateway = before(&[server.address()], "timeouts: { response: 100ms }").await;
    let mut client = GrpcClient::connect(gateway.address()).await;
    let status = client.unary(Request::new(message("hang", 0))).await.expect_err("no answer");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

#[tokio::test]
async fn a_call_without_a_route_is_unimplemented_and_what_plugins_refuse_says_why() {
    let server = GrpcServer::start().await;
    let yaml = format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'], protocol: http2 }} }}\n\
        routes:\n\
        \x20 - name: one\n\
        \x20   match: {{ path: /test.Echo/Unary }}\n\
        \x20   plugins: [{{ name: ip-rules, config: {{ deny: [127.0.0.0/8] }} }}]\n\
        \x20   upstream: it\n",
        server.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    let mut client = GrpcClient::connect(gateway.address()).await;
    let status = client.call("/test.Echo/Down", Request::new(message("x", 0))).await.expect_err("no route");
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    let status = client.unary(Request::new(message("x", 0))).await.expect_err("denied");
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn other_clients_of_the_same_route_still_get_problem_details() {
    let gateway = before(&[nobody()], "").await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let response: client::Response = client.send(Plain::get("/")).await;
    assert_eq!((response.status.as_u16(), response.header("content-type")), (502, "application/problem+json"));
}
