//! The routing table.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State};
use gateway_config::{Redaction, is_secret_field};
use gateway_core::model::{Action, HostPattern, Match, Route};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    panel::Panel,
    stats::{Durations, Numbers, numbers},
};

const MASKED: &str = "<masked>";

/// A route.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RouteView {
    name: String,
    /// What the plugin calls it that has made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    #[serde(rename = "match")]
    matches: MatchView,
    /// In their order, the global ones first.
    plugins: Vec<String>,
    action: ActionView,
    /// Requests by status class.
    requests: Numbers,
    duration: Durations,
}

/// What a request must have.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MatchView {
    /// Any of these; empty for every listener.
    listeners: Vec<String>,
    /// Any of these; every host if there are none.
    hosts: Vec<String>,
    path: String,
    /// Any of these; every method if there are none.
    methods: Vec<String>,
    headers: Vec<Pair>,
    query: Vec<Pair>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pair {
    name: String,
    value: String,
}

/// Where requests go.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActionView {
    /// `upstream`, `split`, `redirect`, `respond`.
    kind: &'static str,
    /// With their weights, of `upstream` and `split`.
    upstreams: Vec<Share>,
    /// Of `redirect` and `respond`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Share {
    upstream: String,
    weight: u32,
}

/// All routes, in the order of the configuration, with what they have served since the start. Routes that a plugin has
/// made share their name and their numbers.
#[utoipa::path(get, path = "/routes", tag = "traffic", responses((status = 200, body = Vec<RouteView>)))]
pub(super) async fn routes(State(panel): State<Arc<Panel>>) -> Json<Vec<RouteView>> {
    let snapshot = panel.snapshot();
    let global: Vec<String> = names(&snapshot.config.global_plugins);
    let figures = panel.shared.metrics.route_figures();
    let figures: HashMap<_, _> = figures.iter().map(|figures| (&*figures.route, figures)).collect();
    let view = |route: &Arc<Route>| {
        let figures = figures.get(&*route.name);
        RouteView {
            name: route.name.to_string(),
            about: route.about.as_ref().map(|about| about.to_string()),
            matches: MatchView::of(&route.matches),
            plugins: global.iter().cloned().chain(names(&route.plugins)).collect(),
            action: ActionView::of(&route.action),
            requests: figures.map(|figures| numbers(&figures.requests)).unwrap_or_default(),
            duration: figures.map(|figures| Durations::of(&figures.duration)).unwrap_or_default(),
        }
    };
    Json(snapshot.config.routes.iter().map(view).collect())
}

pub(super) fn names(plugins: &[Arc<gateway_core::model::PluginUse>]) -> Vec<String> {
    plugins.iter().map(|used| used.plugin.name.to_string()).collect()
}

impl MatchView {
    pub(super) fn of(matches: &Match) -> Self {
        let host = |host: &HostPattern| match host {
            HostPattern::Exact(name) => name.clone(),
            HostPattern::Suffix(name) => format!("*.{name}"),
        };
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        // A condition may be a shared secret, which is masked in the configuration too.
        let pair = |name: &str, value: String| {
            let value = if is_secret_field(name) { MASKED.to_owned() } else { value };
            Pair { name: name.to_owned(), value }
        };
        let header = |(name, value): &(http::HeaderName, http::HeaderValue)| pair(name.as_str(), text(value));
        let query = |(name, value): &(String, String)| pair(name, value.clone());
        Self {
            listeners: matches.listeners.iter().map(ToString::to_string).collect(),
            hosts: matches.hosts.iter().map(host).collect(),
            path: matches.path.text.clone(),
            methods: matches.methods.iter().map(ToString::to_string).collect(),
            headers: matches.headers.iter().map(header).collect(),
            query: matches.query.iter().map(query).collect(),
        }
    }
}

/// The conditions of a route that are shared secrets.
pub(super) fn secret_conditions(matches: &Match) -> Redaction {
    let headers = matches.headers.iter().filter(|(name, _)| is_secret_field(name.as_str()));
    let headers = headers.map(|(_, value)| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let query = matches.query.iter().filter(|(name, _)| is_secret_field(name)).map(|(_, value)| value.clone());
    Redaction::of(headers.chain(query))
}

impl ActionView {
    pub(super) fn of(action: &Action) -> Self {
        let share = |name: &str, weight| Share { upstream: name.to_owned(), weight };
        let none = || Self { kind: "upstream", upstreams: Vec::new(), status: None };
        match action {
            Action::Upstream(upstream) => Self { upstreams: vec![share(&upstream.name, 1)], ..none() },
            Action::Split(parts) => {
                let parts = parts.iter().map(|(upstream, weight)| share(&upstream.name, *weight));
                Self { kind: "split", upstreams: parts.collect(), ..none() }
            }
            Action::Redirect(redirect) => Self { kind: "redirect", status: Some(redirect.status.as_u16()), ..none() },
            Action::Respond(respond) => Self { kind: "respond", status: Some(respond.status.as_u16()), ..none() },
        }
    }
}
