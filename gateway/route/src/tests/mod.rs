//! What the table promises, sentence by sentence.

mod ambiguous;
mod explanation;
mod reference;

use std::{sync::Arc, time::Duration};

use gateway_core::model::{Action, HostPattern, Match, PathPattern, PathRule, Respond, Route, Segment};
use gateway_http::parameters::{captures, decode};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Query, RouteMatch, Table};

/// A route that grows by what a test says about it.
#[derive(Clone)]
struct Draft {
    name: String,
    matches: Match,
    paths: PathRule,
}

fn route(name: &str, path: &str) -> Draft {
    let matches = Match {
        listeners: vec![],
        hosts: vec![],
        path: pattern(path),
        methods: vec![],
        headers: vec![],
        query: vec![],
    };
    Draft { name: name.to_owned(), matches, paths: PathRule::default() }
}

impl Draft {
    fn host(mut self, host: &str) -> Self {
        self.matches.hosts.push(match host.strip_prefix("*.") {
            Some(suffix) => HostPattern::Suffix(suffix.to_owned()),
            None => HostPattern::Exact(host.to_owned()),
        });
        self
    }

    fn listener(mut self, name: &str) -> Self {
        self.matches.listeners.push(name.into());
        self
    }

    fn method(mut self, method: Method) -> Self {
        self.matches.methods.push(method);
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.matches.headers.push((HeaderName::from_static(name), HeaderValue::from_static(value)));
        self
    }

    fn query(mut self, name: &str, value: &str) -> Self {
        self.matches.query.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn pattern(text: &str) -> PathPattern {
    let segment = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        None => Segment::Literal(text.to_owned()),
        Some(name) => match name.strip_prefix('*') {
            None => Segment::Parameter(name.to_owned()),
            Some(name) => Segment::Rest(name.to_owned()),
        },
    };
    PathPattern { text: text.to_owned(), segments: text[1..].split('/').map(segment).collect() }
}

fn routes(drafts: impl IntoIterator<Item = Draft>) -> Vec<Arc<Route>> {
    let build = |draft: Draft| {
        Arc::new(Route {
            name: draft.name.into(),
            about: None,
            matches: draft.matches,
            paths: draft.paths,
            plugins: vec![],
            action: Action::Respond(Respond {
                status: http::StatusCode::OK,
                headers: HeaderMap::new(),
                body: bytes::Bytes::new(),
            }),
            body_bytes: 0,
            buffer_bytes: 0,
            timeout: Default::default(),
            total_timeout: None,
            upgrades: vec![],
            upgrade_idle: Duration::from_secs(1),
        })
    };
    drafts.into_iter().map(build).collect()
}

fn table(drafts: impl IntoIterator<Item = Draft>) -> Table {
    Table::new(&routes(drafts))
}

/// A request as a test writes it: `GET host/path?query`.
struct Asked {
    listener: &'static str,
    method: Method,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

fn ask(text: &str) -> Asked {
    let (method, target) = text.split_once(' ').expect("a method");
    let (host, target) = target.split_at(target.find('/').expect("a path"));
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Asked {
        listener: "",
        method: method.parse().expect("a method"),
        host: host.to_owned(),
        path: path.to_owned(),
        query,
        headers: HeaderMap::new(),
    }
}

impl Asked {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(name, HeaderValue::from_static(value));
        self
    }

    fn on(mut self, listener: &'static str) -> Self {
        self.listener = listener;
        self
    }

    fn query(&self) -> Query<'_> {
        Query {
            listener: self.listener,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            method: &self.method,
            headers: &self.headers,
        }
    }
}

/// The name of the route that answers, `404`, or `405` and what is allowed.
fn answer(table: &Table, asked: &Asked) -> String {
    match table.find(&asked.query()) {
        RouteMatch::Route { route, .. } => route.name.to_string(),
        RouteMatch::NotFound => "404".to_owned(),
        RouteMatch::MethodNotAllowed { allow } => {
            let allow: Vec<_> = allow.iter().map(Method::as_str).collect();
            format!("405 {}", allow.join(", "))
        }
    }
}

#[track_caller]
fn assert_answers(table: &Table, expected: &[(&str, &str)]) {
    for (request, name) in expected {
        assert_eq!(answer(table, &ask(request)), *name, "{request}");
    }
}

fn parameters(table: &Table, request: &str) -> Vec<(String, String)> {
    let asked = ask(request);
    match table.find(&asked.query()) {
        RouteMatch::Route { route, .. } => captures(&route.matches.path, &asked.path)
            .map(|(name, text)| (name.to_owned(), decode(text).into_owned()))
            .collect(),
        other => panic!("no route: {other:?}"),
    }
}

#[test]
fn an_exact_host_comes_before_the_longest_suffix_before_every_host() {
    let table = table([
        route("any", "/{*rest}"),
        route("com", "/{*rest}").host("*.com"),
        route("example", "/{*rest}").host("*.example.com"),
        route("api", "/{*rest}").host("api.example.com"),
    ]);
    assert_answers(
        &table,
        &[
            ("GET api.example.com/", "api"),
            ("GET API.Example.Com.:8080/", "api"),
            ("GET www.example.com/", "example"),
            ("GET a.b.example.com/", "example"),
            ("GET example.com/", "com"),
            ("GET com/", "any"),
            ("GET [::1]:80/", "any"),
            ("GET /", "any"),
        ],
    );
}

#[test]
fn an_ipv6_host_matches_however_it_is_written() {
    let bare = table([route("six", "/").host("2001:db8::1")]);
    let bracketed = table([route("six", "/").host("[2001:db8::1]")]);
    for table in [bare, bracketed] {
        assert_answers(&table, &[("GET [2001:DB8:0::1]:8080/", "six"), ("GET [2001:db8::2]/", "404")]);
    }
}

#[test]
fn a_literal_comes_before_a_parameter_before_the_rest() {
    let table = table([
        route("rest", "/users/{*rest}"),
        route("one", "/users/{id}"),
        route("me", "/users/me"),
        route("posts", "/users/{id}/posts"),
        route("all", "/{*rest}"),
    ]);
    assert_answers(
        &table,
        &[
            ("GET /users/me", "me"),
            ("GET /users/7", "one"),
            ("GET /users/me/posts", "posts"),
            ("GET /users/7/posts", "posts"),
            ("GET /users/7/likes", "rest"),
            ("GET /users/me/", "rest"),
            ("GET /other", "all"),
        ],
    );
}

#[test]
fn the_first_segment_that_differs_decides() {
    let table = table([route("literal-first", "/a/{*rest}"), route("literal-later", "/{x}/b/c")]);
    assert_answers(&table, &[("GET /a/b/c", "literal-first"), ("GET /z/b/c", "literal-later")]);
}

#[test]
fn a_trailing_slash_is_another_path() {
    let table = table([route("file", "/a"), route("folder", "/b/"), route("item", "/c/{id}/")]);
    assert_answers(
        &table,
        &[
            ("GET /a", "file"),
            ("GET /a/", "404"),
            ("GET /b/", "folder"),
            ("GET /b", "404"),
            ("GET /c/1/", "item"),
            ("GET /c/1", "404"),
        ],
    );
}

#[test]
fn the_rest_may_be_nothing() {
    let table = table([route("admin", "/admin/{*rest}"), route("all", "/{*rest}")]);
    assert_answers(
        &table,
        &[
            ("GET /admin", "admin"),
            ("GET /admin/", "admin"),
            ("GET /admin/x/y", "admin"),
            ("GET /administrator", "all"),
            ("GET /", "all"),
        ],
    );
    assert_eq!(parameters(&table, "GET /admin"), [("rest".into(), "".into())]);
    assert_eq!(parameters(&table, "GET /admin/"), [("rest".into(), "".into())]);
    assert_eq!(parameters(&table, "GET /admin/x/y/"), [("rest".into(), "x/y/".into())]);
}

#[test]
fn a_parameter_is_never_empty() {
    let table = table([route("one", "/a/{id}/b"), route("root", "/{id}")]);
    assert_answers(&table, &[("GET /a//b", "404"), ("GET /", "404"), ("GET /x", "root")]);
}

#[test]
fn the_root_is_a_path_of_its_own() {
    let mut empty = route("root", "/");
    let table_of_one = table([empty.clone()]);
    assert_answers(&table_of_one, &[("GET /", "root"), ("GET /a", "404"), ("GET //", "404")]);
    empty.matches.path.segments.clear();
    assert_answers(&table([empty]), &[("GET /", "root"), ("GET /a", "404")]);
}

#[test]
fn captures_are_decoded_and_carry_the_routes_own_names() {
    let table = table([
        route("get", "/u/{id}/{*path}").method(Method::GET),
        route("put", "/u/{user}/{*left}").method(Method::PUT),
    ]);
    assert_eq!(
        parameters(&table, "GET /u/a%20b%2Fc/x%C3%BC/y"),
        [("id".into(), "a b/c".into()), ("path".into(), "xü/y".into())]
    );
    assert_eq!(parameters(&table, "PUT /u/%FF/z"), [("user".into(), "\u{fffd}".into()), ("left".into(), "z".into())]);
}

#[test]
fn a_pattern_without_parameters_captures_nothing() {
    let table = table([route("plain", "/a/b")]);
    assert!(parameters(&table, "GET /a/b").is_empty());
}

#[test]
fn a_method_comes_before_headers_before_query_parameters() {
    let table = table([
        route("none", "/"),
        route("query", "/").query("q", "1").query("r", "1"),
        route("header", "/").header("x-a", "1"),
        route("headers", "/").header("x-a", "1").header("x-b", "1"),
        route("method", "/").method(Method::GET),
    ]);
    let asked = |text: &str| ask(text).with("x-a", "1").with("x-b", "1");
    assert_eq!(answer(&table, &asked("GET /?q=1&r=1")), "method");
    assert_eq!(answer(&table, &asked("PUT /?q=1&r=1")), "headers");
    assert_eq!(answer(&table, &ask("PUT /?q=1&r=1").with("x-a", "1")), "header");
    assert_eq!(answer(&table, &ask("PUT /?q=1&r=1")), "query");
    assert_eq!(answer(&table, &ask("PUT /?q=1")), "none");
}

#[test]
fn the_order_in_the_file_does_not_matter() {
    let forwards = [route("b", "/").header("x-a", "1"), route("a", "/").header("x-b", "1")];
    let backwards = [forwards[1].clone(), forwards[0].clone()];
    for drafts in [forwards, backwards] {
        assert_eq!(answer(&table(drafts), &ask("GET /").with("x-a", "1").with("x-b", "1")), "a");
    }
}

#[test]
fn a_route_whose_conditions_fail_hides_nothing() {
    let table = table([
        route("exact", "/a/b").host("h.example").header("x", "1"),
        route("parameter", "/a/{id}").host("h.example").header("x", "2"),
        route("rest", "/a/{*rest}").host("*.example").header("x", "3"),
        route("all", "/{*rest}"),
    ]);
    for (value, name) in [("1", "exact"), ("2", "parameter"), ("3", "rest"), ("4", "all")] {
        assert_eq!(answer(&table, &ask("GET h.example/a/b").with("x", value)), name);
    }
}

#[test]
fn any_value_of_a_field_or_parameter_may_match() {
    let table = table([route("both", "/").header("x-v", "2").query("b", "yes no")]);
    assert_eq!(answer(&table, &ask("GET /?b=maybe&b=yes+no").with("x-v", "1").with("x-v", "2")), "both");
    assert_eq!(answer(&table, &ask("GET /?b=yes+no").with("x-v", "1, 2")), "404");
}

#[test]
fn a_known_path_with_another_method_lists_what_is_allowed() {
    let table = table([
        route("read", "/a").method(Method::GET),
        route("write", "/a").method(Method::PUT).method(Method::GET).header("x", "1"),
        route("drop", "/{id}").method(Method::DELETE),
    ]);
    assert_answers(
        &table,
        &[("POST /a", "405 DELETE, GET"), ("HEAD /a", "405 DELETE, GET"), ("POST /b/c", "404"), ("DELETE /a", "drop")],
    );
    assert_eq!(answer(&table, &ask("POST /a").with("x", "1")), "405 DELETE, GET, PUT");
}

#[test]
fn methods_are_case_sensitive() {
    assert_answers(&table([route("get", "/").method(Method::GET)]), &[("get /", "405 GET")]);
}

#[test]
fn a_target_that_is_no_path_matches_nothing() {
    let table = table([route("all", "/{*rest}")]);
    let asked = Asked { path: "*".to_owned(), ..ask("OPTIONS /") };
    assert_eq!(answer(&table, &asked), "404");
}

#[test]
fn a_route_with_many_hosts_answers_on_each() {
    let table = table([route("many", "/{id}").host("a.example").host("b.example").host("*.c.example")]);
    assert_answers(
        &table,
        &[("GET a.example/1", "many"), ("GET b.example/1", "many"), ("GET x.c.example/1", "many"), ("GET d/1", "404")],
    );
}

#[test]
fn a_hostile_path_visits_no_more_than_the_patterns_allow() {
    // Every choice of literal or parameter over ten segments, none of which matches in the end.
    let drafts = (0..1024u32).map(|bits| {
        let path: String =
            (0..10).map(|i| if bits >> i & 1 == 1 { "/a".to_owned() } else { format!("/{{p{i}}}") }).collect();
        route(&format!("r{bits}"), &format!("{path}/end")).header("x", "never")
    });
    let table = table(drafts);
    let asked = ask(&format!("GET {}/end", "/a".repeat(10)));
    let mut shown = 0;
    let _: Option<()> = table.search(&asked.query(), |_, _| {
        shown += 1;
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(shown, 1024, "each route once");
    let long = ask(&format!("GET {}", "/a".repeat(30_000)));
    assert_eq!(answer(&table, &long), "404");
}

#[test]
fn a_route_for_a_listener_goes_before_all_routes_for_every_listener() {
    let table = table([
        route("redirect", "/{*rest}").listener("http"),
        route("status", "/status").listener("http").listener("https"),
        route("api", "/api/{*rest}").host("api.example.com"),
        route("everything", "/{*rest}"),
    ]);
    let on = |listener, text| answer(&table, &ask(text).on(listener));
    assert_eq!(on("http", "GET api.example.com/api/1"), "redirect");
    assert_eq!(on("http", "GET /status"), "status");
    assert_eq!(on("https", "GET api.example.com/api/1"), "api");
    assert_eq!(on("https", "GET /status"), "status");
    assert_eq!(on("https", "GET /else"), "everything");
    assert_eq!(on("other", "GET /status"), "everything");
    let explained = table.explain(&ask("GET /x").on("http").query()).to_string();
    assert!(explained.contains("matches too, but it is for every listener"), "{explained}");
}

#[test]
fn conditions_of_a_route_for_a_listener_that_fail_hide_no_route_for_every_listener() {
    let table = table([
        route("beta", "/{*rest}").listener("http").header("x-beta", "1").method(Method::POST),
        route("everything", "/{*rest}"),
        route("only-http", "/only").listener("http"),
    ]);
    assert_eq!(answer(&table, &ask("GET /").on("http")), "everything");
    assert_eq!(answer(&table, &ask("POST /").on("http").with("x-beta", "1")), "beta");
    assert_eq!(answer(&table, &ask("POST /").on("https").with("x-beta", "1")), "everything");
    let elsewhere = table.explain(&ask("GET /only").on("https").query());
    assert_eq!(elsewhere.winner, Some(1));
}
