//! Calls, answers and streams of tests/protos/library.proto.

use plugin_sdk::testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};

use crate::{GrpcJson, frames::framed};

mod catalogue;
mod configuration;
mod generated;
mod requests;
mod responses;

fn descriptors() -> Vec<u8> {
    let protos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/protos");
    let mut compiler = protox::Compiler::new([protos]).unwrap();
    compiler.include_imports(true).open_file("library.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(&descriptors()[..]).unwrap()
}

fn plugin(config: Value) -> TestPlugin<GrpcJson> {
    let host = TestHost::new();
    host.set_file("library", descriptors());
    host.plugin(config).unwrap()
}

fn library() -> TestPlugin<GrpcJson> {
    plugin(json!({ "descriptors": "library" }))
}

/// The message that was made of a request, as JSON.
#[track_caller]
fn called(exchange: &TestExchange, message: &str) -> Value {
    assert_eq!(exchange.reply().map(|reply| reply.clone().into_text()), None);
    assert_eq!((exchange.method(), exchange.header("content-type")), ("POST", Some("application/grpc")));
    let body = exchange.body();
    assert_eq!(body[..5], [&[0][..], &u32::try_from(body.len() - 5).unwrap().to_be_bytes()].concat());
    let message = DynamicMessage::decode(pool().get_message_by_name(message).unwrap(), &body[5..]).unwrap();
    serde_json::to_value(message).unwrap()
}

#[track_caller]
fn refused(exchange: &TestExchange, status: u16) -> Value {
    let reply = exchange.reply().expect("it is refused");
    assert_eq!(reply.status, status);
    assert_eq!(reply.header("content-type").unwrap(), "application/problem+json");
    reply.json().unwrap()
}

fn encoded(message: &str, value: Value) -> Vec<u8> {
    DynamicMessage::deserialize(pool().get_message_by_name(message).unwrap(), value).unwrap().encode_to_vec()
}

const GET: &str = "library.v1.GetBookRequest";
