//! End-to-end tests: a gateway as users run it, real sockets, real upstream servers. One binary, since linking
//! takes long; `support` makes a test a few lines.

mod shared_cache;
mod support;

mod abuse;
mod admin;
mod basics;
mod bodies;
mod cases;
mod cli;
mod client_certificates;
mod components;
mod contrib;
mod dashboard;
mod demo;
mod endurance;
mod examples;
mod failover;
mod forwarding;
mod grpc;
mod http2;
mod interim;
mod languages;
mod lifecycle;
mod limits;
mod logged;
mod misbehaving;
mod paths;
mod pipeline;
mod plugins;
mod project;
mod proxy_protocol;
mod redis_connections;
mod regressions;
mod resumption;
mod routing;
mod scale;
mod shown;
mod smuggling;
mod state;
mod streaming;
mod tls;
mod trace_bounds;
mod tracing;
mod upstreams;
mod websocket;
