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
    /// Routes for every listener.
    unbound: Hosts,
    /// Routes for one listener, by its name. They go before the others, so that one route can redirect all that comes to a
    /// listener; there are as many as listeners that routes name, so a list is searched fastest.
    bound: Vec<(Arc<str>, Hosts)>,
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
            unbound: Hosts::default(),
            bound: Vec::new(),
            conditions: FixedSpellings::default(),
            conditions_on_forwarding: false,
        };
        for (index, route) in routes.iter().enumerate() {
            table.entries.push(Entry::new(index, route));
            for (name, _) in &route.matches.headers {
                table.conditions.add(name);
                table.conditions_on_forwarding |= is_claim(name.as_str());
            }
            let Self { trees, unbound, bound, .. } = &mut table;
            if route.matches.listeners.is_empty() {
                unbound.add(index, route, trees);
            }
            for listener in &route.matches.listeners {
                let place = bound.iter().position(|(name, _)| name == listener).unwrap_or_else(|| {
                    bound.push((listener.clone(), Hosts::default()));
                    bound.len() - 1
                });
                bound[place].1.add(index, route, trees);
            }
        }
        let Self { entries, trees, unbound, bound, .. } = &mut table;
        for tree in trees {
            tree.sort_by(|&a, &b| entries[a].rank().cmp(&entries[b].rank()));
        }
        unbound.sort_lengths();
        bound.iter_mut().for_each(|(_, hosts)| hosts.sort_lengths());
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
        mut visit: impl FnMut(Tier, &'t Entry) -> ControlFlow<R>,
    ) -> Option<R> {
        let path = query.path.strip_prefix('/')?;
        let own = self.bound.iter().find(|(name, _)| **name == *query.listener);
        if let Some((_, hosts)) = own
            && let Some(found) = self.search_hosts(hosts, true, query.host, path, &mut visit)
        {
            return Some(found);
        }
        self.search_hosts(&self.unbound, false, query.host, path, &mut visit)
    }

    fn search_hosts<'t, R>(
        &'t self,
        hosts: &'t Hosts,
        is_bound: bool,
        host: &str,
        path: &str,
        visit: &mut impl FnMut(Tier, &'t Entry) -> ControlFlow<R>,
    ) -> Option<R> {
        // Where every route is for every host, it need not be looked at.
        let every = hosts.exact.is_empty() && hosts.suffixes.is_empty();
        let host = if every { Cow::Borrowed("") } else { host::normalise(host) };
        hosts.matching(&host).find_map(|(host, tree)| {
            let tier = Tier { is_bound, host };
            self.trees[tree].search(path, |index| visit(tier, &self.entries[index])).break_value()
        })
    }

    fn allow(&self, entries: &[usize]) -> Vec<Method> {
        let mut methods: Vec<Method> =
            entries.iter().flat_map(|&index| &self.entries[index].route.matches.methods).cloned().collect();
        methods.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        methods
    }
}

/// The trees of paths, by the hosts that their routes are for.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<String, usize, RandomState>,
    suffixes: HashMap<String, usize, RandomState>,
    /// The distinct lengths of `suffixes`, the longest first.
    suffix_lengths: Vec<usize>,
    any: Option<usize>,
}

impl Hosts {
    fn add(&mut self, index: usize, route: &Route, trees: &mut Vec<Tree>) {
        if route.matches.hosts.is_empty() {
            self.tree_for(None, trees).insert(index, &route.matches.path);
        }
        for pattern in &route.matches.hosts {
            self.tree_for(Some(pattern), trees).insert(index, &route.matches.path);
        }
    }

    fn tree_for<'t>(&mut self, pattern: Option<&HostPattern>, trees: &'t mut Vec<Tree>) -> &'t mut Tree {
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
        &mut trees[tree]
    }

    fn sort_lengths(&mut self) {
        self.suffix_lengths = self.suffixes.keys().map(String::len).collect();
        self.suffix_lengths.sort_unstable_by(|a, b| b.cmp(a));
        self.suffix_lengths.dedup();
    }

    /// The trees of the hosts that match, the most specific first.
    fn matching(&self, host: &str) -> impl Iterator<Item = (HostTier, usize)> {
        let exact = self.exact.get(host).map(|&tree| (HostTier::Exact, tree));
        let suffixes = self.suffix_lengths.iter().filter_map(move |&length| {
            let suffix = host::suffix(host, length)?;
            Some((HostTier::Suffix(length), *self.suffixes.get(suffix)?))
        });
        let any = self.any.map(|tree| (HostTier::Any, tree));
        exact.into_iter().chain(suffixes).chain(any)
    }
}

/// How specifically a route names where the request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tier {
    pub(super) is_bound: bool,
    pub(super) host: HostTier,
}

/// How specifically a route names the request's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostTier {
    Exact,
    /// With the length of the suffix.
    Suffix(usize),
    Any,
}
