//! Traces: what a collector is told of requests, and what upstreams are told of their trace.

use serde_json::Value;

use crate::support::{
    Process, Response, TestGateway, Upstream,
    client::Request,
    collector::{Collected, GrpcCollector, Recorded, Rotel, hex, http_collector},
    eventually,
    upstream::full,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// A gateway that sends its traces by gRPC.
struct Traced {
    gateway: TestGateway,
    collector: GrpcCollector,
    _upstream: Upstream,
}

impl Traced {
    async fn with(tracing: &str, route: &str, more: &str) -> Self {
        let (upstream, collector) = (Upstream::echo().await, GrpcCollector::start().await);
        let yaml = format!(
            "{more}
tracing: {{ otlp: {{ upstream: collector }}{tracing} }}
upstreams:
  it: {{ endpoints: ['http://{}'] }}
  collector: {{ protocol: http2, endpoints: ['http://{}'] }}
routes: [{{ name: items, match: {{ path: '/items/{{id}}' }}, upstream: it{route} }}]
",
            upstream.address(),
            collector.address
        );
        Self { gateway: TestGateway::start(&yaml).await, collector, _upstream: upstream }
    }

    fn collected(&self) -> &Collected {
        &self.collector.collected
    }
}

/// What the upstream saw of a field.
fn seen(response: &Response, name: &str) -> Option<String> {
    let seen: Value = serde_json::from_str(&response.text()).expect("what the upstream saw");
    let headers = seen["headers"].as_array().expect("headers");
    headers.iter().find(|pair| pair[0] == name).map(|pair| pair[1].as_str().expect("text").to_owned())
}

fn one<'a>(spans: &'a [Recorded], what: &str, holds: impl Fn(&Recorded) -> bool) -> &'a Recorded {
    let found: Vec<&Recorded> = spans.iter().filter(|span| holds(span)).collect();
    assert_eq!(found.len(), 1, "{what} in {spans:#?}");
    found[0]
}

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

#[tokio::test]
async fn a_request_is_a_span_with_one_for_each_plugin_call_and_each_try() {
    let traced = Traced::with(
        ", service: edge, attributes: { deployment.environment.name: test }",
        ", plugins: [{ name: ip-rules, config: { allow: [127.0.0.0/8] } }, security-headers, { name: access-log, config: { sink: lines } }]",
        "sinks: { lines: { file: lines } }\nplugins: { access-log: { grants: { sinks: [lines] } } }",
    )
    .await;
    let request = Request::get("/items/7?token=s3cret").header("user-agent", "tester/1").header("origin", "http://o");
    let response = traced.gateway.send(request).await;
    let told = seen(&response, "traceparent").expect("a traceparent");
    let spans = traced.collected().wait_for(5).await;
    let whole = one(&spans, "the request", |span| span.span.kind == SERVER);
    assert_eq!(whole.name(), "GET /items/{id}");
    assert!(whole.span.parent_span_id.is_empty());
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/items/{id}"),
        ("http.response.status_code", "200"),
        ("url.path", "/items/7"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "tester/1"),
        ("gateway.route", "items"),
        ("error.type", ""),
    ] {
        assert_eq!(whole.get(name), value, "{name}");
    }
    assert_eq!(whole.get("gateway.request_id"), response.header("x-request-id"));
    assert!(!format!("{spans:?}").contains("s3cret"), "queries have secrets");
    assert_eq!(whole.resource["service.name"], "edge");
    assert_eq!(whole.resource["deployment.environment.name"], "test");

    let attempt = one(&spans, "the try", |span| span.span.kind == CLIENT);
    assert!(attempt.is_part_of(whole));
    assert_eq!(attempt.name(), "GET");
    assert_eq!((attempt.get("gateway.upstream"), attempt.get("http.response.status_code")), ("it", "200"));
    assert_eq!(attempt.get("server.address"), "127.0.0.1");
    assert_eq!(told, attempt.parent(), "the upstream goes on from the try");
    assert!(!attempt.is_error() && !whole.is_error());

    for (name, phase) in
        [("plugin ip-rules", "request"), ("plugin security-headers", "response"), ("plugin access-log", "complete")]
    {
        let found = spans.iter().find(|span| span.name() == name && span.get("gateway.phase") == phase);
        let call = found.unwrap_or_else(|| panic!("{name} in its {phase} phase in {spans:#?}"));
        assert!(call.is_part_of(whole));
        assert!(call.span.start_time_unix_nano <= call.span.end_time_unix_nano);
        assert!(call.span.start_time_unix_nano >= whole.span.start_time_unix_nano);
    }
}

#[tokio::test]
async fn a_trace_that_began_elsewhere_goes_on() {
    let traced = Traced::with("", "", "").await;
    let request =
        Request::get("/items/1").header("traceparent", &parent("01")).header("tracestate", "vendor=1,other=2");
    let response = traced.gateway.send(request).await;
    assert_eq!(seen(&response, "tracestate").as_deref(), Some("vendor=1,other=2"));
    let spans = traced.collected().wait_for(2).await;
    let whole = one(&spans, "the request", |span| span.span.kind == SERVER);
    assert_eq!((hex(&whole.span.trace_id), hex(&whole.span.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(whole.span.trace_state, "vendor=1,other=2");
    assert_eq!(seen(&response, "traceparent"), Some(spans.iter().find(|s| s.span.kind == CLIENT).unwrap().parent()));
}

#[tokio::test]
async fn a_caller_that_does_not_record_is_believed() {
    let traced = Traced::with("", "", "").await;
    let response = traced.gateway.send(Request::get("/items/1").header("traceparent", &parent("00"))).await;
    assert_eq!(seen(&response, "traceparent"), Some(parent("00")), "it passes as it came");
    // What comes after is there first.
    traced.gateway.send(Request::get("/items/2")).await;
    let spans = traced.collected().wait_for(2).await;
    assert!(spans.iter().all(|span| hex(&span.span.trace_id) != TRACE), "{spans:#?}");
}

#[tokio::test]
async fn a_trace_that_says_nothing_clear_begins_anew_without_what_vendors_said() {
    let traced = Traced::with("", "", "").await;
    let request = Request::get("/items/1").header("traceparent", "00-nonsense").header("tracestate", "vendor=1");
    let response = traced.gateway.send(request).await;
    assert_eq!(seen(&response, "tracestate"), None);
    let told = seen(&response, "traceparent").expect("a traceparent");
    assert!(told.starts_with("00-") && told.ends_with("-01") && told.len() == 55, "{told}");
    let spans = traced.collected().wait_for(2).await;
    assert!(one(&spans, "the request", |span| span.span.kind == SERVER).span.parent_span_id.is_empty());
}

#[tokio::test]
async fn only_a_trusted_proxys_trace_goes_on_where_that_is_said() {
    let sampling = ", sampling: { parent: trusted }";
    for (more, goes_on) in [("", false), ("trusted-proxies: [127.0.0.1]", true)] {
        let traced = Traced::with(sampling, "", more).await;
        traced.gateway.send(Request::get("/items/1").header("traceparent", &parent("01"))).await;
        let spans = traced.collected().wait_for(2).await;
        assert_eq!(spans.iter().all(|span| hex(&span.span.trace_id) == TRACE), goes_on, "{more}");
    }
    let traced = Traced::with(", sampling: { parent: none }", "", "trusted-proxies: [127.0.0.1]").await;
    traced.gateway.send(Request::get("/items/1").header("traceparent", &parent("01"))).await;
    let spans = traced.collected().wait_for(2).await;
    assert!(spans.iter().all(|span| hex(&span.span.trace_id) != TRACE));
}

#[tokio::test]
async fn so_many_traces_are_recorded_as_the_ratio_says() {
    let traced = Traced::with(", sampling: { ratio: 0.25 }", "", "").await;
    let mut client = crate::support::Client::connect(traced.gateway.address()).await;
    let mut sampled = 0;
    for _ in 0..400 {
        let response = client.send(Request::get("/items/1")).await;
        let told = seen(&response, "traceparent").expect("one way or the other");
        sampled += usize::from(told.ends_with("-01"));
    }
    // Of 400 with a quarter each, outside of this by chance once in a million.
    assert!((60..145).contains(&sampled), "{sampled} of 400");
    let spans = traced.collected().wait_for(2 * sampled).await;
    assert_eq!(spans.len(), 2 * sampled);

    let traced = Traced::with(", sampling: { ratio: 0 }", "", "").await;
    let response = traced.gateway.get("/items/1").await;
    assert!(seen(&response, "traceparent").expect("a trace").ends_with("-00"));
    // Others may still ask for it.
    traced.gateway.send(Request::get("/items/1").header("traceparent", &parent("01"))).await;
    let spans = traced.collected().wait_for(2).await;
    assert!(spans.iter().all(|span| hex(&span.span.trace_id) == TRACE));
}

#[tokio::test]
async fn without_tracing_a_trace_passes_as_it_is() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}\nroutes: [{{ name: all, upstream: it }}]\n",
        upstream.address()
    ))
    .await;
    let request = Request::get("/").header("traceparent", "as it came").header("tracestate", "v=1");
    let response = gateway.send(request).await;
    assert_eq!(seen(&response, "traceparent").as_deref(), Some("as it came"));
    assert_eq!(seen(&response, "tracestate").as_deref(), Some("v=1"));
    assert_eq!(seen(&gateway.get("/").await, "traceparent"), None);
}

#[tokio::test]
async fn each_try_is_a_span_and_says_how_it_ended() {
    let (good, bad) = (
        Upstream::named("good").await,
        Upstream::serving(|_| async {
            let mut response = http::Response::new(full("bad"));
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            response
        })
        .await,
    );
    let collector = GrpcCollector::start().await;
    let gateway = TestGateway::start(&format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
tracing: {{ otlp: {{ upstream: collector }} }}
upstreams:
  it:
    endpoints: ['http://{}', 'http://{}']
    retry: {{ attempts: 1, on: [503], budget: 100%, backoff: 1ms }}
  collector: {{ protocol: http2, endpoints: ['http://{}'] }}
routes: [{{ name: all, upstream: it }}]
",
        bad.address(),
        good.address(),
        collector.address
    ))
    .await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.text(), "good");
    }
    let again = |span: &Recorded| span.get("http.request.resend_count") == "1";
    let spans = collector.collected.wait_until("a retry", again).await;
    let (retry, all) = (spans.iter().find(|span| again(span)).expect("a retry"), &spans);
    let first = one(all, "the first try", |span| {
        span.span.kind == CLIENT && span.span.trace_id == retry.span.trace_id && span.span.span_id != retry.span.span_id
    });
    assert!(first.is_error(), "{first:#?}");
    assert_eq!(first.get("error.type"), "503");
    assert!(!retry.is_error());
    assert_eq!(first.span.parent_span_id, retry.span.parent_span_id);
    assert!(first.span.end_time_unix_nano <= retry.span.start_time_unix_nano);
    let whole = one(all, "the request", |span| span.span.kind == SERVER && retry.is_part_of(span));
    assert!(!whole.is_error());
}

#[tokio::test]
async fn what_goes_wrong_is_told() {
    let collector = GrpcCollector::start().await;
    let gateway = TestGateway::start(&format!(
        "tracing: {{ otlp: {{ upstream: collector }} }}
upstreams:
  gone: {{ endpoints: ['http://127.0.0.1:1'] }}
  collector: {{ protocol: http2, endpoints: ['http://{}'] }}
routes:
  - {{ name: gone, match: {{ path: /gone }}, upstream: gone }}
  - {{ name: denied, match: {{ path: /denied }}, plugins: [{{ name: ip-rules, config: {{ deny: [127.0.0.0/8] }} }}], upstream: gone }}
",
        collector.address
    ))
    .await;
    assert_eq!(gateway.get("/gone").await.status, 502);
    assert_eq!(gateway.get("/denied").await.status, 403);
    assert_eq!(gateway.get("/nowhere/at/all").await.status, 404);
    let spans = collector.collected.wait_for(5).await;
    let served = |path: &str| one(&spans, path, |span| span.span.kind == SERVER && span.get("url.path") == path);
    let gone = served("/gone");
    assert!(gone.is_error());
    assert_eq!(gone.get("error.type"), "upstream-unreachable");
    let attempt = one(&spans, "the try", |span| span.span.kind == CLIENT);
    assert!(attempt.is_part_of(gone) && attempt.is_error());
    assert_eq!(attempt.get("error.type"), "upstream-unreachable");
    let denied = served("/denied");
    assert!(!denied.is_error(), "a client's mistake is none of the server's");
    let call = one(&spans, "the plugin", |span| span.name() == "plugin ip-rules");
    assert_eq!(call.get("gateway.answered"), "true");
    assert!(call.is_part_of(denied));
    let nowhere = served("/nowhere/at/all");
    assert_eq!((nowhere.name(), nowhere.get("gateway.failure")), ("GET", "no-route"));
}

#[tokio::test]
async fn what_a_plugin_asks_of_an_upstream_is_part_of_its_call() {
    let (upstream, judge) = (Upstream::echo().await, Upstream::named("yes").await);
    let collector = GrpcCollector::start().await;
    let gateway = TestGateway::start(&format!(
        "tracing: {{ otlp: {{ upstream: collector }} }}
plugins: {{ ext-auth: {{ grants: {{ upstreams: [judge] }} }} }}
upstreams:
  it: {{ endpoints: ['http://{}'] }}
  judge: {{ endpoints: ['http://{}'] }}
  collector: {{ protocol: http2, endpoints: ['http://{}'] }}
routes: [{{ name: all, plugins: [{{ name: ext-auth, config: {{ upstream: judge }} }}], upstream: it }}]
",
        upstream.address(),
        judge.address(),
        collector.address
    ))
    .await;
    assert_eq!(gateway.get("/").await.status, 200);
    let spans = collector.collected.wait_for(4).await;
    let call = one(&spans, "the plugin", |span| span.name() == "plugin ext-auth");
    let question = one(&spans, "its question", |span| span.get("gateway.upstream") == "judge");
    assert!(question.is_part_of(call), "{spans:#?}");
    let attempt = one(&spans, "the try", |span| span.get("gateway.upstream") == "it");
    assert!(!attempt.is_part_of(call));
    assert_eq!(attempt.span.parent_span_id, call.span.parent_span_id);
}

#[tokio::test]
async fn a_collector_over_http_is_told_the_same() {
    let upstream = Upstream::echo().await;
    let (server, collected) = http_collector().await;
    let gateway = TestGateway::start(&http_yaml(&upstream, &server)).await;
    gateway.get("/").await;
    let spans = collected.wait_for(2).await;
    assert_eq!(one(&spans, "the request", |span| span.span.kind == SERVER).get("http.response.status_code"), "200");
    let fields = &collected.metadata()[0];
    assert_eq!(fields["x-api-key"], "k3y");
    // One that may come back is asked again, one that will not is not.
    let taken = gateway.metric("gateway_trace_spans_dropped_total", &[("reason", "export")]).await;
    assert_eq!(taken, Some(0));
    collected.refuse(&[503]);
    gateway.get("/").await;
    collected.wait_for(4).await;
    collected.refuse(&[400]);
    gateway.get("/").await;
    eventually("what was refused being counted", async || {
        gateway.metric("gateway_trace_spans_dropped_total", &[("reason", "export")]).await == Some(2)
    })
    .await;
    assert_eq!(collected.count(), 4);
}

fn http_yaml(upstream: &Upstream, collector: &Upstream) -> String {
    // It is not the test's business whether others may see it.
    let key = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("otlp-key");
    std::fs::write(&key, "k3y\n").expect("a file");
    format!(
        "secrets: {{ otlp: {{ file: '{}' }} }}
tracing: {{ otlp: {{ upstream: collector, protocol: http, headers: {{ x-api-key: otlp }} }} }}
upstreams:
  it: {{ endpoints: ['http://{}'] }}
  collector: {{ endpoints: ['http://{}'] }}
routes: [{{ name: all, upstream: it }}]
",
        key.display(),
        upstream.address(),
        collector.address()
    )
}

#[tokio::test]
async fn what_the_collector_does_not_take_is_counted_and_serving_goes_on() {
    let traced = Traced::with("", "", "").await;
    // UNAVAILABLE may pass, INVALID_ARGUMENT will not.
    traced.collected().refuse(&[14, 3]);
    assert_eq!(traced.gateway.get("/items/1").await.status, 200);
    let dropped = [("reason", "export")];
    eventually("what was refused being counted", async || {
        traced.gateway.metric("gateway_trace_spans_dropped_total", &dropped).await == Some(2)
    })
    .await;
    assert_eq!(traced.collected().metadata().len(), 2, "once more, and no more");
    traced.collected().reject(1);
    traced.gateway.get("/items/2").await;
    traced.collected().wait_for(2).await;
    eventually("what was rejected being counted", async || {
        traced.gateway.metric("gateway_trace_spans_dropped_total", &dropped).await == Some(3)
    })
    .await;
    let page = traced.gateway.metrics().await;
    assert!(page.lines().any(|line| line == "gateway_trace_spans_exported_total 1"), "{page}");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_request_anything() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "tracing: {{ otlp: {{ upstream: collector }} }}
upstreams:
  it: {{ endpoints: ['http://{}'] }}
  collector: {{ protocol: http2, endpoints: ['http://127.0.0.1:1'] }}
routes: [{{ name: all, upstream: it }}]
",
        upstream.address()
    ))
    .await;
    let mut client = crate::support::Client::connect(gateway.address()).await;
    // More than may wait.
    for _ in 0..3000 {
        assert_eq!(client.send(Request::get("/")).await.status, 200);
    }
    let queue = gateway.metric("gateway_trace_spans_dropped_total", &[("reason", "queue")]).await;
    assert!(queue.is_some_and(|dropped| dropped > 0), "{queue:?}");
}

#[tokio::test]
async fn a_drain_sends_what_was_recorded() {
    let mut traced = Traced::with("", "", "").await;
    traced.gateway.get("/items/1").await;
    traced.gateway.drain().await.expect("no panic");
    assert_eq!(traced.collected().count(), 2, "without waiting for others");
}

#[tokio::test]
async fn a_reload_begins_and_ends_tracing() {
    let (upstream, collector) = (Upstream::echo().await, GrpcCollector::start().await);
    let yaml = |tracing: &str| {
        format!(
            "{tracing}
upstreams:
  it: {{ endpoints: ['http://{}'] }}
  collector: {{ protocol: http2, endpoints: ['http://{}'] }}
routes: [{{ name: all, upstream: it }}]
",
            upstream.address(),
            collector.address
        )
    };
    let mut gateway = TestGateway::start(&yaml("")).await;
    assert_eq!(seen(&gateway.get("/").await, "traceparent"), None);
    gateway.reload(&yaml("tracing: { otlp: { upstream: collector } }")).await.expect("a sound configuration");
    assert!(seen(&gateway.get("/").await, "traceparent").is_some());
    collector.collected.wait_for(2).await;
    gateway.reload(&yaml("")).await.expect("a sound configuration");
    assert_eq!(seen(&gateway.get("/").await, "traceparent"), None);
}

#[tokio::test]
async fn a_collector_that_people_run_understands_it() {
    let behind = GrpcCollector::start().await;
    let rotel = Rotel::start(behind.address).await;
    let upstream = Upstream::echo().await;
    for (protocol, version, address) in [("grpc", "http2", rotel.grpc), ("http", "http1", rotel.http)] {
        let gateway = TestGateway::start(&format!(
            "tracing: {{ otlp: {{ upstream: collector, protocol: {protocol} }}, service: by-{protocol} }}
upstreams:
  it: {{ endpoints: ['http://{}'] }}
  collector: {{ protocol: {version}, endpoints: ['http://{address}'] }}
routes: [{{ name: all, plugins: [security-headers], upstream: it }}]
",
            upstream.address()
        ))
        .await;
        gateway.send(Request::get("/").header("traceparent", &parent("01"))).await;
        let service = format!("by-{protocol}");
        let ours = |span: &Recorded| span.resource["service.name"] == service;
        let spans = behind.collected.wait_until(&service, ours).await;
        let whole = one(&spans, "the request", |span| ours(span) && span.span.kind == SERVER);
        assert_eq!((hex(&whole.span.trace_id).as_str(), whole.get("http.response.status_code")), (TRACE, "200"));
        assert_eq!(hex(&whole.span.parent_span_id), CALLER);
        assert!(spans.iter().any(|span| ours(span) && span.span.kind == CLIENT && span.is_part_of(whole)));
    }
}

#[tokio::test]
async fn a_collector_that_is_none_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = "listeners: [{ address: '127.0.0.1:0' }]
tracing: { otlp: { upstream: colector } }
upstreams: { collector: { endpoints: ['http://127.0.0.1:4317'] } }
routes: [{ name: all, upstream: collector }]
";
    std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let ended = Process::start(folder.path(), ["check", "-c", "gateway.yaml"]).ended().await;
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("there is no upstream `colector`") && said.contains("`collector`"), "{said}");
}
