//! Active checks by gRPC's health protocol.

use tonic::Request;

use super::before;
use crate::support::{
    TestGateway,
    counted::metric,
    eventually,
    grpc::{GrpcClient, GrpcServer, message},
};

async fn fit(gateway: &TestGateway) -> u64 {
    metric(gateway, "gateway_upstream_endpoints{upstream=\"it\",state=\"healthy\"}").await
}

#[tokio::test]
async fn a_server_that_says_it_is_not_serving_gets_no_calls() {
    let (sick, well) = (GrpcServer::start().await, GrpcServer::start().await);
    let checks = "health: { panic-threshold: 0%, active: { grpc: { service: test.Echo }, interval: 50ms, timeout: 5s, \
        unhealthy-after: 2 } }";
    let gateway = before(&[sick.address(), well.address()], checks).await;
    sick.set_serving(false).await;
    eventually("it being found out", async || fit(&gateway).await == 1).await;
    let mut client = GrpcClient::connect(gateway.address()).await;
    let before = sick.calls();
    for count in 0..20 {
        client.unary(Request::new(message("x", count))).await.expect("an answer");
    }
    assert_eq!((sick.calls(), well.calls()), (before, 20));
    sick.set_serving(true).await;
    eventually("it being found out", async || fit(&gateway).await == 2).await;
}

#[tokio::test]
async fn a_service_that_the_server_does_not_know_is_not_healthy() {
    let server = GrpcServer::start().await;
    let checks = "health: { panic-threshold: 0%, active: { grpc: { service: no.Such }, interval: 50ms, timeout: 5s, \
        unhealthy-after: 1 } }";
    let gateway = before(&[server.address()], checks).await;
    eventually("it being found out", async || fit(&gateway).await == 0).await;
}
