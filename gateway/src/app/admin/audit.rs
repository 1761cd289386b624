//! Reading the audit log.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{audit_log::Change, panel::Panel};

/// The last 256 requests that need the role `full`, also those that were rejected, the newest first.
#[utoipa::path(get, path = "/audit", tag = "operators", responses((status = 200, body = Vec<Change>)))]
pub(super) async fn audit(State(panel): State<Arc<Panel>>) -> Json<Vec<Change>> {
    Json(panel.audit.all())
}
