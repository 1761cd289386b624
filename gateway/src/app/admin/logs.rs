//! How much the gateway's own log says.

use std::sync::Arc;

use axum::{Json, extract::State};
use gateway_config as config;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    api_result::{ApiResult, Refusal, Told},
    panel::Panel,
};

const LEVEL: usize = 1024;

/// The log's level.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; also for parts: `info,gateway::upstream=debug`.
    #[schema(max_length = 1024, example = "info,gateway::upstream=debug")]
    level: String,
}

/// The log's level.
#[utoipa::path(get, path = "/log-level", tag = "gateway", responses((status = 200, body = Level)))]
pub(super) async fn level(State(panel): State<Arc<Panel>>) -> ApiResult<Json<Level>> {
    let level = panel.shared.log_level();
    level.map(|level| Json(Level { level })).ok_or_else(none)
}

/// Another level for the log, until a reload brings one or the process ends.
#[utoipa::path(put, path = "/log-level", tag = "gateway", request_body = Level,
    responses((status = 200, body = Level)))]
pub(super) async fn set_level(State(panel): State<Arc<Panel>>, Told(asked): Told<Level>) -> ApiResult<Json<Level>> {
    if asked.level.len() > LEVEL {
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("a level has up to {LEVEL} characters")));
    }
    if let [first, ..] = &config::log_level(&asked.level)[..] {
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, first.as_str()));
    }
    match panel.shared.set_log_level(&asked.level) {
        None => Err(none()),
        Some(Err(error)) => Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())),
        Some(Ok(())) => Ok(Json(asked)),
    }
}

fn none() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "the process has no log of the gateway's")
}
