//! Routes that differ only in how a path is read: a request for one of them could be spelled so that the other one
//! serves it. Only routes that say how their services read paths can be such a pair; by default such requests are
//! rejected.

use std::{collections::HashSet, sync::Arc};

use gateway_core::model::{HostPattern, Match, PathRule, Route, Segment};
use gateway_http::path::{Normal, normalise};
use gateway_route::{Query, RouteMatch, Table};
use http::{HeaderMap, Method, uri::PathAndQuery};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::report::Report;

/// Warns of each route that serves other spellings of paths of a route with other plugins or another action.
pub(super) fn check<'p>(routes: &[Arc<Route>], place: impl Fn(&str) -> Option<&'p str>, report: &mut Report<'_>) {
    if routes.iter().all(|route| route.paths == PathRule::default()) {
        return;
    }
    let table = Table::new(routes);
    let mut warned = HashSet::new();
    for meant in routes {
        let sample = Sample::of(&meant.matches);
        for spelling in sample.spellings() {
            let Some(found) = sample.route(&table, &spelling) else { continue };
            let differs = found.plugins != meant.plugins || found.action != meant.action;
            if found.name == meant.name || !differs || !warned.insert((&*found.name, &*meant.name)) {
                continue;
            }
            let Some(place) = place(&found.name) else { continue };
            let message = format!(
                "`{spelling}` is served by route `{}`, and by `{}` if it is read otherwise, with other plugins or another \
                 action; this is safe only if no service of `{0}` reads it so. See `paths` of the two routes",
                found.name, meant.name
            );
            report.warn(place, message);
        }
    }
}

/// A request that a route answers.
struct Sample {
    listener: String,
    host: String,
    segments: Vec<String>,
    method: Method,
    headers: HeaderMap,
    query: Option<String>,
}

impl Sample {
    fn of(matches: &Match) -> Self {
        let host = match matches.hosts.first() {
            None => String::new(),
            Some(HostPattern::Exact(name)) => name.clone(),
            Some(HostPattern::Suffix(name)) => format!("x.{name}"),
        };
        let segment = |segment: &Segment| match segment {
            Segment::Literal(text) => text.clone(),
            Segment::Parameter(_) | Segment::Rest(_) => "x".to_owned(),
        };
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<_> =
            matches.query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let listener = matches.listeners.first().map(|name| name.to_string()).unwrap_or_default();
        Self {
            listener,
            host,
            segments: matches.path.segments.iter().map(segment).collect(),
            method: matches.methods.first().cloned().unwrap_or(Method::GET),
            headers: matches.headers.iter().cloned().collect(),
            query: (!pairs.is_empty()).then(|| pairs.join("&")),
        }
    }

    /// Its path with each slash between two segments encoded or doubled, and with a parameter at each segment.
    fn spellings(&self) -> impl Iterator<Item = String> + '_ {
        let with = |at: usize, before: &'static str, after: &'static str| {
            let mut path = String::new();
            for (i, segment) in self.segments.iter().enumerate() {
                path.push_str(if i == at { before } else { "/" });
                path.push_str(segment);
                path.push_str(if i == at { after } else { "" });
            }
            path
        };
        (0..self.segments.len()).flat_map(move |at| {
            let encoded = (at > 0).then(|| with(at, "%2F", ""));
            encoded.into_iter().chain([with(at, "//", ""), with(at, "/", ";x")])
        })
    }

    /// The route that serves a spelling of its path, if the gateway lets it pass.
    fn route<'t>(&self, table: &'t Table, spelling: &str) -> Option<&'t Arc<Route>> {
        let query = |target| Query {
            listener: &self.listener,
            host: &self.host,
            path: PathAndQuery::path(target),
            query: self.query.as_deref(),
            method: &self.method,
            headers: &self.headers,
        };
        let target = PathAndQuery::try_from(spelling).ok()?;
        let target = match normalise(&target, &self.method).ok()? {
            Normal::Clear(target) => target,
            Normal::Ambiguous(path) => table.resolve(&path, &query(&target)).ok()?,
        };
        match table.find(&query(&target)) {
            RouteMatch::Route { route, .. } => Some(route),
            RouteMatch::NotFound | RouteMatch::MethodNotAllowed { .. } => None,
        }
    }
}
