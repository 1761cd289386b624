//! The configuration in force, those before it, and the next one.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use gateway_config::Unmaskable;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use similar::TextDiff;
use utoipa::{IntoParams, ToSchema};

use super::{
    api_result::{ApiResult, Asked, Misfit, Named, Refusal, Text, misfits},
    applying::{ApplyOptions, NotApplied},
    history::{Origin, Revision},
    operators::Operator,
    panel::Panel,
    unix_time::seconds,
};
use crate::app::{StartError, snapshot};

/// A revision: a configuration that is or was active.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevisionView {
    id: u64,
    /// Since when, in seconds since 1970.
    at: f64,
    /// `start`, `reload` (the file changed, or a signal asked for it), `operator`, `rollback`.
    origin: &'static str,
    /// The operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    /// The revision that was rolled back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    rolled_back_to: Option<u64>,
    bytes: usize,
    /// It is the active one.
    active: bool,
}

impl RevisionView {
    fn of(revision: &Revision, present: u64) -> Self {
        let (origin, operator, rolled_back_to) = match &revision.origin {
            Origin::Start => ("start", None, None),
            Origin::Reload => ("reload", None, None),
            Origin::Operator(operator) => ("operator", Some(operator.clone()), None),
            Origin::Back(operator, to) => ("rollback", Some(operator.clone()), Some(*to)),
        };
        let (id, bytes) = (revision.id, revision.text.len());
        Self { id, at: seconds(revision.at), origin, operator, rolled_back_to, bytes, active: id == present }
    }
}

/// The result of applying a configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InForce {
    /// Its number.
    revision: u64,
    /// It was written to the configuration file, and will be there at the next start.
    written: bool,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_written: Option<String>,
    /// Warnings: valid, but probably a mistake.
    warnings: Vec<Misfit>,
}

/// The result of validating a configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Judgement {
    valid: bool,
    problems: Vec<Misfit>,
    /// Warnings: valid, but probably a mistake.
    warnings: Vec<Misfit>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Writing {
    /// `false`: active until the next start or reload, and not written to the file.
    #[serde(default = "yes")]
    write: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Compared {
    /// The revision to compare with; the one before if left out.
    from: Option<u64>,
}

/// The active configuration as written, with placeholders such as `<masked 1>` for secrets. `ETag` is its
/// revision.
#[utoipa::path(get, path = "/config", tag = "configuration",
    responses((status = 200, content_type = "application/yaml", body = Object)))]
pub(super) async fn present(State(panel): State<Arc<Panel>>) -> ApiResult<Response> {
    let history = panel.history();
    history.present().map(yaml).ok_or_else(|| Refusal::not_found("revision", "present"))
}

/// Applies a configuration if it is valid, and writes it to the configuration file. Placeholders of the
/// present one's secrets are replaced by them, where a secret stands. With `If-Match`, only if that revision
/// is still active; required with placeholders.
#[utoipa::path(put, path = "/config", tag = "configuration", params(Writing),
    request_body(content = Object, content_type = "application/yaml", description = "A configuration: docs and editors know its schema by `gateway schema`"),
    responses((status = 200, body = InForce)))]
pub(super) async fn apply(
    State(panel): State<Arc<Panel>>,
    Extension(operator): Extension<Operator>,
    headers: HeaderMap,
    Asked(writing): Asked<Writing>,
    Text(text): Text,
) -> ApiResult<Json<InForce>> {
    let expected = expected(&headers);
    let whole = unmasked(&panel, &text)?;
    if whole != text && expected.is_none() {
        let message = "secrets that have numbers in their places are those of one revision: say which by `If-Match`";
        return Err(Refusal::new(StatusCode::PRECONDITION_REQUIRED, message));
    }
    let options = ApplyOptions { expected, write: writing.write };
    put_in_force(&panel, whole, Origin::Operator(operator.name.to_string()), options).await
}

/// Validates a configuration without applying it. It needs the role `full`: files and variables are read,
/// components are fetched, and those that are approved run.
#[utoipa::path(post, path = "/config/validate", tag = "configuration",
    request_body(content = serde_json::Value, content_type = "application/yaml", description = "A configuration: docs and editors know its schema by `gateway schema`"),
    responses((status = 200, body = Judgement)))]
pub(super) async fn validate(State(panel): State<Arc<Panel>>, Text(text): Text) -> ApiResult<Json<Judgement>> {
    let text = unmasked(&panel, &text)?;
    let busy = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending");
    let _turn = panel.checking.acquire().await.map_err(busy)?;
    let (source, shared) = (panel.source_of(text), panel.shared.clone());
    let checked =
        tokio::task::spawn_blocking(move || snapshot::read(&source, &shared).map(|read| read.checked.warnings));
    let checked =
        checked.await.map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of the gateway"))?;
    Ok(Json(match checked {
        Ok(warnings) => Judgement { valid: true, problems: Vec::new(), warnings: misfits(&warnings) },
        Err(StartError::Config(problems)) => {
            Judgement { valid: false, problems: misfits(&problems), warnings: Vec::new() }
        }
        Err(error) => {
            let misfit = Misfit { line: None, column: None, message: error.to_string() };
            Judgement { valid: false, problems: vec![misfit], warnings: Vec::new() }
        }
    }))
}

/// The last 32 active configurations since the process started, the newest first.
#[utoipa::path(get, path = "/config/revisions", tag = "configuration",
    responses((status = 200, body = Vec<RevisionView>)))]
pub(super) async fn revisions(State(panel): State<Arc<Panel>>) -> Json<Vec<RevisionView>> {
    let history = panel.history();
    let present = history.present().map_or(0, |revision| revision.id);
    Json(history.all().map(|revision| RevisionView::of(revision, present)).collect())
}

/// One of them as it was typed, but for secrets, which have numbers in their places.
#[utoipa::path(get, path = "/config/revisions/{id}", tag = "configuration", params(("id" = u64, Path)),
    responses((status = 200, content_type = "application/yaml", body = Object)))]
pub(super) async fn revision(State(panel): State<Arc<Panel>>, Named(id): Named<u64>) -> ApiResult<Response> {
    let history = panel.history();
    history.get(id).map(yaml).ok_or_else(|| Refusal::not_found("revision", &id.to_string()))
}

/// What it changed, as a unified diff.
#[utoipa::path(get, path = "/config/revisions/{id}/diff", tag = "configuration",
    params(("id" = u64, Path), Compared),
    responses((status = 200, content_type = "text/x-diff", body = String)))]
pub(super) async fn diff(
    State(panel): State<Arc<Panel>>,
    Named(id): Named<u64>,
    Asked(compared): Asked<Compared>,
) -> ApiResult<Response> {
    let (old, new, from) = {
        let history = panel.history();
        let text = |id: u64| history.get(id).map(|revision| revision.masked().text.clone());
        let new = text(id).ok_or_else(|| Refusal::not_found("revision", &id.to_string()))?;
        let from = compared.from.unwrap_or(id.saturating_sub(1));
        let old = match (text(from), compared.from) {
            (Some(old), _) => old,
            // What was before is not kept, or there was nothing.
            (None, None) => String::new(),
            (None, Some(from)) => return Err(Refusal::not_found("revision", &from.to_string())),
        };
        (old, new, from)
    };
    let diff = tokio::task::spawn_blocking(move || {
        let (old_name, new_name) = (format!("revision {from}"), format!("revision {id}"));
        TextDiff::from_lines(&old, &new).unified_diff().header(&old_name, &new_name).to_string()
    });
    let diff = diff.await.map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of the gateway"))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/x-diff; charset=utf-8"))], diff).into_response())
}

/// Rolls back to a revision if it is still valid.
#[utoipa::path(post, path = "/config/revisions/{id}/activate", tag = "configuration",
    params(("id" = u64, Path), Writing), responses((status = 200, body = InForce)))]
pub(super) async fn activate(
    State(panel): State<Arc<Panel>>,
    Extension(operator): Extension<Operator>,
    headers: HeaderMap,
    Named(id): Named<u64>,
    Asked(writing): Asked<Writing>,
) -> ApiResult<Json<InForce>> {
    let text = panel.history().get(id).map(|revision| revision.text.to_string());
    let text = text.ok_or_else(|| Refusal::not_found("revision", &id.to_string()))?;
    let options = ApplyOptions { expected: expected(&headers), write: writing.write };
    put_in_force(&panel, text, Origin::Back(operator.name.to_string(), id), options).await
}

/// What was shown without its secrets gets those of the present revision back.
fn unmasked(panel: &Panel, text: &str) -> ApiResult<String> {
    let unmasked = panel.history().present().map(|revision| revision.unmask(text));
    let unmasked = unmasked.unwrap_or_else(|| Ok(text.to_owned()));
    unmasked.map_err(|Unmaskable(why)| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why))
}

/// The revisions that `If-Match` names (RFC 9110 §13.1.1); none for `*`, since there always is one.
fn expected(headers: &HeaderMap) -> Option<Vec<u64>> {
    let wanted = headers.get(header::IF_MATCH)?.to_str().unwrap_or_default();
    let number = |tag: &str| tag.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    (wanted.trim() != "*").then(|| wanted.split(',').filter_map(number).collect())
}

async fn put_in_force(panel: &Panel, text: String, origin: Origin, options: ApplyOptions) -> ApiResult<Json<InForce>> {
    let applied = panel.apply(text, origin, options).await?.map_err(|why| match why {
        NotApplied::Unexpected(present) => {
            let message = format!("revision {present} is in force by now: look at it first");
            Refusal::new(StatusCode::PRECONDITION_FAILED, message)
        }
        NotApplied::Start(error) => Refusal::of_start(&error),
    })?;
    let revision = panel.history().present().map_or(0, |revision| revision.id);
    let warnings = misfits(&panel.snapshot().warnings);
    let written = applied.not_written.is_none();
    Ok(Json(InForce { revision, written, not_written: applied.not_written, warnings }))
}

fn etag(id: u64) -> String {
    format!("\"{id}\"")
}

fn yaml(revision: &Revision) -> Response {
    let tag = HeaderValue::from_str(&etag(revision.id)).unwrap_or(HeaderValue::from_static(""));
    let kind = HeaderValue::from_static("application/yaml");
    ([(header::CONTENT_TYPE, kind), (header::ETAG, tag)], revision.masked().text.clone()).into_response()
}
