//! What metrics there are after reloads, and in which form.

use crate::support::{Client, TestGateway, Upstream, client::Request, eventually, upstream::full};

/// Routes, upstreams and plugins whose names have the revision in them.
fn revision(number: usize, upstream: &Upstream) -> String {
    let key = "an example key that everybody may know";
    format!(
        "sinks: {{ sink-{number}: stderr }}
upstreams: {{ upstream-{number}: {{ endpoints: ['http://{}'] }}, other-{number}: {{ endpoints: ['http://{}'] }} }}
plugins:
  limit-{number}: {{ component: 'builtin:rate-limit' }}
  jwt-{number}: {{ component: 'builtin:jwt' }}
routes:
  - name: route-{number}
    match: {{ path: /open }}
    plugins: [{{ name: limit-{number}, config: {{ limit: 1000, per: 1s }} }}]
    upstream: upstream-{number}
  - name: closed-{number}
    plugins: [{{ name: jwt-{number}, config: {{ issuer: i, audience: a, keys: [{{ alg: HS256, secret: {key} }}] }} }}]
    upstream: other-{number}
",
        upstream.address(),
        upstream.address()
    )
}

#[tokio::test]
async fn series_of_what_a_reload_removed_are_released() {
    let upstream = Upstream::echo().await;
    let mut gateway = TestGateway::start(&revision(0, &upstream)).await;
    let used = async |gateway: &TestGateway| {
        assert_eq!(gateway.get("/open").await.status, 200);
        assert_eq!(gateway.get("/closed").await.status, 401);
    };
    used(&gateway).await;
    let first = gateway.metrics().await;
    for part in ["route-0", "closed-0", "upstream-0", "limit-0", "jwt-0", "sink-0"] {
        assert!(first.contains(part), "{part} in {first}");
    }
    for number in 1..6 {
        gateway.reload(&revision(number, &upstream)).await.expect("a sound configuration");
        used(&gateway).await;
    }
    let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    eventually("only the series of the last revision", async || {
        let last = gateway.metrics().await;
        let of_others = (0..5).any(|number| last.contains(&format!("-{number}\"")));
        last.contains("route-5") && !of_others && series(&last) == series(&first)
    })
    .await;
    // What stays keeps its count.
    let requests = [("route", "route-5"), ("method", "GET"), ("status_class", "2xx")];
    assert_eq!(gateway.metric("gateway_requests_total", &requests).await, Some(1));
    gateway.reload(&format!("# Otherwise the same.\n{}", revision(5, &upstream))).await.expect("a sound configuration");
    assert_eq!(gateway.metric("gateway_requests_total", &requests).await, Some(1));
    used(&gateway).await;
    assert_eq!(gateway.metric("gateway_requests_total", &requests).await, Some(2));
}

#[tokio::test]
async fn a_request_that_outlives_its_route_is_still_counted() {
    let (go, gone) = tokio::sync::watch::channel(false);
    let slow = Upstream::serving(move |_| {
        let mut gone = gone.clone();
        async move {
            gone.wait_for(|go| *go).await.expect("it is told");
            http::Response::new(full("late"))
        }
    })
    .await;
    let mut gateway = TestGateway::start(&revision(0, &slow)).await;
    let mut client = Client::connect(gateway.address()).await;
    let pending = tokio::spawn(async move { client.send(Request::get("/open")).await });
    eventually("a request under way", async || slow.requests() == 1).await;
    gateway.reload(&revision(1, &slow)).await.expect("a sound configuration");
    let calls = [("plugin", "limit-0"), ("route", "route-0"), ("phase", "request")];
    assert_eq!(gateway.metric("gateway_wasm_calls_total", &calls).await, Some(1));
    go.send(true).expect("it waits");
    assert_eq!(pending.await.expect("a task").status, 200);
    eventually("the release of its series", async || !gateway.metrics().await.contains("route-0")).await;
}

#[tokio::test]
async fn the_request_counter_tells_requests_that_were_limited_from_those_that_found_nothing() {
    let mut gateway = TestGateway::start(
        "routes:
  - name: limited
    match: { path: /limited }
    plugins: [{ name: rate-limit, config: { limit: 1, per: 1h } }]
    respond: { status: 204 }
",
    )
    .await;
    for (path, status) in [("/limited", 204), ("/limited", 429), ("/limited", 429), ("/nothing", 404)] {
        assert_eq!(gateway.get(path).await.status, status);
    }
    let requests = async |gateway: &TestGateway, route: &str, code: &str| {
        let labels = [("route", route), ("status_class", "4xx"), ("code", code)];
        gateway.metric("gateway_requests_total", &labels).await
    };
    assert_eq!(requests(&gateway, "limited", "429").await, Some(2));
    assert_eq!(requests(&gateway, "limited", "404").await, None);
    assert_eq!(requests(&gateway, "", "404").await, Some(1));
    // Histograms have no such label.
    let page = gateway.metrics().await;
    let with_code = page.lines().filter(|line| line.contains("code=\""));
    assert!(with_code.clone().all(|line| line.starts_with("gateway_requests_total{")), "{page}");
    assert_eq!(with_code.count(), 3, "{page}");
    gateway.reload("routes: [{ name: other, respond: { status: 204 } }]\n").await.expect("a sound configuration");
    eventually("the release of its series", async || !gateway.metrics().await.contains("limited")).await;
}

#[tokio::test]
async fn metrics_come_in_the_format_and_the_coding_that_is_asked_for() {
    let gateway = TestGateway::start("routes: [{ name: all, respond: { status: 204 } }]\n").await;
    gateway.get("/").await;
    let scrape = async |accept: &str, coding: &str| {
        let request = Request::get("/metrics").header("accept", accept).header("accept-encoding", coding);
        Client::connect(gateway.admin()).await.send(request).await
    };
    let count = "gateway_requests_total{route=\"all\",method=\"GET\",status_class=\"2xx\",code=\"204\"} 1\n";
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let open = scrape(prometheus, "identity").await;
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = open.text();
    assert!(text.contains("# TYPE gateway_requests counter\n") && text.contains(count), "{text}");
    assert!(text.ends_with("# EOF\n"));

    let plain = scrape("text/plain;version=0.0.4", "").await;
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept, accept-encoding"));
    let text = plain.text();
    assert!(text.contains("# TYPE gateway_requests_total counter\n") && text.contains(count), "{text}");
    assert!(text.contains("# TYPE gateway_build_info gauge\n") && !text.contains("# EOF"), "{text}");

    let gzip = scrape("*/*", "gzip").await;
    assert_eq!((gzip.header("content-encoding"), gzip.status.as_u16()), ("gzip", 200));
    let mut unpacked = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&gzip.body[..]);
    std::io::Read::read_to_string(&mut decoder, &mut unpacked).expect("gzip");
    assert!(unpacked.contains(count) && gzip.body.len() < unpacked.len() / 3, "{unpacked}");
}
