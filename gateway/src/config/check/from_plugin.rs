//! Conditions that a plugin gives: one for each thing that it has an answer for.

use std::{collections::HashMap, sync::Arc};

use http::Method;

use super::{names::cut, paths, report::Report};
use crate::config::{
    catalog::PluginEndpoint,
    model::{Match, PathRule, Segment},
};

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
    let mut places: HashMap<(String, Option<Method>), usize> = HashMap::new();
    let mut made: Vec<(Match, String)> = Vec::new();
    for PluginEndpoint { method, path, about } in endpoints {
        let pattern = match paths::path(path, rule) {
            Ok(pattern) => pattern,
            Err(why) => {
                report.value(at, format!("of {}, the path `{}`: {why}", cut(about), cut(path)));
                continue;
            }
        };
        let Some(method) = (match method.as_str() {
            "" => Some(None),
            name => Method::from_bytes(name.as_bytes()).ok().filter(|method| *method != Method::CONNECT).map(Some),
        }) else {
            report.value(at, format!("of {}, `{}` is no method", cut(about), cut(method)));
            continue;
        };
        // Parameters may be called otherwise.
        let steps = pattern.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => format!("/{text}"),
            Segment::Parameter(_) => "/{}".to_owned(),
            Segment::Rest(_) => "/{*}".to_owned(),
        });
        match places.entry((steps.collect(), method.clone())) {
            std::collections::hash_map::Entry::Occupied(place) => {
                let (_, known) = &mut made[*place.get()];
                if !known.split(", ").any(|one| one == about) {
                    *known = format!("{known}, {about}");
                }
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(made.len());
                let methods = method.into_iter().collect();
                made.push((Match { path: pattern, methods, ..typed.clone() }, about.clone()));
            }
        }
    }
    let own = made.len();
    for index in 0..own {
        let (matches, about) = made[index].clone();
        let further: Vec<Method> =
            typed.methods.iter().filter(|method| !matches.methods.contains(method)).cloned().collect();
        let steps = matches.path.text.clone();
        // One for each path, whatever its methods.
        let is_first = made[..index].iter().all(|(other, _)| other.path.text != steps);
        if !further.is_empty() && !matches.methods.is_empty() && is_first {
            made.push((Match { methods: further, ..matches }, about));
        }
    }
    made.into_iter().map(|(matches, about)| (matches, Some(about.into()))).collect()
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
