//! gRPC through the gateway: a tonic client, the gateway over HTTP/2 on both sides, a tonic server.

mod failures;
mod health;

use std::{fs, net::SocketAddr};

use futures_util::{StreamExt, stream};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, metadata::MetadataValue};

use crate::support::{
    Client, TestGateway,
    client::Request as Plain,
    eventually,
    grpc::{GrpcClient, GrpcServer, message},
};

/// A gateway that speaks HTTP/2 with prior knowledge to these endpoints.
async fn before(endpoints: &[SocketAddr], settings: &str) -> TestGateway {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("'http://{address}'")).collect();
    let endpoints = endpoints.join(", ");
    let yaml = format!(
        "upstreams: {{ it: {{ endpoints: [{endpoints}], protocol: http2, {settings} }} }}\n\
        routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: it }}]\n"
    );
    TestGateway::start(&yaml).await
}

async fn through() -> (GrpcServer, TestGateway, GrpcClient) {
    let server = GrpcServer::start().await;
    let gateway = before(&[server.address()], "").await;
    let client = GrpcClient::connect(gateway.address()).await;
    (server, gateway, client)
}

#[tokio::test]
async fn a_unary_call_passes_with_its_metadata_both_ways() {
    let (_server, _gateway, mut client) = through().await;
    let mut request = Request::new(message("hello", 7));
    request.metadata_mut().insert("x-asked", "yes".parse().unwrap());
    request.metadata_mut().insert_bin("raw-bin", MetadataValue::from_bytes(&[0, 255, 10]));
    let response = client.unary(request).await.expect("an answer");
    assert_eq!(response.get_ref(), &message("hello", 7));
    assert_eq!(response.metadata().get("x-asked").unwrap(), "yes");
    assert_eq!(response.metadata().get_bin("raw-bin").unwrap().to_bytes().unwrap()[..], [0, 255, 10]);
}

#[tokio::test]
async fn a_failure_of_the_service_arrives_with_its_details() {
    let (_server, _gateway, mut client) = through().await;
    let status = client.unary(Request::new(message("fail", 0))).await.expect_err("no answer");
    assert_eq!((status.code(), status.message(), status.details()), (Code::NotFound, "no such thing", &[1, 2, 3][..]));
    let status = client.call("/test.Echo/Nothing", Request::new(message("", 0))).await.expect_err("no answer");
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no such method"));
}

#[tokio::test]
async fn messages_stream_down_up_and_both_ways() {
    let (_server, _gateway, mut client) = through().await;
    let messages = client.down(message("x", 1000)).await.expect("a stream");
    let counts: Vec<u32> = messages.map(|message| message.expect("a message").count).collect().await;
    assert!(counts.into_iter().eq(0..1000));

    let sum = client.up(stream::iter((1..=1000).map(|count| message("", count)))).await.expect("an answer");
    assert_eq!(sum.count, 500_500);

    let (send, messages) = mpsc::channel(1);
    let mut answers = client.both(ReceiverStream::new(messages)).await.expect("a stream");
    for count in 0..50 {
        // The next one is not sent before the last one has come back: nothing is kept on the way.
        send.send(message("ping", count)).await.expect("it listens");
        let answer = answers.next().await.expect("it goes on").expect("a message");
        assert_eq!(answer, message("ping", count + 1));
    }
    drop(send);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn large_messages_pass_in_both_directions() {
    let (_server, _gateway, mut client) = through().await;
    let text = "x".repeat(3 << 20);
    let response = client.unary(Request::new(message(text.clone(), 1))).await.expect("an answer");
    assert_eq!(response.get_ref().text.len(), text.len());
}

#[tokio::test]
async fn hundreds_of_calls_at_a_time_share_few_connections() {
    let (server, gateway, client) = through().await;
    let calls = (0..400).map(|count| {
        let mut client = client.share();
        tokio::spawn(async move { client.unary(Request::new(message("x", count))).await })
    });
    for (count, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        let response = call.await.expect("no panic").expect("an answer");
        assert_eq!(response.get_ref().count, count as u32);
    }
    assert_eq!(server.calls(), 400);
    let opened = crate::support::counted::metric(&gateway, "gateway_upstream_connections{upstream=\"it\"}").await;
    assert!((1..=8).contains(&opened), "{opened} connections");
}

#[tokio::test]
async fn who_gives_up_a_call_ends_it_at_the_service_too() {
    let (server, _gateway, mut client) = through().await;
    let mut messages = client.down(message("never", 0)).await.expect("a stream");
    assert!(messages.next().await.is_some());
    drop(messages);
    eventually("the stream's end at the service", async || server.cancelled() == 1).await;

    let mut other = client.share();
    let call = tokio::spawn(async move { other.unary(Request::new(message("hang", 0))).await });
    eventually("the call's arrival", async || server.calls() == 2).await;
    call.abort();
    eventually("the call's end at the service", async || server.cancelled() == 2).await;
}

/// tonic's client and server would each see to it themselves; an upstream that says nothing at all does not.
#[tokio::test]
async fn the_deadline_that_a_client_gives_is_the_gateways_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = before(&[listener.local_addr().expect("an address")], "").await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let call = Plain::post("/test.Echo/Unary", "").header("content-type", "application/grpc");
    let response = client.send(call.header("grpc-timeout", "100m")).await;
    assert_eq!((response.status.as_u16(), response.header("content-type")), (200, "application/grpc"));
    assert_eq!((response.header("grpc-status"), response.text().as_str()), ("4", ""));
}

#[tokio::test]
async fn grpc_yaml_carries_calls() {
    let servers = [GrpcServer::start().await, GrpcServer::start().await];
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc.yaml")).unwrap();
    let text = text
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:50051", &servers[0].address().to_string())
        .replace("127.0.0.1:50052", &servers[1].address().to_string())
        .replace("orders.v1.Orders", "test.Echo");
    let gateway = TestGateway::start(&text).await;
    let mut client = GrpcClient::connect(gateway.address()).await;
    let answer = client.unary(Request::new(message("hello", 1))).await.expect("an answer");
    assert_eq!(answer.get_ref(), &message("hello", 1));
}
