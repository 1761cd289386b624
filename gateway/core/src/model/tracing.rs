//! Which traces are made and where they go.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header::InvalidHeaderValue, uri::PathAndQuery};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Upstream;

#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    pub collector: Arc<Upstream>,
    pub protocol: OtlpProtocol,
    /// Where requests go.
    pub target: PathAndQuery,
    /// Fields, with the names of the secrets that are their values.
    pub headers: Vec<(HeaderName, String)>,
    pub sampling: Sampling,
    /// Attributes of the resource, `service.name` among them.
    pub resource: Vec<(String, String)>,
}

/// A secret as the value of a field.
///
/// # Errors
///
/// It has bytes that no field can have.
pub fn field_of_secret(name: &HeaderName, secret: &str, value: &[u8]) -> Result<HeaderValue, InvalidSecretField> {
    let mut value = HeaderValue::from_bytes(value).map_err(|source| InvalidSecretField {
        secret: secret.to_owned(),
        name: name.clone(),
        source,
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A secret that has bytes that no field can have.
#[derive(Debug, Error)]
#[error("secret `{secret}` cannot be the value of the field `{name}`: it has control characters")]
pub struct InvalidSecretField {
    secret: String,
    name: HeaderName,
    source: InvalidHeaderValue,
}

/// How spans are sent (OpenTelemetry protocol 1.x).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OtlpProtocol {
    /// A gRPC call each time.
    #[default]
    Grpc,
    /// A POST each time, with binary Protobuf.
    Http,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Of the traces that begin here, from 0 to 1.
    pub ratio: f64,
    pub parent: ParentRule,
}

/// Whose `traceparent` is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ParentRule {
    #[default]
    Any,
    /// That of peers among `trusted-proxies`.
    Trusted,
    None,
}
