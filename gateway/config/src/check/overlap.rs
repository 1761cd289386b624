//! Routes that cannot be told apart: some request would match both, and nothing says which one is meant.

use std::{collections::HashMap, sync::Arc};

use gateway_core::model::{HostPattern, Match, Segment};
use http::{HeaderName, HeaderValue, Method};

use super::report::Report;

/// What the precedence of routes compares, but for the methods.
#[derive(PartialEq, Eq, Hash)]
struct Shape<'a> {
    /// `None` for every listener.
    listener: Option<&'a str>,
    /// `None` for every host.
    host: Option<&'a HostPattern>,
    path: Vec<Step<'a>>,
    headers: &'a [(HeaderName, HeaderValue)],
    query: &'a [(String, String)],
}

/// A segment without the parameter's name, which changes nothing about what matches.
#[derive(PartialEq, Eq, Hash)]
enum Step<'a> {
    Literal(&'a str),
    Parameter,
    Rest,
}

/// One route: its name, its place and its conditions.
pub(super) type Entry = (Arc<str>, String, Match);

pub(super) fn check(routes: &[Entry], report: &mut Report<'_>) {
    let mut seen: HashMap<Shape<'_>, Vec<usize>> = HashMap::new();
    for (i, (name, place, matches)) in routes.iter().enumerate() {
        let mut clash = None;
        for shape in shapes(matches) {
            let earlier = seen.entry(shape).or_default();
            clash = clash.or_else(|| earlier.iter().copied().find(|&j| methods_clash(&routes[j].2, matches)));
            earlier.push(i);
        }
        if let Some(j) = clash {
            let (other, other_place, _) = &routes[j];
            let line = report.line(other_place);
            report.value(
                place,
                format!(
                    "route `{name}` cannot be told apart from `{other}` on line {line}: listeners, host, path, methods, headers and \
                     query allow the same requests; add a condition to one of them"
                ),
            );
        }
    }
}

fn shapes(matches: &Match) -> impl Iterator<Item = Shape<'_>> {
    let all = matches.listeners.is_empty().then_some(None);
    let listeners = all.into_iter().chain(matches.listeners.iter().map(|name| Some(&**name)));
    let of_hosts = |listener| {
        let every = matches.hosts.is_empty().then_some(None);
        every.into_iter().chain(matches.hosts.iter().map(Some)).map(move |host| (listener, host))
    };
    listeners.flat_map(of_hosts).map(|(listener, host)| Shape {
        listener,
        host,
        path: matches.path.segments.iter().map(Step::from).collect(),
        headers: &matches.headers,
        query: &matches.query,
    })
}

impl<'a> From<&'a Segment> for Step<'a> {
    fn from(segment: &'a Segment) -> Self {
        match segment {
            Segment::Literal(text) => Self::Literal(text),
            Segment::Parameter(_) => Self::Parameter,
            Segment::Rest(_) => Self::Rest,
        }
    }
}

/// A route with methods wins over one without; between two with methods, one in common leaves it open.
fn methods_clash(a: &Match, b: &Match) -> bool {
    let common = |method: &Method| b.methods.contains(method);
    a.methods.is_empty() && b.methods.is_empty() || a.methods.iter().any(common)
}
