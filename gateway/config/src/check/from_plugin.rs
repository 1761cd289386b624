//! Conditions that a plugin gives: one for each thing that it has an answer for.

use std::{collections::HashMap, sync::Arc};

use gateway_core::model::{Match, PathPattern, PathRule, Segment};
use http::Method;

use super::{names::cut, paths, report::Report};
use crate::catalog::PluginEndpoint;

/// Conditions, and what the plugin says that they are about.
pub(super) type Made = (Match, Option<Arc<str>>);

/// The conditions of all endpoints, each with what else is typed. Methods that are typed are further ones on each path.
pub(super) fn matches(
    endpoints: &[PluginEndpoint],
    typed: &Match,
    rule: PathRule,
    at: &str,
    report: &mut Report<'_>,
) -> Vec<Made> {
    let mut shapes: HashMap<String, usize> = HashMap::new();
    let mut paths: Vec<Path> = Vec::new();
    for PluginEndpoint { method, path, about } in endpoints {
        let pattern = match paths::path(path, rule) {
            Ok(pattern) => pattern,
            Err(why) => {
                report.value(at, format!("of {}, the path `{}`: {why}", cut(about), cut(path)));
                continue;
            }
        };
        let method = match method.as_str() {
            "" => None,
            name => match Method::from_bytes(name.as_bytes()).ok().filter(|method| *method != Method::CONNECT) {
                Some(method) => Some(method),
                None => {
                    report.value(at, format!("of {}, `{}` is no method", cut(about), cut(name)));
                    continue;
                }
            },
        };
        let path = *shapes.entry(shape(&pattern)).or_insert_with(|| {
            paths.push(Path { pattern, calls: Vec::new() });
            paths.len() - 1
        });
        paths[path].add(method, about);
    }
    let mut made = Vec::new();
    for Path { pattern, mut calls } in paths {
        if calls.iter().all(|(method, _)| method.is_some()) {
            let further =
                typed.methods.iter().filter(|further| calls.iter().all(|(own, _)| own.as_ref() != Some(*further)));
            let further: Vec<_> = further.map(|method| (Some(method.clone()), calls[0].1.clone())).collect();
            calls.extend(further);
        }
        made.extend(calls.into_iter().map(|(method, about)| {
            let methods = method.into_iter().collect();
            (Match { path: pattern.clone(), methods, ..typed.clone() }, Some(about.into()))
        }));
    }
    made
}

/// What there is at one path.
struct Path {
    pattern: PathPattern,
    /// By method, none for any; and what they are about.
    calls: Vec<(Option<Method>, String)>,
}

impl Path {
    fn add(&mut self, method: Option<Method>, about: &str) {
        match self.calls.iter_mut().find(|(known, _)| *known == method) {
            None => self.calls.push((method, about.to_owned())),
            Some((_, known)) if known.split(", ").any(|one| one == about) => {}
            Some((_, known)) => *known = format!("{known}, {about}"),
        }
    }
}

/// Two patterns of the same shape match the same paths: parameters may be called otherwise.
fn shape(pattern: &PathPattern) -> String {
    let steps = pattern.segments.iter().map(|segment| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::Parameter(_) => "/{}".to_owned(),
        Segment::Rest(_) => "/{*}".to_owned(),
    });
    steps.collect()
}

/// All methods together; none for every one.
pub(super) fn methods(made: &[Made]) -> Vec<Method> {
    if made.iter().any(|(matches, _)| matches.methods.is_empty()) {
        return Vec::new();
    }
    let mut methods: Vec<Method> = made.iter().flat_map(|(matches, _)| matches.methods.iter().cloned()).collect();
    methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    methods.dedup();
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `METHOD PATH` of all that is made of endpoints, with these further methods.
    fn made(endpoints: &[(&str, &str)], further: &[Method]) -> Vec<String> {
        let endpoint = |(method, path): &(&str, &str)| PluginEndpoint {
            method: (*method).to_owned(),
            path: (*path).to_owned(),
            about: "a.B/C".to_owned(),
        };
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        let rule = PathRule::default();
        let path = paths::path("/", rule).unwrap();
        let typed =
            Match { listeners: vec![], hosts: vec![], path, methods: further.to_vec(), headers: vec![], query: vec![] };
        let tree = crate::yaml::parse("a: 1").unwrap();
        let mut report = Report::new(&tree, std::path::Path::new(""));
        let made = matches(&endpoints, &typed, rule, "", &mut report);
        assert!(report.is_clean());
        let shown = |(matches, _): Made| {
            format!("{} {}", matches.methods.first().map_or("*", Method::as_str), matches.path.text)
        };
        made.into_iter().map(shown).collect()
    }

    #[test]
    fn further_methods_are_there_once_for_each_path_however_its_parameters_are_called() {
        let endpoints = [("GET", "/a/{name}"), ("PATCH", "/a/{book_name}"), ("GET", "/b")];
        let expected = ["GET /a/{name}", "PATCH /a/{name}", "OPTIONS /a/{name}", "GET /b", "OPTIONS /b"];
        assert_eq!(made(&endpoints, &[Method::OPTIONS]), expected);
        assert_eq!(made(&endpoints[..2], &[Method::PATCH]), expected[..2]);
        assert_eq!(made(&[("", "/c")], &[Method::OPTIONS]), ["* /c"]);
    }
}
