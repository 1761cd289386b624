//! Forgetting responses that plugins keep.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::{StatusCode, Uri};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    api_result::{ApiResult, Named, Refusal},
    panel::Panel,
    purge::Order,
};

/// The result of a purge.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Purged {
    /// Keys, of this gateway.
    purged: usize,
}

/// One of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "it is there to be described; `Order` reads the query, where a key may have anything in it"
)]
struct What {
    /// A whole key.
    key: Option<String>,
    /// All keys that begin so.
    prefix: Option<String>,
    /// All that a response's field of tags names.
    tag: Option<String>,
    /// Everything, without a value.
    all: Option<String>,
}

/// Purges cached responses of a bucket, in this gateway and in those that share its state.
#[utoipa::path(delete, path = "/cache/{bucket}", tag = "traffic", params(("bucket" = String, Path), What),
    responses((status = 200, body = Purged)))]
pub(super) async fn purge(
    State(panel): State<Arc<Panel>>,
    Named(bucket): Named<String>,
    uri: Uri,
) -> ApiResult<Json<Purged>> {
    let order = Order::read(bucket, uri.query().unwrap_or_default());
    let order = order.map_err(|expected| Refusal::new(StatusCode::BAD_REQUEST, expected))?;
    // Here first, and counted: the word of it comes back to this gateway too.
    let purged = panel.shared.responses.purge(&order.bucket, &order.what());
    if let Some(Err(failure)) = panel.shared.remote.get().map(|remote| remote.purge(&order.bucket, &order.what())) {
        tracing::warn!(bucket = order.bucket, what = ?order.what(), ?failure, "cache purge not sent to the other gateways");
    }
    tracing::info!(bucket = order.bucket, what = ?order.what(), purged, "cached responses purged");
    Ok(Json(Purged { purged }))
}
