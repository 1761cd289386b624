//! Which route answers, whatever the order in the file, and what is said where none does.

use crate::support::{Client, Response, TestGateway, Upstream, client::Request};

/// Upstreams that answer with their names, and one that tells what it saw.
struct Services {
    named: Vec<(&'static str, Upstream)>,
}

impl Services {
    async fn start(names: &[&'static str]) -> Self {
        let mut named = Vec::new();
        for name in names {
            named.push((*name, Upstream::named(name).await));
        }
        Self { named }
    }

    /// A configuration with a route to each service, of these conditions, in this order.
    fn config<'a>(&self, routes: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> String {
        let upstreams: String = self.named.iter().map(|(name, u)| upstream(name, u)).collect();
        let routes: String = routes.into_iter().map(|(name, conditions)| route(name, conditions)).collect();
        format!("upstreams:\n{upstreams}routes:\n{routes}")
    }
}

fn upstream(name: &str, upstream: &Upstream) -> String {
    format!("  {name}: {{ endpoints: ['http://{}'] }}\n", upstream.address())
}

fn route(name: &str, conditions: &str) -> String {
    format!("  - {{ name: {name}, match: {{ {conditions} }}, upstream: {name} }}\n")
}

/// Asks the same with the routes in the order given and reversed. Each route has an upstream of its name.
async fn assert_routes(routes: &[(&'static str, &str)], cases: Vec<(Request, Request, &str)>) {
    let names: Vec<_> = routes.iter().map(|(name, _)| *name).collect();
    let services = Services::start(&names).await;
    let forwards = TestGateway::start(&services.config(routes)).await;
    let backwards = TestGateway::start(&services.config(routes.iter().rev())).await;
    let mut clients = (Client::connect(forwards.address()).await, Client::connect(backwards.address()).await);
    for (number, (one, other, expected)) in cases.into_iter().enumerate() {
        assert_eq!(answer(clients.0.send(one).await), expected, "request {number}");
        assert_eq!(answer(clients.1.send(other).await), expected, "request {number}, with the routes reversed");
    }
}

/// The name of the route that answered, or the status.
fn answer(response: Response) -> String {
    if response.status == 200 { response.text() } else { response.status.as_u16().to_string() }
}

/// The same request twice: one for each order.
fn case(request: impl Fn() -> Request, expected: &str) -> (Request, Request, &str) {
    (request(), request(), expected)
}

fn at<'a>(host: &'static str, target: &'static str, expected: &'a str) -> (Request, Request, &'a str) {
    case(|| Request::get(target).header("host", host), expected)
}

#[tokio::test]
async fn the_most_specific_host_wins() {
    let routes = [
        ("any", "path: '/{*rest}'"),
        ("wide", "host: '*.example.com', path: '/{*rest}'"),
        ("narrow", "host: '*.api.example.com', path: '/{*rest}'"),
        ("exact", "host: v1.api.example.com, path: '/{*rest}'"),
        ("several", "hosts: [one.test, '*.two.test'], path: '/{*rest}'"),
    ];
    let cases = vec![
        at("v1.api.example.com", "/", "exact"),
        at("V1.API.example.com:8443", "/", "exact"),
        at("v2.api.example.com", "/", "narrow"),
        at("a.v1.api.example.com", "/", "narrow"),
        at("api.example.com", "/", "wide"),
        at("example.com", "/", "any"),
        at("notexample.com", "/", "any"),
        at("one.test", "/", "several"),
        at("x.two.test", "/", "several"),
        at("two.test", "/", "any"),
    ];
    assert_routes(&routes, cases).await;
}

#[tokio::test]
async fn the_most_specific_path_wins() {
    let routes = [
        ("rest", "path: '/{*rest}'"),
        ("api", "path: '/api/{*rest}'"),
        ("users", "path: '/api/users/{*rest}'"),
        ("user", "path: '/api/users/{id}'"),
        ("me", "path: '/api/users/me'"),
        ("posts", "path: '/api/users/{id}/posts'"),
        ("slash", "path: '/api/slash/'"),
    ];
    let cases = vec![
        at("x", "/", "rest"),
        at("x", "/ap", "rest"),
        at("x", "/api", "api"),
        at("x", "/api/", "api"),
        at("x", "/apis", "rest"),
        at("x", "/api/users", "users"),
        at("x", "/api/users/7", "user"),
        at("x", "/api/users/me", "me"),
        at("x", "/api/users/%6De", "me"),
        at("x", "/api/users/me/posts", "posts"),
        at("x", "/api/users/7/posts/1", "users"),
        at("x", "/api/users/7/", "users"),
        at("x", "/api/slash", "api"),
        at("x", "/api/slash/", "slash"),
        at("x", "/api/users/me?x=1", "me"),
    ];
    assert_routes(&routes, cases).await;
}

#[tokio::test]
async fn more_conditions_win_on_the_same_path() {
    let routes = [
        ("plain", "path: /x"),
        ("method", "path: /x, methods: [GET, POST]"),
        ("header", "path: /x, methods: [GET], headers: { x-version: '2' }"),
        ("headers", "path: /x, methods: [GET], headers: { x-version: '2', X-Beta: 'yes' }"),
        ("query", "path: /x, query: { beta: 'true' }"),
        ("both", "path: /x, methods: [GET], headers: { x-version: '2' }, query: { beta: 'true' }"),
    ];
    let cases = vec![
        case(|| Request::get("/x"), "method"),
        case(|| Request::post("/x", ""), "method"),
        case(|| Request::new(http::Method::PUT, "/x"), "plain"),
        case(|| Request::get("/x").header("x-version", "2"), "header"),
        case(|| Request::get("/x").header("x-version", "3"), "method"),
        case(|| Request::get("/x").header("x-version", "2").header("x-beta", "yes"), "headers"),
        case(|| Request::new(http::Method::PUT, "/x?beta=true"), "query"),
        case(|| Request::get("/x?beta=true"), "method"),
        case(|| Request::get("/x?a=b&beta=true").header("x-version", "2"), "both"),
        case(|| Request::get("/x?beta=%74rue").header("x-version", "2"), "both"),
        case(|| Request::get("/x?beta=false").header("x-version", "2"), "header"),
    ];
    assert_routes(&routes, cases).await;
}

#[tokio::test]
async fn a_specific_route_that_does_not_match_hides_nothing() {
    let routes = [
        ("any", "path: '/{*rest}'"),
        ("host", "host: a.test, path: /x, headers: { x-a: '1' }"),
        ("path", "path: /x, methods: [POST]"),
    ];
    let cases = vec![
        case(|| Request::get("/x").header("host", "a.test").header("x-a", "1"), "host"),
        case(|| Request::get("/x").header("host", "a.test"), "any"),
        case(|| Request::post("/x", "").header("host", "a.test"), "path"),
    ];
    assert_routes(&routes, cases).await;
}

#[tokio::test]
async fn a_path_that_nobody_serves_is_404() {
    let services = Services::start(&["one"]).await;
    let gateway = TestGateway::start(&services.config(&[("one", "host: a.test, path: '/api/{id}'")])).await;
    for (host, target) in [("a.test", "/"), ("a.test", "/api"), ("a.test", "/api/1/2"), ("b.test", "/api/1")] {
        let response = gateway.send(Request::get(target).header("host", host)).await;
        assert_eq!(response.status, 404, "{host}{target}");
        assert_problem(&response, "Not Found");
    }
    assert_eq!(services.named[0].1.requests(), 0);
}

#[tokio::test]
async fn a_path_that_is_served_for_other_methods_is_405_with_allow() {
    let services = Services::start(&["read", "write", "else"]).await;
    let gateway = TestGateway::start(&services.config(&[
        ("write", "path: '/x', methods: [PUT, DELETE]"),
        ("read", "path: '/x', methods: [GET]"),
        ("else", "path: '/x', methods: [PATCH], headers: { x-a: '1' }"),
    ]))
    .await;
    let response = gateway.send(Request::post("/x", "body")).await;
    assert_eq!(response.status, 405);
    assert_eq!(response.header_values("allow"), ["DELETE, GET, PUT"]);
    assert_problem(&response, "Method Not Allowed");
    let response = gateway.send(Request::post("/x", "body").header("x-a", "1")).await;
    assert_eq!(response.header_values("allow"), ["DELETE, GET, PATCH, PUT"]);
    // As documented: a route for GET does not serve HEAD.
    assert_eq!(gateway.send(Request::new(http::Method::HEAD, "/x")).await.status, 405);
}

fn assert_problem(response: &Response, title: &str) {
    assert_eq!(response.header("content-type"), "application/problem+json");
    let problem = response.json();
    assert_eq!(problem["title"], title);
    assert_eq!(problem["status"], response.status.as_u16());
    assert_eq!(problem["request-id"], response.header("x-request-id"));
    assert!(!response.header("x-request-id").is_empty());
    let text = response.text();
    assert!(!text.contains("127.0.0.1") && !text.contains("a.test"), "the problem leaks: {text}");
}

#[tokio::test]
async fn methods_that_no_gateway_carries_are_501() {
    let services = Services::start(&["one"]).await;
    let gateway = TestGateway::start(&services.config(&[("one", "path: '/{*rest}'")])).await;
    let response = gateway.send(Request::new(http::Method::TRACE, "/")).await;
    assert_eq!(response.status, 501);
    assert_problem(&response, "Not Implemented");
    let answer =
        gateway.raw(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
    // Methods that nobody knows are the upstream's to judge.
    let response = gateway.send(Request::new("BREW".parse().unwrap(), "/")).await;
    assert_eq!(response.text(), "one");
}

#[tokio::test]
async fn a_route_has_limits_of_its_own() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "limits: {{ body-bytes: 100B }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: small, match: {{ path: /small }}, upstream: echo, limits: {{ body-bytes: 10B }} }}
  - {{ name: large, match: {{ path: /large }}, upstream: echo, limits: {{ body-bytes: 1KiB }} }}
  - {{ name: general, match: {{ path: /general }}, upstream: echo }}
",
        upstream.address()
    ))
    .await;
    for (target, limit) in [("/small", 10), ("/large", 1024), ("/general", 100)] {
        let fits = gateway.send(Request::post(target, "x".repeat(limit))).await;
        assert_eq!(fits.status, 200, "{target}");
        let over = gateway.send(Request::post(target, "x".repeat(limit + 1))).await;
        assert_eq!(over.status, 413, "{target}");
        assert_problem(&over, "Payload Too Large");
    }
}

#[tokio::test]
async fn routes_that_cannot_be_told_apart_are_refused() {
    let services = Services::start(&["one", "two"]).await;
    let config = services.config(&[("one", "path: '/users/{id}'"), ("two", "path: '/users/{name}'")]);
    let error = TestGateway::try_start(&config).await.err().expect("an error").to_string();
    assert!(error.contains("one") && error.contains("two"), "{error}");
}

#[tokio::test]
async fn a_thousand_routes_are_told_apart() {
    let upstream = Upstream::echo().await;
    let routes: String = (0..1000)
        .map(|n| format!("  - {{ name: r{n}, match: {{ path: '/r{n}/{{id}}' }}, upstream: echo }}\n"))
        .collect();
    let config = format!("upstreams:\n  echo: {{ endpoints: ['http://{}'] }}\nroutes:\n{routes}", upstream.address());
    let gateway = TestGateway::start(&config).await;
    let mut client = Client::connect(gateway.address()).await;
    for n in [0, 1, 99, 500, 999] {
        assert_eq!(client.send(Request::get(&format!("/r{n}/x"))).await.status, 200);
    }
    assert_eq!(client.send(Request::get("/r1000/x")).await.status, 404);
    let metrics = gateway.metrics().await;
    assert!(metrics.contains(r#"route="r999""#), "{}", &metrics[..2000.min(metrics.len())]);
}

#[tokio::test]
async fn a_redirect_to_another_scheme_leaves_the_port_behind() {
    let gateway = TestGateway::start(
        "routes:
  - { name: secure, match: { path: /secure }, redirect: { scheme: https } }
  - { name: port, match: { path: /port }, redirect: { scheme: https, port: 8443 } }
  - { name: same, match: { path: /same }, redirect: { scheme: http, path: /new } }
  - { name: host, match: { path: /host }, redirect: { scheme: https, host: 'www.test:8443' } }
",
    )
    .await;
    for (target, host, expected) in [
        ("/secure?a=b", "api.test:8080", "https://api.test/secure?a=b"),
        ("/secure", "[::1]:8080", "https://[::1]/secure"),
        ("/port", "api.test:8080", "https://api.test:8443/port"),
        ("/same", "api.test:8080", "http://api.test:8080/new"),
        ("/host", "api.test:8080", "https://www.test:8443/host"),
    ] {
        let response = gateway.send(Request::get(target).header("host", host)).await;
        assert_eq!((response.status.as_u16(), response.header("location")), (302, expected), "{host}{target}");
    }
}

#[tokio::test]
async fn a_header_condition_is_not_evaded_by_another_spelling() {
    let upstream = Upstream::echo().await;
    let config = format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: guarded, match: {{ path: /a, headers: {{ x-internal: '1' }} }}, respond: {{ status: 403 }} }}
  - {{ name: open, match: {{ path: /a }}, upstream: it }}
",
        upstream.address()
    );
    let gateway = TestGateway::start(&config).await;
    assert_eq!(gateway.send(Request::get("/a").header("x-internal", "1")).await.status, 403);
    let response = gateway.send(Request::get("/a").header("x_internal", "1").header("x_other", "stays")).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.upstream_saw("x_internal"), [""; 0]);
    assert_eq!(response.upstream_saw("x_other"), ["stays"]);
}

/// Two listeners, of which `bound` has a redirect of its own.
fn two_listeners(service: &Upstream, bound: &str) -> String {
    format!(
        "\
workers: 2
listeners: [{{ name: public, address: '127.0.0.1:0' }}, {{ name: secure, address: '127.0.0.1:0' }}]
upstreams: {{ app: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: to-https, match: {{ listeners: [{bound}] }}, redirect: {{ scheme: https, status: 308 }} }}
  - {{ name: app, match: {{ host: app.example.com, path: '/api/{{*rest}}' }}, upstream: app }}
  - {{ name: others, upstream: app }}
",
        service.address()
    )
}

#[tokio::test]
async fn a_route_for_one_listener_redirects_all_that_comes_to_it_and_nothing_else() {
    let service = Upstream::named("app").await;
    let mut gateway = TestGateway::start(&two_listeners(&service, "public")).await;
    let [public, secure] = gateway.addresses()[..] else { panic!("two listeners") };
    let request = || Request::get("/api/1").header("host", "app.example.com");
    for (address, status) in [(public, 308), (secure, 200)] {
        let mut http1 = Client::connect(address).await;
        assert_eq!(http1.send(request()).await.status, status, "HTTP/1.1 to {address}");
        let mut http2 = Client::connect_http2(address).await;
        assert_eq!(http2.send(request()).await.status, status, "HTTP/2 to {address}");
    }
    let redirected = Client::connect(public).await.send(request()).await;
    assert_eq!(redirected.headers["location"], "https://app.example.com/api/1");

    // The names change places: connections that are open follow, so none evades the routes of its listener.
    let mut open = Client::connect(public).await;
    assert_eq!(open.send(request()).await.status, 308);
    let swapped =
        two_listeners(&service, "public").replace("name: public", "name: x").replace("name: secure", "name: public");
    gateway.reload(&swapped.replace("name: x", "name: secure")).await.unwrap();
    assert_eq!(open.send(request()).await.status, 200);
    assert_eq!(Client::connect(secure).await.send(request()).await.status, 308);

    gateway.reload(&two_listeners(&service, "secure")).await.unwrap();
    assert_eq!(open.send(request()).await.status, 200);
    assert_eq!(Client::connect(public).await.send(request()).await.status, 200);
    assert_eq!(Client::connect(secure).await.send(request()).await.status, 308);
}
