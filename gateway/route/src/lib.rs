//! Which route answers a request. Pure: built once from a checked configuration, then only read.
//!
//! Precedence is that of the Kubernetes Gateway API (`HTTPRouteSpec.hostnames` and `HTTPRouteRule.matches`),
//! extended to parameters, and never depends on the order in the file:
//!
//! 1. host: an exact name, then `*.suffix`, the longest first, then routes for every host;
//! 2. path: segment by segment from the left, a literal before `{parameter}` before `{*rest}`, and so an exact
//!    path before any pattern and a longer prefix before a shorter one;
//! 3. a condition on the method before none;
//! 4. the larger number of header conditions;
//! 5. the larger number of query conditions;
//! 6. the route's name.
//!
//! A more specific route whose other conditions fail hides nothing: the search goes on with the less specific
//! ones, also those of a less specific host. Decisions where implementations differ:
//!
//! - A path that services read in several ways must lead to routes that agree on one (`ambiguous.rs`).
//! - A trailing slash makes another path: `/a` does not match `/a/`.
//! - `/a/{*rest}` matches `/a`, `/a/` and all below, as the Gateway API's `PathPrefix` does. Were `/a` left out,
//!   a catch-all route without the authentication of `/a/{*rest}` would serve it.
//! - A method matches only itself: a route for `GET` does not serve `HEAD`, as in Gateway API, Envoy, Kong and
//!   Traefik. Who wants both lists both.

mod ambiguous;
mod condition;
mod explain;
mod host;
#[cfg(test)]
mod tests;
mod tree;

use std::{borrow::Cow, collections::HashMap, ops::ControlFlow, sync::Arc};

use ahash::RandomState;
use gateway_core::model::{HostPattern, Route};
use gateway_http::spelling::FixedSpellings;
use http::{HeaderMap, Method};
use smallvec::SmallVec;

pub use self::explain::{Candidate, Explanation, Verdict};
use self::{
    condition::{Entry, Miss},
    tree::Tree,
};

/// What a request is matched by.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The authority, in any case, with or without port; empty if the request names none.
    pub host: &'a str,
    /// The normalised path, from the root.
    pub path: &'a str,
    /// What follows `?`.
    pub query: Option<&'a str>,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

/// The outcome of a search.
#[derive(Debug)]
pub enum Found<'t> {
    Route {
        /// The route's place in the list that the table was built from.
        index: usize,
        route: &'t Arc<Route>,
    },
    NotFound,
    /// Some routes match but for their method.
    MethodNotAllowed {
        /// Theirs, sorted by name, for the field `Allow` (RFC 9110 §10.2.1).
        allow: Vec<Method>,
    },
}

/// All routes, ready to be searched.
///
/// A search looks up the host once for each distinct length of wildcard, and in each tree found visits a node
/// at most once. Nothing else depends on the number of routes or on what the client sent.
#[derive(Debug)]
pub struct Table {
    entries: Vec<Entry>,
    trees: Vec<Tree>,
    exact: HashMap<String, usize, RandomState>,
    suffixes: HashMap<String, usize, RandomState>,
    /// The distinct lengths of `suffixes`, the longest first.
    suffix_lengths: Vec<usize>,
    any: Option<usize>,
    /// The headers that routes have conditions on.
    conditions: FixedSpellings,
}

impl Table {
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let mut table = Self {
            entries: Vec::with_capacity(routes.len()),
            trees: Vec::new(),
            exact: HashMap::default(),
            suffixes: HashMap::default(),
            suffix_lengths: Vec::new(),
            any: None,
            conditions: FixedSpellings::default(),
        };
        for (index, route) in routes.iter().enumerate() {
            table.entries.push(Entry::new(index, route));
            route.matches.headers.iter().for_each(|(name, _)| table.conditions.add(name));
            if route.matches.hosts.is_empty() {
                table.tree_for(None).insert(index, &route.matches.path);
            }
            for pattern in &route.matches.hosts {
                table.tree_for(Some(pattern)).insert(index, &route.matches.path);
            }
        }
        let Self { entries, trees, .. } = &mut table;
        for tree in trees {
            tree.sort_by(|&a, &b| entries[a].rank().cmp(&entries[b].rank()));
        }
        table.suffix_lengths = table.suffixes.keys().map(String::len).collect();
        table.suffix_lengths.sort_unstable_by(|a, b| b.cmp(a));
        table.suffix_lengths.dedup();
        table
    }

    /// Removes the other spellings of headers that routes have conditions on. Otherwise a request could meet the conditions of a
    /// service that merges them, and not those of the route that guards it.
    pub fn remove_other_spellings(&self, headers: &mut HeaderMap) {
        self.conditions.remove_others(headers);
    }

    /// The route that answers, or why there is none.
    pub fn find(&self, query: &Query<'_>) -> Found<'_> {
        let mut other_methods: SmallVec<[usize; 8]> = SmallVec::new();
        let found = self.search(query, |_, entry| match entry.miss(query) {
            None => ControlFlow::Break(entry),
            Some(Miss::Method) => {
                if entry.miss_besides_method(query).is_none() {
                    other_methods.push(entry.index);
                }
                ControlFlow::Continue(())
            }
            Some(_) => ControlFlow::Continue(()),
        });
        match found {
            Some(entry) => Found::Route { index: entry.index, route: &entry.route },
            None if other_methods.is_empty() => Found::NotFound,
            None => Found::MethodNotAllowed { allow: self.allow(&other_methods) },
        }
    }

    /// Which route answers and why; for people, so it may be slow.
    pub fn explain(&self, query: &Query<'_>) -> Explanation {
        Explanation::of(self, query)
    }

    /// Shows every route whose host and path match, the most specific first, until one is taken. A route that
    /// has several matching hosts is shown once for each of them.
    fn search<'t, R>(
        &'t self,
        query: &Query<'_>,
        mut visit: impl FnMut(HostTier, &'t Entry) -> ControlFlow<R>,
    ) -> Option<R> {
        let path = query.path.strip_prefix('/')?;
        // Where every route is for every host, it need not be looked at.
        let every = self.exact.is_empty() && self.suffixes.is_empty();
        let host = if every { Cow::Borrowed("") } else { host::normalise(query.host) };
        self.tiers(&host)
            .find_map(|(tier, tree)| tree.search(path, |index| visit(tier, &self.entries[index])).break_value())
    }

    /// The trees of the hosts that match, the most specific first.
    fn tiers<'t>(&'t self, host: &str) -> impl Iterator<Item = (HostTier, &'t Tree)> {
        let exact = self.exact.get(host).map(|&tree| (HostTier::Exact, tree));
        let suffixes = self.suffix_lengths.iter().filter_map(move |&length| {
            let suffix = host::suffix(host, length)?;
            Some((HostTier::Suffix(length), *self.suffixes.get(suffix)?))
        });
        let any = self.any.map(|tree| (HostTier::Any, tree));
        exact.into_iter().chain(suffixes).chain(any).map(|(tier, tree)| (tier, &self.trees[tree]))
    }

    fn tree_for(&mut self, pattern: Option<&HostPattern>) -> &mut Tree {
        let trees = &mut self.trees;
        let plant = || {
            trees.push(Tree::default());
            trees.len() - 1
        };
        let tree = match pattern {
            None => *self.any.get_or_insert_with(plant),
            Some(HostPattern::Exact(name)) => {
                *self.exact.entry(host::normalise(name).into_owned()).or_insert_with(plant)
            }
            Some(HostPattern::Suffix(name)) => {
                *self.suffixes.entry(host::normalise(name).into_owned()).or_insert_with(plant)
            }
        };
        &mut self.trees[tree]
    }

    fn allow(&self, entries: &[usize]) -> Vec<Method> {
        let mut methods: Vec<Method> =
            entries.iter().flat_map(|&index| &self.entries[index].route.matches.methods).cloned().collect();
        methods.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        methods
    }
}

/// How specifically a route names the request's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostTier {
    Exact,
    /// With the length of the suffix.
    Suffix(usize),
    Any,
}
