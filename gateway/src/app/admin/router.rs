//! Which path leads where, and the document that says so (OpenAPI 3.1).

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        OpenApi as Document, Ref, RefOr, ResponseBuilder,
        content::ContentBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    access,
    api_result::{ApiResult, Misfit, Refusal},
    audit, caches, certificates, configuration, explain, logs, page,
    panel::Panel,
    plugins, routes as route_pages, scrape, stats, tails,
    unix_time::seconds,
    upstreams,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gateway admin API",
        description = "What an operator may look at or change while the gateway runs. Problems are application/problem+json (RFC 9457)."
    ),
    components(schemas(Refusal, Misfit)),
    security(("token" = [])),
    tags(
        (name = "gateway", description = "The process"),
        (name = "configuration", description = "What is in force, what was, and what shall be"),
        (name = "traffic", description = "Routes and requests"),
        (name = "upstreams", description = "Services and their endpoints"),
        (name = "plugins", description = "What they cost and how they fare"),
        (name = "operators", description = "Who did what"),
    )
)]
struct Api;

pub(super) fn router(panel: Arc<Panel>) -> Router {
    let (api, document) = api();
    let document: Arc<str> = document.to_json().unwrap_or_default().into();
    let api = api
        .route("/api/v1/openapi.json", get(move || async move { json(document.to_string()) }))
        .layer(middleware::from_fn_with_state(panel.clone(), access::check));
    Router::new()
        .route("/healthz", get(async || text(StatusCode::OK, "alive\n")))
        .route("/readyz", get(ready))
        .route("/readyz/state", get(state_ready))
        .route("/metrics", get(scrape::metrics))
        .merge(page::router())
        .merge(api)
        .fallback(nothing)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::map_response(careful))
        .with_state(panel)
}

/// The handlers with what they say of themselves.
fn api() -> (Router<Arc<Panel>>, Document) {
    let (router, mut document) = OpenApiRouter::with_openapi(Api::openapi())
        .nest(
            "/api/v1",
            OpenApiRouter::new()
                .routes(routes!(gateway))
                .routes(routes!(stats::stats))
                .routes(routes!(configuration::present, configuration::apply))
                .routes(routes!(configuration::validate))
                .routes(routes!(configuration::revisions))
                .routes(routes!(configuration::revision))
                .routes(routes!(configuration::diff))
                .routes(routes!(configuration::activate))
                .routes(routes!(route_pages::routes))
                .routes(routes!(explain::explain))
                .routes(routes!(tails::tail))
                .routes(routes!(upstreams::upstreams))
                .routes(routes!(upstreams::upstream))
                .routes(routes!(upstreams::direct))
                .routes(routes!(plugins::plugins))
                .routes(routes!(plugins::traps))
                .routes(routes!(certificates::certificates))
                .routes(routes!(caches::purge))
                .routes(routes!(logs::level, logs::set_level))
                .routes(routes!(audit::audit)),
        )
        .split_for_parts();
    complete(&mut document);
    (router, document)
}

/// What is the same for all operations is said here.
fn complete(document: &mut Document) {
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let problem = Ref::from_schema_name(Refusal::name());
    let content = ContentBuilder::new().schema(Some(problem)).build();
    let refused = ResponseBuilder::new()
        .description("Why not: no token, not one that may do it, no such thing, or something is wrong with the request")
        .content("application/problem+json", content)
        .build();
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            for response in operation.responses.responses.values_mut() {
                // OpenAPI 3.1 wants one, and all that there is to say is in its schema.
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    "What was asked for".clone_into(&mut response.description);
                }
            }
            operation.responses.responses.insert("default".to_owned(), RefOr::T(refused.clone()));
        }
    }
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_default().security_schemes.insert("token".to_owned(), RefOr::T(token));
}

/// The process as such.
#[derive(Debug, Serialize, ToSchema)]
struct Gateway {
    version: &'static str,
    /// Whether new traffic is welcome.
    ready: bool,
    /// Why some or all of the plugins' state in Redis is unavailable; absent while all of it is available.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_unavailable: Option<String>,
    /// Seconds since 1970.
    started: f64,
    workers: usize,
    /// The number of the configuration in force.
    revision: u64,
    /// Open client connections.
    connections: u64,
}

/// The process: its version, whether it is ready, which configuration is in force.
#[utoipa::path(get, path = "/gateway", tag = "gateway", responses((status = 200, body = Gateway)))]
async fn gateway(State(panel): State<Arc<Panel>>) -> Json<Gateway> {
    Json(Gateway {
        version: env!("CARGO_PKG_VERSION"),
        ready: panel.is_ready(),
        state_unavailable: panel.state_trouble(),
        started: seconds(panel.started),
        workers: panel.snapshot().config.workers,
        revision: panel.history().present().map_or(0, |revision| revision.id),
        connections: panel.shared.metrics.connections(),
    })
}

/// State that is unavailable does not take a gateway out of its load balancer: the others share it, and all would go at once.
/// So it is said here, and a probe that is to fail then asks for `/readyz/state`, as in Kubernetes' own API server, where
/// each check has a path.
async fn ready(State(panel): State<Arc<Panel>>) -> Response {
    match (panel.is_ready(), panel.state_trouble()) {
        (true, None) => text(StatusCode::OK, "ready\n"),
        (true, Some(_)) => text(StatusCode::OK, "ready\nstate: unavailable\n"),
        (false, _) => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

async fn state_ready(State(panel): State<Arc<Panel>>) -> Response {
    match (panel.is_ready(), panel.state_trouble()) {
        (true, None) => text(StatusCode::OK, "ready\n"),
        (true, Some(_)) => text(StatusCode::SERVICE_UNAVAILABLE, "state: unavailable\n"),
        (false, _) => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

async fn nothing() -> ApiResult<()> {
    Err(Refusal::new(
        StatusCode::NOT_FOUND,
        "there are the dashboard at /, /healthz, /readyz, /metrics, and what /api/v1/openapi.json describes",
    ))
}

async fn other_method() -> ApiResult<()> {
    Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the path has other methods"))
}

fn text(status: StatusCode, body: &'static str) -> Response {
    (status, body).into_response()
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// What is shown here is for nobody's cache, and for no page but its own.
async fn careful(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    response
}
