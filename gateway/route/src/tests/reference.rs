//! The table against a matcher that tries every route in turn and is too simple to be wrong.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use gateway_core::model::{HostPattern, Route, Segment};

use super::{Draft, answer, ask, route, routes};
use crate::{Query, Table};

const HOSTS: &[&str] = &["a.test", "b.test", "x.a.test", "*.test", "*.a.test"];
const ASKED_HOSTS: &[&str] = &["a.test", "A.TEST:80", "b.test", "x.a.test", "y.x.a.test", "test", "other", ""];
const LITERALS: &[&str] = &["a", "b", ""];
const METHODS: &[&str] = &["GET", "PUT", "HEAD"];
const FIELDS: &[(&str, &str)] = &[("x-a", "1"), ("x-b", "2"), ("x-a", "3")];
const QUERIES: &[(&str, &str)] = &[("q", "1"), ("r", "2")];

/// Everything about how specific a match is, the least being the most specific.
type Rank<'r> = (u8, Reverse<usize>, Vec<u8>, bool, Reverse<usize>, Reverse<usize>, &'r str, usize);

#[test]
fn the_table_agrees_with_trying_every_route() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for round in 0..400 {
        let count = 1 + dice.below(24);
        let routes = routes((0..count).map(|n| random_route(&mut dice, n)));
        let table = Table::new(&routes);
        for _ in 0..60 {
            let path: String = (0..1 + dice.below(4)).map(|_| format!("/{}", dice.of(&["a", "b", "c", ""]))).collect();
            let query = dice.of(&["", "?q=1", "?r=2&q=1", "?q=2"]);
            let mut asked = ask(&format!("{} {}{path}{query}", dice.of(METHODS), dice.of(ASKED_HOSTS)));
            for &(name, value) in FIELDS.iter().filter(|_| dice.below(2) == 0) {
                asked = asked.with(name, value);
            }
            let expected = reference(&routes, &asked.query());
            assert_eq!(answer(&table, &asked), expected, "round {round}: {:?} among {routes:#?}", asked.query());
            let winner = table.explain(&asked.query()).winner.map(|index| routes[index].name.to_string());
            assert_eq!(winner.unwrap_or_default(), if expected.starts_with('4') { "" } else { &expected });
        }
    }
}

#[test]
fn ten_thousand_routes_are_found_as_one_is() {
    let drafts = (0..10_000).map(|n| route(&format!("r{n}"), &format!("/group{}/item{n}/{{id}}", n % 100)));
    let routes = routes(drafts);
    let table = Table::new(&routes);
    for n in [0, 1, 4_999, 9_999] {
        assert_eq!(answer(&table, &ask(&format!("GET h/group{}/item{n}/7", n % 100))), format!("r{n}"));
    }
    assert_eq!(answer(&table, &ask("GET h/group1/item2/7")), "404");
}

/// Deterministic, so that a failure can be repeated: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

fn random_route(dice: &mut Dice, n: usize) -> Draft {
    let mut path = String::new();
    for i in 0..1 + dice.below(3) {
        match dice.below(3) {
            0 => path += &format!("/{{p{i}}}"),
            _ => path += &format!("/{}", dice.of(LITERALS)),
        }
    }
    if dice.below(3) == 0 {
        path += "/{*rest}";
    }
    let mut draft = route(&format!("r{n:02}"), &path);
    let hosts: BTreeSet<_> = (0..dice.below(3)).map(|_| dice.of(HOSTS)).collect();
    for host in hosts {
        draft = draft.host(host);
    }
    let methods: BTreeSet<_> = (0..dice.below(3)).map(|_| dice.of(METHODS)).collect();
    for method in methods {
        draft = draft.method(method.parse().expect("a method"));
    }
    for &(name, value) in FIELDS.iter().filter(|_| dice.below(4) == 0) {
        draft = draft.header(name, value);
    }
    for &(name, value) in QUERIES.iter().filter(|_| dice.below(4) == 0) {
        draft = draft.query(name, value);
    }
    draft
}

fn reference(routes: &[Arc<Route>], query: &Query<'_>) -> String {
    let host = query.host.split(':').next().unwrap_or_default().to_lowercase();
    let mut best: Option<Rank<'_>> = None;
    let mut allow = BTreeSet::new();
    for (index, route) in routes.iter().enumerate() {
        let matches = &route.matches;
        let Some((tier, length)) = host_rank(&matches.hosts, &host) else { continue };
        let Some(path) = path_rank(&matches.path.segments, query.path) else { continue };
        let headers =
            matches.headers.iter().all(|(name, value)| query.headers.get_all(name).iter().any(|v| v == value));
        let pairs: Vec<_> =
            query.query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
        let parameters = matches.query.iter().all(|(name, value)| pairs.contains(&(name, value)));
        if !headers || !parameters {
            continue;
        }
        if !matches.methods.is_empty() && !matches.methods.contains(query.method) {
            allow.extend(matches.methods.iter().map(|method| method.as_str()));
            continue;
        }
        let (headers, parameters) = (Reverse(matches.headers.len()), Reverse(matches.query.len()));
        let rank = (tier, Reverse(length), path, matches.methods.is_empty(), headers, parameters, &*route.name, index);
        if best.as_ref().is_none_or(|best| rank < *best) {
            best = Some(rank);
        }
    }
    match best {
        Some((.., index)) => routes[index].name.to_string(),
        None if allow.is_empty() => "404".to_owned(),
        None => format!("405 {}", allow.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

fn host_rank(patterns: &[HostPattern], host: &str) -> Option<(u8, usize)> {
    if patterns.is_empty() {
        return Some((2, 0));
    }
    let rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => (name == host).then_some((0, 0)),
        HostPattern::Suffix(name) => host.ends_with(&format!(".{name}")).then_some((1, name.len())),
    };
    patterns.iter().filter_map(rank).min_by_key(|&(tier, length)| (tier, Reverse(length)))
}

fn path_rank(pattern: &[Segment], path: &str) -> Option<Vec<u8>> {
    let mut segments = path[1..].split('/');
    let mut rank = Vec::new();
    for segment in pattern {
        match segment {
            Segment::Rest(_) => {
                rank.push(2);
                return Some(rank);
            }
            Segment::Literal(text) => {
                (segments.next()? == text).then_some(())?;
                rank.push(0);
            }
            Segment::Parameter(_) => {
                (!segments.next()?.is_empty()).then_some(())?;
                rank.push(1);
            }
        }
    }
    segments.next().is_none().then_some(rank)
}
