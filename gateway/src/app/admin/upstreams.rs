//! Upstreams and their endpoints: how they are, and what an operator says of them.

use std::{net::SocketAddr, sync::Arc};

use axum::{Json, extract::State};
use gateway_telemetry::figures::UpstreamFigures;
use gateway_upstream::{Cluster, EndpointState, Health};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{
    api_result::{ApiResult, Named, Refusal, Told},
    panel::Panel,
    stats::{Durations, Numbers, numbers},
};

/// The largest that a configuration may give.
const WEIGHT: u32 = 65_535;

/// An upstream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UpstreamView {
    name: String,
    /// `http1`, `http2`, `auto`, `tcp`.
    protocol: &'static str,
    /// Whether its circuit breaker stops requests; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit_open: Option<bool>,
    /// Requests by status class; `none` without a response.
    requests: Numbers,
    duration: Durations,
    /// Open connections.
    connections: u64,
    endpoints: Vec<EndpointView>,
}

/// An endpoint at one address.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndpointView {
    /// As it is configured: a name may have several addresses.
    url: String,
    address: String,
    /// `healthy`, `ejected` for how requests fared, `unhealthy` by active checks.
    health: &'static str,
    /// Drained by an operator: it gets no new requests.
    drained: bool,
    weight: u32,
    /// The configured weight.
    configured_weight: u32,
    in_flight: u64,
    requests: u64,
    failures: u64,
}

/// A change of an endpoint. Omitted fields stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Direction {
    /// `true`: no new requests; active ones finish. `false`: in use again.
    drained: Option<bool>,
    /// From 0 (no new requests) to 65,535; null for the configured weight.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 65535)]
    weight: Option<Option<u32>>,
}

/// Tells null from nothing.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// All upstreams with their endpoints.
#[utoipa::path(get, path = "/upstreams", tag = "upstreams", responses((status = 200, body = Vec<UpstreamView>)))]
pub(super) async fn upstreams(State(panel): State<Arc<Panel>>) -> Json<Vec<UpstreamView>> {
    let figures = panel.shared.metrics.upstream_figures();
    Json(panel.snapshot().clusters.iter().map(|cluster| view(cluster, &figures)).collect())
}

/// One upstream.
#[utoipa::path(get, path = "/upstreams/{upstream}", tag = "upstreams", params(("upstream" = String, Path)),
    responses((status = 200, body = UpstreamView)))]
pub(super) async fn upstream(
    State(panel): State<Arc<Panel>>,
    Named(name): Named<String>,
) -> ApiResult<Json<UpstreamView>> {
    let figures = panel.shared.metrics.upstream_figures();
    let cluster = find(&panel, &name)?;
    Ok(Json(view(&cluster, &figures)))
}

/// Drains an endpoint, enables it again, or changes its weight. This is kept across reloads while the
/// endpoint is part of the upstream, until the process ends.
#[utoipa::path(patch, path = "/upstreams/{upstream}/endpoints/{address}", tag = "upstreams",
    params(("upstream" = String, Path), ("address" = String, Path, description = "IP address and port")),
    request_body = Direction, responses((status = 200, body = UpstreamView)))]
pub(super) async fn direct(
    State(panel): State<Arc<Panel>>,
    Named((name, address)): Named<(String, String)>,
    Told(direction): Told<Direction>,
) -> ApiResult<Json<UpstreamView>> {
    let cluster = find(&panel, &name)?;
    if direction.weight.flatten().is_some_and(|weight| weight > WEIGHT) {
        let message = format!("a weight is from 0 to {WEIGHT}");
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message));
    }
    let found = address.parse::<SocketAddr>().ok();
    let found = found.filter(|address| cluster.direct(*address, direction.drained, direction.weight));
    found.ok_or_else(|| Refusal::not_found("endpoint", &address))?;
    let figures = panel.shared.metrics.upstream_figures();
    Ok(Json(view(&cluster, &figures)))
}

fn find(panel: &Panel, name: &str) -> ApiResult<Arc<Cluster>> {
    let snapshot = panel.snapshot();
    let cluster = snapshot.clusters.iter().find(|cluster| *cluster.model.name == *name);
    cluster.cloned().ok_or_else(|| Refusal::not_found("upstream", name))
}

fn view(cluster: &Cluster, figures: &[UpstreamFigures]) -> UpstreamView {
    use gateway_core::model::Protocol;
    let figures = figures.iter().find(|figures| figures.upstream == cluster.model.name);
    let endpoint = |state: EndpointState| {
        let counted = figures.and_then(|figures| figures.endpoints.get(&state.address)).copied().unwrap_or_default();
        EndpointView {
            url: gateway_config::without_credentials(&state.url),
            address: state.address.to_string(),
            health: match state.health {
                Health::Healthy => "healthy",
                Health::Ejected => "ejected",
                Health::Unhealthy => "unhealthy",
            },
            drained: state.drained,
            weight: state.weight,
            configured_weight: state.configured_weight,
            in_flight: counted.in_flight,
            requests: counted.requests,
            failures: counted.failures,
        }
    };
    UpstreamView {
        name: cluster.model.name.to_string(),
        protocol: match cluster.model.protocol {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::Auto => "auto",
            Protocol::Tcp => "tcp",
        },
        circuit_open: cluster.circuit(),
        requests: figures.map(|figures| numbers(&figures.requests)).unwrap_or_default(),
        duration: figures.map(|figures| Durations::of(&figures.duration)).unwrap_or_default(),
        connections: figures.map_or(0, |figures| figures.connections),
        endpoints: cluster.endpoints().into_iter().map(endpoint).collect(),
    }
}
