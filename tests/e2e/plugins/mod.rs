//! The standard plugins as they are embedded in the gateway, each over real sockets.

mod access_log;
mod acl;
mod api_key;
mod basic_auth;
mod cache;
mod cache_consumers;
mod cache_keys;
mod cache_shared;
mod concurrency;
mod cors;
mod ext_auth;
mod grpc_json;
mod grpc_web;
mod initial_fetch;
mod ip_rules;
mod json_body;
mod jwt;
mod jwt_claims;
mod jwt_fetched;
mod local_responses;
mod oidc;
mod rate_limit;
mod request_id;
mod security_headers;
mod thrift_json;
mod transform;

use serde_json::Value;

use crate::support::{Response, TestGateway, Upstream, client::Request};

/// A gateway with one route, on which these plugins run before an upstream that tells what it saw.
struct Behind {
    gateway: TestGateway,
    upstream: Upstream,
}

impl Behind {
    /// One plugin with its configuration.
    async fn plugin(name: &str, config: &Value) -> Self {
        Self::with(&format!("[{{ name: {name}, config: {config} }}]"), "").await
    }

    /// A list of plugins as in YAML, and more top-level keys.
    async fn with(plugins: &str, more: &str) -> Self {
        let upstream = Upstream::echo().await;
        let gateway = TestGateway::start(&yaml(&upstream, plugins, more)).await;
        Self { gateway, upstream }
    }

    async fn send(&self, request: Request) -> Response {
        self.gateway.send(request).await
    }

    async fn get(&self, target: &str) -> Response {
        self.gateway.get(target).await
    }
}

/// The configuration of `Behind`.
fn yaml(upstream: &Upstream, plugins: &str, more: &str) -> String {
    format!(
        "upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: {plugins}, upstream: echo }}]
{more}
",
        upstream.address()
    )
}
