//! Which route a request would take, and why.

use std::sync::Arc;

use axum::{Json, extract::State};
use gateway_route::Verdict;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    api_result::{ApiResult, Refusal, Told},
    panel::Panel,
    routes::{ActionView, MatchView, names, secret_conditions},
};
use crate::app::asked::{self, Asked};

/// A request that was not sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    #[serde(default = "get")]
    #[schema(default = "GET", example = "GET")]
    method: String,
    /// `https://api.example.com/users/7?x=y`, or a path with `host` among the fields.
    #[schema(example = "http://api.example.com/users/7")]
    url: String,
    /// `name: value` each.
    #[serde(default)]
    headers: Vec<String>,
    /// The name or address of the listener; by default the first one for the URL's scheme.
    #[serde(default)]
    listener: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// What would become of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explained {
    /// The path and query in the form that everyone sees.
    target: String,
    /// The route that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    /// What the gateway itself answers with where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// That would run, in their order.
    plugins: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<ActionView>,
    /// Routes whose host and path match, the most specific first; where none does, some whose path matches on another host.
    considered: Vec<Considered>,
}

/// A route that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Considered {
    route: String,
    #[serde(rename = "match")]
    matches: MatchView,
    answers: bool,
    /// Why it answers or does not.
    verdict: String,
}

/// Says which route a request would take and why, without sending it.
#[utoipa::path(post, path = "/explain", tag = "traffic", request_body = Question,
    responses((status = 200, body = Explained)))]
pub(super) async fn explain(
    State(panel): State<Arc<Panel>>,
    Told(question): Told<Question>,
) -> ApiResult<Json<Explained>> {
    let Question { method, url, headers, listener } = question;
    let snapshot = panel.snapshot();
    let asked = Asked::parse(&method, &url, &headers);
    let asked = asked.and_then(|asked| asked.at(listener.as_deref(), &snapshot.config.listeners));
    let asked = asked.map_err(|error| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    let nothing = |target: String, status: u16, reason: String| Explained {
        target,
        route: None,
        status: Some(status),
        reason: Some(reason),
        plugins: Vec::new(),
        action: None,
        considered: Vec::new(),
    };
    let target = match asked.admit(&snapshot.table) {
        Ok(target) => target,
        Err(asked::Unserved { status, why }) => return Ok(Json(nothing(asked.target.to_string(), status, why))),
    };
    let explanation = snapshot.table.explain(&asked.query(&target));
    let considered = explanation.candidates.iter().chain(&explanation.elsewhere);
    let considered = considered.map(|candidate| Considered {
        route: candidate.route.name.to_string(),
        matches: MatchView::of(&candidate.route.matches),
        answers: candidate.verdict == Verdict::Answers,
        verdict: secret_conditions(&candidate.route.matches).apply(&candidate.verdict.to_string()),
    });
    let considered = considered.collect();
    let winner = explanation.candidates.iter().find(|candidate| Some(candidate.index) == explanation.winner);
    Ok(Json(match winner {
        Some(winner) => {
            let route = &winner.route;
            Explained {
                target: target.to_string(),
                route: Some(route.name.to_string()),
                status: None,
                reason: None,
                plugins: names(&snapshot.config.global_plugins).into_iter().chain(names(&route.plugins)).collect(),
                action: Some(ActionView::of(&route.action)),
                considered,
            }
        }
        None if explanation.allow.is_empty() => {
            Explained { considered, ..nothing(target.to_string(), 404, "no route matches".to_owned()) }
        }
        None => {
            let allow: Vec<_> = explanation.allow.iter().map(Method::as_str).collect();
            let reason = format!("routes match for other methods: {}", allow.join(", "));
            Explained { considered, ..nothing(target.to_string(), 405, reason) }
        }
    }))
}
