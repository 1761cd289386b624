//! The configuration in force, those before it, and the next one.

use std::{fs, io, path::Path, sync::Arc};

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use similar::TextDiff;
use utoipa::{IntoParams, ToSchema};

use super::{
    access::Who,
    answer::{Answer, Asked, Misfit, Named, Refusal, Text, misfits},
    history::{Origin, Revision},
    panel::{Panel, seconds},
};
use crate::app::{StartError, snapshot};

/// A configuration that was in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevisionView {
    id: u64,
    /// Since when, in seconds since 1970.
    at: f64,
    /// `start`, `reload` (the file changed, or a signal asked for it), `operator`, `back` (an operator went back).
    origin: &'static str,
    /// The operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    /// The revision that was gone back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    back_to: Option<u64>,
    bytes: usize,
    /// It is the one in force.
    present: bool,
}

impl RevisionView {
    fn of(revision: &Revision, present: u64) -> Self {
        let (origin, who, back_to) = match &revision.origin {
            Origin::Start => ("start", None, None),
            Origin::Reload => ("reload", None, None),
            Origin::Operator(who) => ("operator", Some(who.clone()), None),
            Origin::Back(who, to) => ("back", Some(who.clone()), Some(*to)),
        };
        let (id, bytes) = (revision.id, revision.text.len());
        Self { id, at: seconds(revision.at), origin, who, back_to, bytes, present: id == present }
    }
}

/// What became of a configuration that was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InForce {
    /// Its number.
    revision: u64,
    /// It was written to the configuration file, and will be there at the next start.
    written: bool,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_written: Option<String>,
    /// What is allowed and makes no sense.
    warnings: Vec<String>,
}

/// Whether a configuration could be put in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Judgement {
    valid: bool,
    problems: Vec<Misfit>,
    /// What is allowed and makes no sense.
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Writing {
    /// `false`: in force until the next start or reload, and not written to the file.
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

/// The configuration in force as it was typed, but for secrets, which have numbers in their places. `ETag` has its number.
#[utoipa::path(get, path = "/config", tag = "configuration",
    responses((status = 200, content_type = "application/yaml", body = Object)))]
pub(super) async fn present(State(panel): State<Arc<Panel>>) -> Answer<Response> {
    let history = panel.history();
    history.present().map(yaml).ok_or_else(|| Refusal::not_found("revision", "present"))
}

/// Puts another configuration in force, if nothing is wrong with it, and writes it to the configuration file. Where it has
/// the numbers of the present one's secrets, they are put back.
/// With `If-Match` only where the revision of that number is in force still.
#[utoipa::path(put, path = "/config", tag = "configuration", params(Writing),
    request_body(content = Object, content_type = "application/yaml", description = "A configuration: docs and editors know its schema by `gateway schema`"),
    responses((status = 200, body = InForce)))]
pub(super) async fn apply(
    State(panel): State<Arc<Panel>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Asked(writing): Asked<Writing>,
    Text(text): Text,
) -> Answer<Json<InForce>> {
    match_present(&panel, &headers)?;
    let text = unmasked(&panel, &text)?;
    put_in_force(&panel, text, Origin::Operator(who.name.to_string()), writing.write).await
}

/// Says what is wrong with a configuration, and changes nothing.
#[utoipa::path(post, path = "/config/validate", tag = "configuration",
    request_body(content = serde_json::Value, content_type = "application/yaml", description = "A configuration: docs and editors know its schema by `gateway schema`"),
    responses((status = 200, body = Judgement)))]
pub(super) async fn validate(State(panel): State<Arc<Panel>>, Text(text): Text) -> Answer<Json<Judgement>> {
    let text = unmasked(&panel, &text)?;
    let busy = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending");
    let _turn = panel.checking.acquire().await.map_err(busy)?;
    let (source, shared) = (panel.source_of(text), panel.shared.clone());
    let checked =
        tokio::task::spawn_blocking(move || snapshot::read(&source, &shared).map(|read| read.config.warnings));
    let checked =
        checked.await.map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of the gateway"))?;
    Ok(Json(match checked {
        Ok(warnings) => Judgement { valid: true, problems: Vec::new(), warnings: without_file(warnings) },
        Err(StartError::Config(problems)) => {
            Judgement { valid: false, problems: misfits(&problems), warnings: Vec::new() }
        }
        Err(error) => {
            let misfit = Misfit { line: None, column: None, message: error.to_string() };
            Judgement { valid: false, problems: vec![misfit], warnings: Vec::new() }
        }
    }))
}

/// The configurations that were in force since the process began, the newest first; the last 32 of them.
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
pub(super) async fn revision(State(panel): State<Arc<Panel>>, Named(id): Named<u64>) -> Answer<Response> {
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
) -> Answer<Response> {
    let (old, new, from) = {
        let history = panel.history();
        let text = |id: u64| history.get(id).map(|revision| revision.masked().text);
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

/// Goes back to one of them: puts it in force again, if nothing is wrong with it now.
#[utoipa::path(post, path = "/config/revisions/{id}/activate", tag = "configuration",
    params(("id" = u64, Path), Writing), responses((status = 200, body = InForce)))]
pub(super) async fn activate(
    State(panel): State<Arc<Panel>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Named(id): Named<u64>,
    Asked(writing): Asked<Writing>,
) -> Answer<Json<InForce>> {
    match_present(&panel, &headers)?;
    let text = panel.history().get(id).map(|revision| revision.text.to_string());
    let text = text.ok_or_else(|| Refusal::not_found("revision", &id.to_string()))?;
    put_in_force(&panel, text, Origin::Back(who.name.to_string(), id), writing.write).await
}

/// What was shown without its secrets gets those of the present revision back.
fn unmasked(panel: &Panel, text: &str) -> Answer<String> {
    let masked = panel.history().present().map(Revision::masked);
    let Some(masked) = masked else { return Ok(text.to_owned()) };
    masked.unmask(text).map_err(|unknown| {
        let message = format!("the configuration in force has no secret for `{unknown}`: type what shall be there");
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    })
}

/// RFC 9110 §13.1.1.
fn match_present(panel: &Panel, headers: &HeaderMap) -> Answer<()> {
    let Some(wanted) = headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default()) else {
        return Ok(());
    };
    let present = panel.history().present().map_or(0, |revision| revision.id);
    let matches = wanted.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag(present));
    let message = || format!("revision {present} is in force by now: look at it first");
    matches.then_some(()).ok_or_else(|| Refusal::new(StatusCode::PRECONDITION_FAILED, message()))
}

async fn put_in_force(panel: &Arc<Panel>, text: String, origin: Origin, write: bool) -> Answer<Json<InForce>> {
    let applied = panel.apply(text.clone(), origin).await?;
    let applied = applied.map_err(|error| Refusal::of_start(&error))?;
    let (written, not_written) = match applied.file {
        None => (false, Some("the configuration comes from no file".to_owned())),
        Some(_) if !write => (false, Some("that was asked for".to_owned())),
        Some(file) => {
            let wrote = tokio::task::spawn_blocking(move || replace(&file, &text));
            match wrote.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(()) => (true, None),
                Err(error) => (false, Some(error.to_string())),
            }
        }
    };
    if let Some(why) = &not_written
        && write
    {
        tracing::warn!("the configuration in force is not in the file, and will be lost at the next start: {why}");
    }
    let revision = panel.history().present().map_or(0, |revision| revision.id);
    let warnings = without_file(panel.snapshot().config.warnings.clone());
    Ok(Json(InForce { revision, written, not_written, warnings }))
}

/// Whole or not at all: whoever reads it meanwhile reads the old one. A link stays one.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&beside, text)
        .and_then(|()| fs::set_permissions(&beside, fs::metadata(&file)?.permissions()))
        .and_then(|()| fs::File::open(&beside)?.sync_all())
        .and_then(|()| fs::rename(&beside, &file));
    if written.is_err() {
        // What is left of it is of no use.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

/// Warnings begin with the file's name, which says nothing of a text that was sent.
fn without_file(warnings: Vec<String>) -> Vec<String> {
    let short = |warning: String| match warning.find(": ") {
        Some(at) => {
            let (place, rest) = warning.split_at(at);
            let place: Vec<&str> = place.rsplitn(3, ':').take(2).collect();
            match place[..] {
                [column, line] if line.parse::<usize>().is_ok() => format!("{line}:{column}{rest}"),
                _ => warning,
            }
        }
        None => warning,
    };
    warnings.into_iter().map(short).collect()
}

fn etag(id: u64) -> String {
    format!("\"{id}\"")
}

fn yaml(revision: &Revision) -> Response {
    let tag = HeaderValue::from_str(&etag(revision.id)).unwrap_or(HeaderValue::from_static(""));
    let kind = HeaderValue::from_static("application/yaml");
    ([(header::CONTENT_TYPE, kind), (header::ETAG, tag)], revision.masked().text).into_response()
}
