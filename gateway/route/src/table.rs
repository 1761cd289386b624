//! The table of routes, and the search in it.

use std::{borrow::Cow, collections::HashMap, ops::ControlFlow, sync::Arc};

use ahash::RandomState;
use gateway_core::model::{HostPattern, Route};
use gateway_http::{known_headers::is_claim, spelling::FixedSpellings};
use http::{HeaderMap, Method};
use smallvec::SmallVec;

use super::{
    condition::{Entry, Miss},
    host,
    query::Query,
    tree::Tree,
};

/// The outcome of a search.
#[derive(Debug)]
pub enum RouteMatch<'t> {
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
    pub(super) entries: Vec<Entry>,
    pub(super) trees: Vec<Tree>,
    exact: HashMap<String, usize, RandomState>,
    suffixes: HashMap<String, usize, RandomState>,
    /// The distinct lengths of `suffixes`, the longest first.
    suffix_lengths: Vec<usize>,
    any: Option<usize>,
    /// The headers that routes have conditions on.
    conditions: FixedSpellings,
    /// Some of these are forwarding headers.
    conditions_on_forwarding: bool,
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
            conditions_on_forwarding: false,
        };
        for (index, route) in routes.iter().enumerate() {
            table.entries.push(Entry::new(index, route));
            for (name, _) in &route.matches.headers {
                table.conditions.add(name);
                table.conditions_on_forwarding |= is_claim(name.as_str());
            }
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

    /// Whether routes have conditions on forwarding headers, in whatever spelling.
    pub fn has_conditions_on_forwarding(&self) -> bool {
        self.conditions_on_forwarding
    }

    /// Removes the other spellings of headers that routes have conditions on. Otherwise a request could meet the conditions of a
    /// service that merges them, and not those of the route that guards it.
    pub fn remove_other_spellings(&self, headers: &mut HeaderMap) {
        self.conditions.remove_others(headers);
    }

    /// The route that answers, or why there is none.
    pub fn find(&self, query: &Query<'_>) -> RouteMatch<'_> {
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
            Some(entry) => RouteMatch::Route { index: entry.index, route: &entry.route },
            None if other_methods.is_empty() => RouteMatch::NotFound,
            None => RouteMatch::MethodNotAllowed { allow: self.allow(&other_methods) },
        }
    }

    /// Shows every route whose host and path match, the most specific first, until one is taken. A route that
    /// has several matching hosts is shown once for each of them.
    pub(super) fn search<'t, R>(
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
pub(super) enum HostTier {
    Exact,
    /// With the length of the suffix.
    Suffix(usize),
    Any,
}
