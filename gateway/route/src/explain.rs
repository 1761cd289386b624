//! Why a request is answered by this route and not by another: for `gateway route`.

use std::{collections::HashSet, fmt, ops::ControlFlow, sync::Arc};

use gateway_core::model::{HostPattern, PathPattern, Route, Segment};
use http::Method;

use super::{
    condition::Miss,
    host,
    query::Query,
    table::{RouteMatch, Table, Tier},
};

/// Routes shown whose path matches but not their host.
const MAX_ELSEWHERE: usize = 10;

/// How a request finds its route. `Display` tells it to people.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Method, host and target, as asked.
    pub request: String,
    /// The route that answers, as a place in the list that the table was built from.
    pub winner: Option<usize>,
    /// Where nothing answers but would for these methods.
    pub allow: Vec<Method>,
    /// The routes whose host and path match, in the order in which they are tried.
    pub candidates: Vec<Candidate>,
    /// Where nothing answers: some routes whose path matches, but not their host.
    pub elsewhere: Vec<Candidate>,
    /// All routes of the table.
    pub routes: usize,
}

/// A route that was considered.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub index: usize,
    pub route: Arc<Route>,
    pub verdict: Verdict,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Answers,
    /// All conditions hold, but a route before it answers; the text says what makes that more specific.
    LessSpecific(&'static str),
    /// The first condition that fails: what is wanted, and what the request has.
    Fails {
        wanted: String,
        found: String,
    },
}

impl Table {
    /// Which route answers and why; for people, so it may be slow.
    pub fn explain(&self, query: &Query<'_>) -> Explanation {
        Explanation::of(self, query)
    }
}

impl Explanation {
    fn of(table: &Table, query: &Query<'_>) -> Self {
        let mut winner: Option<(Tier, &Arc<Route>, usize)> = None;
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut seen = HashSet::new();
        let _: Option<()> = table.search(query, |tier, entry| {
            if !seen.insert(entry.index) {
                return ControlFlow::Continue(());
            }
            let verdict = match (entry.miss(query), &winner) {
                (Some(miss), _) => fails(&miss, &entry.route, query),
                (None, Some((best, route, _))) => Verdict::LessSpecific(difference(*best, route, tier, &entry.route)),
                (None, None) => {
                    winner = Some((tier, &entry.route, entry.index));
                    Verdict::Answers
                }
            };
            candidates.push(Candidate { index: entry.index, route: entry.route.clone(), verdict });
            ControlFlow::Continue(())
        });
        let allow = match table.find(query) {
            RouteMatch::MethodNotAllowed { allow } => allow,
            _ => Vec::new(),
        };
        let elsewhere = if winner.is_none() && candidates.is_empty() { elsewhere(table, query) } else { Vec::new() };
        Self {
            request: request(query),
            winner: winner.map(|(_, _, index)| index),
            allow,
            candidates,
            elsewhere,
            routes: table.entries.len(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let winner = self.candidates.iter().find(|candidate| Some(candidate.index) == self.winner);
        match winner {
            Some(winner) => {
                write!(f, "{} is answered by route {}", self.request, winner.route.name)?;
                match &winner.route.about {
                    Some(about) => writeln!(f, " ({about})")?,
                    None => writeln!(f)?,
                }
            }
            None if self.allow.is_empty() => writeln!(f, "{} is answered by no route: 404", self.request)?,
            None => {
                let allow: Vec<_> = self.allow.iter().map(Method::as_str).collect();
                writeln!(f, "{} is answered by no route: 405, Allow: {}", self.request, allow.join(", "))?;
            }
        }
        if self.candidates.is_empty() {
            writeln!(f, "\nNone of the {} routes has a matching host and path.", self.routes)?;
        } else {
            writeln!(f, "\nRoutes with a matching host and path, the most specific first:")?;
            list(f, &self.candidates)?;
        }
        if !self.elsewhere.is_empty() {
            writeln!(f, "\nThe path would match on another host or listener:")?;
            list(f, &self.elsewhere)?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answers => f.write_str("answers"),
            Self::LessSpecific(why) => write!(f, "matches too, but {why}"),
            Self::Fails { wanted, found } => write!(f, "wants {wanted}, the request has {found}"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, candidates: &[Candidate]) -> fmt::Result {
    let width = candidates.iter().map(|c| c.route.name.chars().count()).max().unwrap_or_default();
    for (place, Candidate { route, verdict, .. }) in candidates.iter().enumerate() {
        let text = &route.matches.path.text;
        let hosts = hosts(&route.matches.hosts);
        let about = route.about.as_ref().map(|about| format!("  for {about}")).unwrap_or_default();
        writeln!(
            f,
            "{:>3}. {:width$}  {text}  on {hosts}{about}\n     {:width$}  {verdict}",
            place + 1,
            route.name,
            ""
        )?;
    }
    Ok(())
}

fn request(query: &Query<'_>) -> String {
    let host = if query.host.is_empty() { "(no host)" } else { query.host };
    match query.query {
        Some(parameters) => format!("{} {host}{}?{parameters}", query.method, query.path),
        None => format!("{} {host}{}", query.method, query.path),
    }
}

fn hosts(patterns: &[HostPattern]) -> String {
    if patterns.is_empty() {
        return "every host".to_owned();
    }
    let names: Vec<_> = patterns
        .iter()
        .map(|pattern| match pattern {
            HostPattern::Exact(name) => name.clone(),
            HostPattern::Suffix(name) => format!("*.{name}"),
        })
        .collect();
    names.join(", ")
}

fn fails(miss: &Miss<'_>, route: &Route, query: &Query<'_>) -> Verdict {
    let (wanted, found) = match miss {
        Miss::Method => {
            let methods: Vec<_> = route.matches.methods.iter().map(Method::as_str).collect();
            (format!("method {}", methods.join(" or ")), query.method.to_string())
        }
        Miss::Header(name, value) => {
            let found: Vec<_> = query.headers.get_all(*name).iter().map(|v| format!("{v:?}")).collect();
            (format!("header {name}: {value:?}"), if found.is_empty() { "none".to_owned() } else { found.join(", ") })
        }
        Miss::Query(name, value) => {
            (format!("query parameter {name}={value}"), query.query.unwrap_or("no query").to_owned())
        }
    };
    Verdict::Fails { wanted, found }
}

/// In what the winner is more specific than another route that matches.
fn difference(best: Tier, winner: &Route, tier: Tier, other: &Route) -> &'static str {
    let (winner, other) = (&winner.matches, &other.matches);
    if best.is_bound != tier.is_bound {
        "it is for every listener"
    } else if best.host != tier.host {
        "its host is less specific"
    } else if !same_pattern(&winner.path, &other.path) {
        "its path is less specific"
    } else if winner.methods.is_empty() != other.methods.is_empty() {
        "it has no condition on the method"
    } else if winner.headers.len() != other.headers.len() {
        "it has fewer header conditions"
    } else if winner.query.len() != other.query.len() {
        "it has fewer query conditions"
    } else {
        "its name comes later"
    }
}

/// Whether two patterns match the same paths, whatever their parameters are called.
fn same_pattern(a: &PathPattern, b: &PathPattern) -> bool {
    let same = |a: &Segment, b: &Segment| match (a, b) {
        (Segment::Literal(a), Segment::Literal(b)) => a == b,
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    };
    a.segments.len() == b.segments.len() && a.segments.iter().zip(&b.segments).all(|(a, b)| same(a, b))
}

/// Routes that would match the path, on other hosts.
fn elsewhere(table: &Table, query: &Query<'_>) -> Vec<Candidate> {
    let Some(path) = query.path.strip_prefix('/') else { return Vec::new() };
    let mut found: Vec<usize> = Vec::new();
    for tree in &table.trees {
        let _: ControlFlow<()> = tree.search(path, |index| {
            found.push(index);
            ControlFlow::Continue(())
        });
    }
    found.sort_by_key(|&index| &table.entries[index].route.name);
    found.dedup();
    found.truncate(MAX_ELSEWHERE);
    let candidate = |index: usize| {
        let route = table.entries[index].route.clone();
        let listeners = &route.matches.listeners;
        if !listeners.is_empty() && !listeners.iter().any(|name| **name == *query.listener) {
            let wanted = format!("listener {}", listeners.join(" or "));
            let found = if query.listener.is_empty() { "none" } else { query.listener }.to_owned();
            return Candidate { index, route, verdict: Verdict::Fails { wanted, found } };
        }
        let wanted = format!("host {}", hosts(&route.matches.hosts));
        let found = if query.host.is_empty() { "none".to_owned() } else { host::normalise(query.host).into_owned() };
        Candidate { index, route, verdict: Verdict::Fails { wanted, found } }
    };
    found.into_iter().map(candidate).collect()
}
