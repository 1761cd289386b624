//! Requests as they end, live.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use gateway_telemetry::tail::{News, Seen};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    api_result::{ApiResult, Asked, Refusal},
    panel::Panel,
    unix_time::seconds,
};

/// So that proxies in between do not take it for dead.
const COMFORT: Duration = Duration::from_secs(15);

/// Which requests are wanted; all conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The name of a route.
    route: Option<String>,
    /// `GET`, …
    method: Option<String>,
    /// `200`, or a class: `5xx`.
    status: Option<String>,
    /// What the path begins with.
    path: Option<String>,
    /// The name of an upstream.
    upstream: Option<String>,
    /// Only those that the gateway itself answered or gave up: `true`.
    #[serde(default)]
    failed: bool,
}

/// A request that has ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ended {
    /// When its head had arrived, in seconds since 1970.
    at: f64,
    request_id: String,
    client: String,
    method: String,
    host: String,
    /// Without the query.
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    /// Absent where the client left before a response began.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why the gateway itself answered or gave up.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    request_bytes: u64,
    response_bytes: u64,
    /// Microseconds.
    duration: u64,
    /// Microseconds until the head of the upstream's response.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_duration: Option<u64>,
    /// Microseconds in plugins.
    plugins_duration: u64,
}

/// Requests as they end, as server-sent events: `request` with what is known of it, and `missed` with a number where
/// there were more than could be told. The connection ends after five minutes; `EventSource` comes back by itself.
#[utoipa::path(get, path = "/tail", tag = "traffic", params(Wanted),
    responses((status = 200, content_type = "text/event-stream", body = Ended)))]
pub(super) async fn tail(
    State(panel): State<Arc<Panel>>,
    Asked(wanted): Asked<Wanted>,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let status = wanted.status.as_deref().map(Statuses::parse).transpose()?;
    let too_many = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "others watch already, and there may be no more");
    let watcher = panel.shared.tail.watch().ok_or_else(too_many)?;
    let events = stream::unfold((watcher, wanted, status), |(mut watcher, wanted, status)| async move {
        loop {
            let event = match watcher.next().await? {
                News::Missed(count) => Event::default().event("missed").data(count.to_string()),
                News::Seen(seen) if wanted.includes(&seen, status.as_ref()) => {
                    Event::default().event("request").json_data(Ended::of(&seen)).unwrap_or_default()
                }
                News::Seen(_) => continue,
            };
            return Some((Ok(event), (watcher, wanted, status)));
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(COMFORT)))
}

#[derive(Debug, PartialEq, Eq)]
enum Statuses {
    One(u16),
    Class(u16),
}

impl Statuses {
    fn parse(text: &str) -> ApiResult<Self> {
        let class =
            text.strip_suffix("xx").and_then(|class| class.parse().ok()).filter(|class| (1..=5).contains(class));
        let one = || text.parse().ok().filter(|status| (100..=599).contains(status)).map(Self::One);
        let expected =
            || Refusal::new(StatusCode::BAD_REQUEST, "`status` is one such as `404`, or a class such as `5xx`");
        class.map(Self::Class).or_else(one).ok_or_else(expected)
    }

    fn includes(&self, status: u16) -> bool {
        match self {
            Self::One(one) => *one == status,
            Self::Class(class) => status / 100 == *class,
        }
    }
}

impl Wanted {
    fn includes(&self, seen: &Seen, status: Option<&Statuses>) -> bool {
        let served = &seen.served;
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|w| Some(w) == found);
        is(&self.route, served.route.as_ref().map(|(name, _)| &**name))
            && self.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(&served.method))
            && status.is_none_or(|statuses| served.status.is_some_and(|status| statuses.includes(status)))
            && self.path.as_ref().is_none_or(|path| served.path.starts_with(path))
            && is(&self.upstream, seen.upstream.as_deref())
            && (!self.failed || served.failure.is_some())
    }
}

impl Ended {
    fn of(seen: &Seen) -> Self {
        let served = &seen.served;
        Self {
            at: seconds(seen.at),
            request_id: served.request_id.clone(),
            client: served.client.clone(),
            method: served.method.clone(),
            host: served.authority.clone(),
            path: served.path.clone(),
            route: served.route.as_ref().map(|(name, _)| name.to_string()),
            status: served.status,
            failure: served.failure,
            upstream: seen.upstream.as_ref().map(|name| name.to_string()),
            request_bytes: served.request_bytes,
            response_bytes: served.response_bytes,
            duration: seen.duration_us,
            upstream_duration: seen.upstream_us,
            plugins_duration: seen.plugins_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_class() {
        assert_eq!(Statuses::parse("404").unwrap(), Statuses::One(404));
        assert_eq!(Statuses::parse("5xx").unwrap(), Statuses::Class(5));
        assert!(Statuses::parse("5xx").unwrap().includes(503));
        for wrong in ["", "xx", "6xx", "0xx", "99", "600", "ok"] {
            assert!(Statuses::parse(wrong).is_err(), "{wrong}");
        }
    }
}
