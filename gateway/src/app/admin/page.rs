//! The dashboard: three files that `cargo xtask dashboard` makes of the folder `dashboard`, kept beside their
//! source so that building the gateway needs no Node.js. They hold nothing that is secret; what they show
//! they ask the API for.

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, header};

const HTML: &str = include_str!("../../../../dashboard/dist/index.html");
const SCRIPT: &str = include_str!("../../../../dashboard/dist/dashboard.js");
const STYLE: &str = include_str!("../../../../dashboard/dist/dashboard.css");

/// Nothing from elsewhere, nothing within the page itself, and no page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", HTML)))
        .route("/dashboard.js", get(async || file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/dashboard.css", get(async || file("text/css; charset=utf-8", STYLE)))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let policy = HeaderName::from_static("content-security-policy");
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (policy, HeaderValue::from_static(POLICY))];
    (headers, text).into_response()
}
