//! The fake gateway keeps the real one's promises.

mod bodies;
mod crypto_functions;
mod data_grants;
mod faults;
mod host_rules;
mod messages;

use std::time::Duration;

use plugin_sdk::{
    Body, BodyError, Decision, Edit, EditError, Edits, Error, NoConfig, Observer, Outcome, Plugin, Problem, Problems,
    Reply, Request, RequestBodyFilter, RequestFilter, RequestStream, Response, ResponseBodyFilter, ResponseDecision,
    ResponseFilter, ResponseStream,
    body::{Chunk, ChunkResult},
    cache::{Cache, Entry, LockResult},
    crypto::{self, Algorithm, CryptoError, HashFunction, Key},
    http_client::{Call, CallError},
    log::Level,
    metrics,
    secrets::{self, SecretError},
    serde_json::{Value, json},
    store::{Bucket, Counting, Operation, OperationResult, Quota, Scope, Step, StoreError},
    tcp::{self, Message, TcpError},
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse, config_schema},
    upstreams,
};

/// Does in each phase what it is told.
struct Puppet {
    on_request: fn(&Request) -> Result<Decision, Error>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// What it does.
    #[serde(default)]
    acts: Vec<Act>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Act {
    /// How often.
    #[serde(rename = "how-often")]
    _how_often: u8,
}

impl Plugin for Puppet {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        if config.acts.len() > 1 {
            return Err(Problems::one("/acts", "one act is enough"));
        }
        Ok(Self { on_request: |_| Ok(Decision::Next) })
    }
}

impl RequestFilter for Puppet {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        (self.on_request)(request)
    }
}

impl RequestBodyFilter for Puppet {
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        match body {
            Ok(body) if body.bytes == b"again" => return Ok(Decision::ReadBody),
            Ok(Body { bytes, trailers }) => {
                request.set_attribute("read", &format!("{} {}", bytes.len(), trailers.len()))?;
                request.replace_body(Body::new([bytes, b"!".to_vec()].concat()).with_trailer("x-end", "1"))?;
            }
            Err(error) => request.set_attribute("read", &error.to_string())?,
        }
        Ok(Decision::Next)
    }
}

impl RequestStream for Puppet {
    /// Three bytes at a time. The state is their number.
    fn on_request_chunk(&mut self, chunk: Chunk) -> Result<ChunkResult, Error> {
        if chunk.bytes.starts_with(b"greedy") {
            return Ok(ChunkResult { consumed: chunk.bytes.len() + 1, ..ChunkResult::default() });
        }
        let consumed = if chunk.is_last() { chunk.bytes.len() } else { chunk.bytes.len() / 3 * 3 };
        let output = chunk.bytes[..consumed].to_ascii_uppercase();
        let state = (String::from_utf8_lossy(&chunk.state).parse::<usize>()? + consumed).to_string();
        Ok(ChunkResult { consumed, ..chunk.replaced(output) }.with_min_bytes(3).with_state(state))
    }
}

impl ResponseStream for Puppet {
    fn on_response_chunk(&mut self, chunk: Chunk) -> Result<ChunkResult, Error> {
        self.on_request_chunk(chunk)
    }
}

impl ResponseFilter for Puppet {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        assert_eq!(request.set_header("a", "b"), Err(EditError::Forbidden));
        assert_eq!(request.replace_body("late"), Err(BodyError::Unavailable));
        request.set_attribute("late", "1")?;
        assert_eq!(response.set_status(100), Err(EditError::InvalidSyntax));
        response.set_status(203)?;
        response.append_header("via", "x")?;
        let streams = response.header("x-stream").is_some();
        Ok(if streams { ResponseDecision::StreamBody(b"0".to_vec()) } else { ResponseDecision::ReadBody })
    }
}

impl ResponseBodyFilter for Puppet {
    fn on_response_body(
        &mut self,
        _: &Request,
        response: &Response,
        body: Result<Body, BodyError>,
    ) -> Result<ResponseDecision, Error> {
        response.replace_body([body?.bytes, b"!".to_vec()].concat())?;
        Ok(ResponseDecision::Next)
    }
}

impl Observer for Puppet {
    fn on_complete(&mut self, request: &Request, response: Option<&Response>, outcome: &Outcome) {
        assert_eq!(request.set_attribute("too-late", "1"), Err(EditError::Forbidden));
        if let Some(response) = response {
            assert_eq!(response.set_header("a", "b"), Err(EditError::Forbidden));
        }
        for (name, state) in [("up", &outcome.request_stream_state), ("down", &outcome.response_stream_state)] {
            let bytes = state.as_ref().map(|state| String::from_utf8_lossy(state).parse().expect("a number"));
            metrics::add("streamed", bytes.unwrap_or(0), &[("direction", name)]);
        }
        metrics::add("seen", 1, &[("status", &outcome.status.unwrap_or(0).to_string())]);
        metrics::observe("seconds", outcome.duration.as_secs_f64(), &[]);
    }
}

/// Keeps each response.
struct Keeper;

impl Plugin for Keeper {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Problems> {
        Ok(Self)
    }
}

impl ResponseFilter for Keeper {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        let entry = Entry {
            note: Vec::new(),
            secondary: Vec::new(),
            keep: Duration::from_secs(60),
            tags: Vec::new(),
            exclude_headers: Vec::new(),
            max_bytes: 100,
            shared: false,
        };
        Cache::new("pages").keep(request, response, "k", entry)?;
        Ok(ResponseDecision::Next)
    }
}

fn puppet(host: &TestHost, on_request: fn(&Request) -> Result<Decision, Error>) -> TestPlugin<Puppet> {
    let mut puppet: TestPlugin<Puppet> = host.plugin(json!({})).expect("it needs nothing");
    puppet.inner().on_request = on_request;
    puppet
}

fn refusal(config: Value) -> (String, String) {
    let result: Result<TestPlugin<Puppet>, Problems> = TestHost::new().plugin(config);
    let problem = result.err().expect("the configuration is refused").into_iter().next().expect("with a problem");
    (problem.pointer, problem.message)
}

#[test]
fn a_problem_of_the_configuration_points_to_its_place() {
    assert_eq!(refusal(json!({ "acts": [{ "how-often": 1 }, { "how-often": 300 }] })).0, "/acts/1/how-often");
    assert_eq!(refusal(json!({ "acts": [{ "how-often": "1" }] })).0, "/acts/0/how-often");
    assert_eq!(refusal(json!({ "acts": [{}] })), ("/acts/0".to_owned(), "missing field `how-often`".to_owned()));
    assert_eq!(refusal(json!({ "acts": [{ "how-often": 1 }, { "how-often": 1 }] })).0, "/acts");
    let (pointer, message) = refusal(json!({ "act": [] }));
    assert_eq!(pointer, "/act");
    assert!(message.starts_with("unknown field `act`") && !message.contains("line"), "{message}");
}

#[test]
fn doc_comments_and_types_become_the_schema() {
    let schema = config_schema::<Puppet>();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["acts"]["description"], "What it does.");
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn edits_of_the_request_follow_the_gateways_rules() {
    let host = TestHost::new();
    let mut plugin = puppet(&host, |request| {
        assert_eq!(request.set_header("a b", "x"), Err(EditError::InvalidSyntax));
        assert_eq!(request.set_header("a", "x\r\ny"), Err(EditError::InvalidSyntax));
        assert_eq!(request.set_header("Content-Length", "1"), Err(EditError::Forbidden));
        assert_eq!(request.remove_header("host"), Err(EditError::Forbidden));
        assert_eq!(request.set_header("host", "user@host"), Err(EditError::InvalidSyntax));
        assert_eq!(request.set_method("CONNECT"), Err(EditError::Forbidden));
        for target in ["a", "/a/../b", "/a/%2e%2E", "/a b", "/a#b"] {
            assert_eq!(request.set_path_with_query(target), Err(EditError::InvalidSyntax), "{target}");
        }
        assert_eq!(request.set_header("a", "x".repeat(140_000)), Err(EditError::TooLarge));
        assert_eq!(request.set_attribute("a b", "x"), Err(EditError::InvalidSyntax));
        request.set_header("host", "other:80")?;
        request.set_header("X-A", b"\xff")?;
        request.append_header("x-a", "2")?;
        request.set_path_with_query("/new?q=..")?;
        assert_eq!(request.header("x-A").as_deref(), Some("\u{fffd}"));
        assert_eq!(request.header_bytes("x-a").as_deref(), Some(&b"\xff"[..]));
        assert_eq!((request.original_target(), request.query_parameter("q")), ("/old".into(), Some("..".into())));
        request.replace_body("new")?;
        Ok(Decision::Next)
    });
    let exchange = plugin.request(TestRequest::post("/old").header("content-length", "3").body("old"));
    assert_eq!((exchange.authority(), exchange.target()), ("other:80", "/new?q=.."));
    assert_eq!(exchange.header_values("x-a"), [&b"\xff"[..], b"2"]);
    assert_eq!((exchange.body(), exchange.header("content-length")), (&b"new"[..], None));
}

#[test]
fn host_is_among_the_headers_and_only_the_gateway_says_what_is_its_own() {
    let host = TestHost::new();
    let mut plugin = puppet(&host, |request| {
        let names: Vec<_> = request.headers().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["host", "x_user"]);
        for key in ["tls.client.subject", "tls.", "gateway.upstream", "gateway.x"] {
            assert_eq!(request.set_attribute(key, "1"), Err(EditError::Forbidden), "{key}");
        }
        assert_eq!(request.attribute("tls.version").as_deref(), Some("1.3"));
        request.set_header("x-user", "anna")?;
        assert_eq!(request.header("x_user"), None, "another spelling of a name that a plugin sets");
        Ok(Decision::Next)
    });
    let request = TestRequest::get("/").header("x_user", "admin").attribute("tls.version", "1.3");
    assert_eq!(plugin.request(request).header("host"), Some("example.com"));
}

#[test]
fn planned_edits_and_bodies_are_bounded() {
    let host = TestHost::new();
    host.set_buffer_bytes(3);
    let mut plugin = puppet(&host, |request| {
        let edits =
            Edits::new(&[Edit::append_response_header("x-a").always("1"), Edit::set_attribute("a").always("1")]);
        let made = (0..1000).find_map(|number| edits.apply(request, None, []).err().map(|refused| (number, refused)));
        let (number, refused) = made.expect("there is a limit");
        assert_eq!((number, refused.index, refused.error), (256, 0, EditError::TooLarge));
        assert_eq!(request.replace_body("four"), Err(BodyError::TooLarge(3)));
        Ok(Decision::ReadBody)
    });
    let exchange = plugin.request_with_body(TestRequest::post("/").body("four"));
    assert_eq!(exchange.attribute("read"), Some("the body is over the limit of 3 bytes"));
}

#[test]
fn an_exchange_goes_through_all_phases() {
    let host = TestHost::new();
    let mut plugin = puppet(&host, |_| Ok(Decision::Next));
    let mut exchange = plugin.request(TestRequest::get("/"));
    plugin.response_with_body(&mut exchange, TestResponse::new(200).header("via", "y").body("hi"));
    assert_eq!((exchange.status(), exchange.response_body()), (Some(203), &b"hi!"[..]));
    assert_eq!(exchange.response_header_values("via"), [b"y", b"x"]);
    assert_eq!(exchange.attribute("late"), Some("1"));
    let outcome = Outcome { status: Some(203), duration: Duration::from_millis(250), ..Outcome::default() };
    plugin.complete(&mut exchange, &outcome);
    plugin.complete(&mut TestExchange::new(TestRequest::get("/")), &outcome);
    assert_eq!(host.counter("seen", &[("status", "203")]), 2);
    assert_eq!(host.observations("seconds", &[]), [0.25, 0.25]);
}

#[test]
fn a_failure_is_not_an_answer() {
    let host = TestHost::new();
    let mut plugin = puppet(&host, |_| Err(Error::new("broken")));
    let error = plugin.try_request(TestRequest::get("/")).expect_err("it fails");
    assert_eq!(error.to_string(), "broken");
}

#[test]
#[should_panic(expected = "the gateway would refuse a reply: field connection is the gateway's")]
fn a_reply_that_the_gateway_would_refuse_fails_the_test() {
    let mut plugin = puppet(&TestHost::new(), |_| Ok(Reply::new(200).with_header("connection", "close").into()));
    plugin.request(TestRequest::get("/"));
}

#[test]
fn replies_are_text_json_or_problems() {
    let reply = Reply::new(200).with_json(&json!({ "a": 1 })).expect("it is JSON").with_text("a");
    assert_eq!(reply.headers, [("content-type".to_owned(), b"text/plain; charset=utf-8".to_vec())]);
    let reply = Reply::from(Problem::new(429).with_header("retry-after", "3").title("Slow down"));
    assert_eq!(reply.header("Retry-After").as_deref(), Some("3"));
    assert_eq!(
        reply.json::<Value>().expect("it is JSON"),
        json!({ "type": "about:blank", "title": "Slow down", "status": 429 }),
    );
}

#[test]
fn entries_of_the_store_expire() {
    let host = TestHost::new();
    host.run(|| {
        let bucket = Bucket::new("b");
        bucket.set("a", b"1", Some(Duration::from_secs(1)))?;
        assert_eq!(bucket.increment("n", 2, Some(Duration::from_secs(1)))?, 2);
        host.advance(Duration::from_millis(600));
        assert_eq!(bucket.increment("n", 2, Some(Duration::from_secs(1)))?, 4);
        assert_eq!(bucket.get("a")?.as_deref(), Some(&b"1"[..]));
        host.advance(Duration::from_millis(400));
        assert_eq!((bucket.get("a")?, bucket.get("n")?), (None, None), "from the entry's creation on");
        bucket.set("a", b"x", None)?;
        assert_eq!(bucket.increment("a", 1, None), Err(StoreError::TooLarge));
        bucket.delete("a")?;
        assert_eq!(Bucket::new("other").get("a")?, None);
        host.set_store_available(false);
        assert!(matches!(bucket.get("a"), Err(StoreError::Unavailable(_))));
        host.deny("b");
        assert!(matches!(bucket.get("a"), Err(StoreError::Denied(_))));
        Ok::<(), StoreError>(())
    })
    .expect("the store is there");
}

#[test]
fn a_quota_lets_a_burst_through_and_then_its_rate() {
    let host = TestHost::new();
    let quota = Quota { limit: 10, period: Duration::from_secs(1), burst: 2 };
    let take = |cost| host.run(|| Bucket::new("b").take("k", &quota, cost)).expect("the store is there");
    let first = take(1);
    assert_eq!((first.allowed, first.remaining, first.reset_after), (true, 1, Duration::from_millis(100)));
    assert_eq!((take(1).remaining, take(0).allowed), (0, true));
    let refused = take(1);
    assert_eq!((refused.allowed, refused.remaining), (false, 0));
    assert_eq!((refused.retry_after, refused.reset_after), (Duration::from_millis(100), Duration::from_millis(200)));
    host.advance(Duration::from_millis(99));
    assert_eq!(take(1).retry_after, Duration::from_millis(1));
    host.advance(Duration::from_millis(1));
    assert!(take(1).allowed);
    host.advance(Duration::from_secs(9));
    let never = take(3);
    assert_eq!((never.allowed, never.retry_after), (false, Duration::from_millis(u64::MAX)), "more than the burst");
    assert!(take(2).allowed);
}

#[test]
fn no_more_than_sixteen_steps_are_taken_at_once_and_a_key_is_deleted_with_its_count() {
    let host = TestHost::new();
    let quota = Quota { limit: 1, period: Duration::from_secs(1), burst: 1 };
    let steps = |count: usize, counting| {
        (0..count).map(|number| Step { key: number.to_string(), quota, counting, cost: 1 }).collect::<Vec<_>>()
    };
    host.run(|| {
        let bucket = Bucket::new("b");
        for counting in [Counting::Steady, Counting::Sliding] {
            assert_eq!(bucket.take_all("g", &steps(17, counting), Scope::Shared), Err(StoreError::TooLarge));
            assert!(bucket.take_all("g", &steps(16, counting), Scope::Shared)?.iter().all(|verdict| verdict.allowed));
            assert!(!bucket.take_all("g", &steps(1, counting), Scope::Shared)?[0].allowed);
            bucket.delete("g\u{0}0")?;
            assert!(bucket.take_all("g", &steps(1, counting), Scope::Shared)?[0].allowed);
        }
        Ok::<(), StoreError>(())
    })
    .expect("the store is there");
}

#[test]
fn calls_get_the_answers_of_the_test() {
    let host = TestHost::new();
    let ask = || host.run(|| Call::get("users", "/7").with_header("a", "b").send());
    assert!(matches!(ask(), Err(CallError::Unreachable(_))));
    host.answer_calls(|call| {
        if call.path_with_query == "/7" { Ok(Reply::new(200).with_text("anna")) } else { Err(CallError::Timeout) }
    });
    assert_eq!(ask().map(Reply::into_text), Ok("anna".to_owned()));
    assert_eq!(host.calls().len(), 2);
    host.deny("users");
    assert!(matches!(ask(), Err(CallError::Denied(_))));
}

#[test]
fn a_gauge_is_set_and_added_to() {
    let host = TestHost::new();
    host.run(|| {
        metrics::add_to_gauge("open", 2.0, &[("a", "b")]);
        metrics::add_to_gauge("open", -0.5, &[("a", "b")]);
        metrics::set_gauge("open", 7.0, &[]);
        metrics::set_gauge("open", f64::NAN, &[]);
    });
    assert_eq!((host.gauge("open", &[("a", "b")]), host.gauge("open", &[])), (Some(1.5), Some(7.0)));
    assert_eq!(host.gauge("other", &[]), None);
}

#[test]
fn an_attribute_is_removed_by_the_rules_of_setting_one() {
    let host = TestHost::new();
    let mut plugin = puppet(&host, |request| {
        request.set_attribute("a", "1")?;
        request.set_attribute("b", "2")?;
        request.remove_attribute("a")?;
        request.remove_attribute("never-set")?;
        Edits::new(&[Edit::remove_attribute("b")]).apply(request, None, [])?;
        assert_eq!(request.remove_attribute("gateway.upstream"), Err(EditError::Forbidden));
        assert_eq!(request.remove_attribute("a b"), Err(EditError::InvalidSyntax));
        request.set_attribute("trace", &request.trace_parent().unwrap_or_default())?;
        Ok(Decision::Next)
    });
    let exchange = plugin.request(TestRequest::get("/").trace_parent("00-1"));
    assert_eq!(
        (exchange.attribute("a"), exchange.attribute("b"), exchange.attribute("trace")),
        (None, None, Some("00-1"))
    );
    assert_eq!(plugin.request(TestRequest::get("/")).attribute("trace"), Some(""));
}

#[test]
fn secrets_and_the_log_are_at_hand() {
    let host = TestHost::new();
    host.set_secret("TOKEN", "s3cret");
    host.run(|| {
        assert_eq!(secrets::get("TOKEN"), Ok(b"s3cret".to_vec()));
        assert!(secrets::get("OTHER").is_err());
        let attempts = 3;
        plugin_sdk::warn!("after {attempts} of {}", 5; user = "anna", attempts = attempts);
    });
    let line = host.log().remove(0);
    assert_eq!((line.level, line.message.as_str()), (Level::Warn, "after 3 of 5"));
    assert_eq!(line.fields, [("user".into(), "anna".into()), ("attempts".into(), "3".into())]);
}

#[test]
fn an_exchange_waits_for_a_lock_and_is_called_again() {
    let host = TestHost::new();
    let on_request = |request: &Request| {
        let cache = Cache::new("pages");
        if let Some(found) = cache.find(request, "k", false)?.first() {
            request.set_attribute("found", &found.body_bytes.to_string())?;
            return Ok(Decision::Next);
        }
        let lock = cache.lock(request, "k", Duration::from_secs(1))?;
        request.set_attribute("lock", &format!("{lock:?}"))?;
        Ok(if lock == LockResult::Held { Decision::AwaitRelease } else { Decision::Next })
    };
    let mut plugin = puppet(&host, on_request);
    assert_eq!(plugin.request(TestRequest::get("/")).attribute("lock"), Some("Acquired"));
    assert_eq!(plugin.request(TestRequest::get("/")).attribute("lock"), Some("Free"), "it has waited");
    // While another exchange waits, this one stores its response.
    let mut keeper: TestPlugin<Keeper> = host.plugin(json!({})).expect("it needs nothing");
    host.while_waiting(move || {
        let mut exchange = TestExchange::new(TestRequest::get("/"));
        keeper.response(&mut exchange, TestResponse::new(200).body("hello"));
    });
    assert_eq!(plugin.request(TestRequest::get("/")).attribute("found"), Some("5"));
    let mut plugin = puppet(&host, |_| Ok(Decision::AwaitRelease));
    let error = plugin.try_request(TestRequest::get("/")).expect_err("there is nothing to wait for");
    assert!(error.to_string().contains("await-release"), "{error}");
}

#[test]
fn connections_return_what_has_arrived_and_are_released_once() {
    let host = TestHost::new();
    let send = || tcp::send(Message::new("it", "PING").with_min_bytes(2));
    host.run(|| {
        assert!(matches!(send(), Err(TcpError::Unreachable(_))));
        host.answer_messages(|_| Ok(b"PONG\n".to_vec()));
        let connection = send()?;
        assert_eq!((connection.receive(1)?, connection.receive(2)?), (b"PO".to_vec(), b"NG".to_vec()));
        assert!(matches!(connection.receive(2), Err(TcpError::Closed(_))));
        assert_eq!(connection.receive(1)?, b"\n");
        connection.release();
        let many: Vec<_> = (0..16).map(|_| send()).collect::<Result<_, _>>()?;
        assert_eq!(send().err(), Some(TcpError::Unavailable));
        drop(many);
        send()?;
        host.set_buffer_bytes(3);
        assert_eq!(send().err(), Some(TcpError::TooLarge(3)));
        Ok::<(), TcpError>(())
    })
    .expect("it is answered");
    assert_eq!((host.released(), host.messages().len()), (1, 18));
}

#[test]
fn operations_of_a_batch_have_results_of_their_own() {
    let host = TestHost::new();
    host.run(|| {
        let bucket = Bucket::new("b");
        bucket.set("text", b"x", None)?;
        let add = |key: &str| Operation::Increment { key: key.into(), by: 2, ttl: None };
        let results = bucket.batch(&[add("n"), add("text"), Operation::Get { key: "text".into() }])?;
        let value = OperationResult::Value(Some(b"x".to_vec()));
        assert_eq!(results, [Ok(OperationResult::Sum(2)), Err(StoreError::TooLarge), Ok(value)]);
        assert_eq!(bucket.batch(&vec![add("n"); 65]), Err(StoreError::TooLarge));
        Ok::<(), StoreError>(())
    })
    .expect("the store is there");
}

#[test]
fn an_exchange_keeps_its_leases_until_it_ends() {
    let host = TestHost::new();
    let bucket = Bucket::new("b");
    let minute = Duration::from_secs(60);
    let acquire = |limit| bucket.acquire("k", limit, minute, Scope::Shared);
    let mut plugin = puppet(&host, move |_| {
        let bucket = Bucket::new("b");
        let taken = bucket.acquire("k", 1, Duration::from_secs(60), Scope::Shared)?;
        if let Some(lease) = &taken.lease {
            assert!(bucket.renew("k", lease, Duration::from_secs(1))?);
            let others = (1..64).map(|n| bucket.acquire(&format!("{n}"), 1, Duration::from_secs(60), Scope::Local));
            assert!(others.into_iter().all(|other| other.is_ok_and(|other| other.lease.is_some())));
            assert_eq!(bucket.acquire("more", 1, Duration::from_secs(60), Scope::Shared), Err(StoreError::TooLarge));
        }
        Ok(Decision::Next)
    });
    let mut exchange = plugin.request(TestRequest::get("/"));
    host.advance(minute * 60);
    host.run(|| assert_eq!(acquire(1).unwrap().lease, None, "the gateway renews it"));
    plugin.end(&mut exchange);
    host.run(|| {
        // Without an exchange, it ends by its time to live.
        let lease = acquire(1).unwrap().lease.expect("it is free");
        host.advance(minute);
        assert!(!bucket.renew("k", &lease, minute).unwrap());
        assert_eq!(acquire(2).unwrap().holders, 1);
        assert_eq!(acquire(65_537), Err(StoreError::TooLarge));
        assert_eq!(bucket.renew("k", "no lease", minute), Ok(false));
        assert_eq!(bucket.release("k", &lease), Ok(()));
    });
}

#[test]
fn calls_are_started_together_and_an_upstream_is_selected() {
    let host = TestHost::new();
    host.answer_calls(|call| Ok(Reply::new(200).with_text(call.upstream.clone())));
    host.deny("secret");
    let mut plugin = puppet(&host, |request| {
        let calls: Vec<_> = (0..16).map(|_| Call::get("a", "/").start()).collect::<Result<_, _>>()?;
        assert!(matches!(Call::get("a", "/").start(), Err(CallError::Other(_))));
        for call in calls {
            assert_eq!(call.wait()?.into_text(), "a");
        }
        assert!(matches!(Call::get("secret", "/").start(), Err(CallError::Denied(_))));
        upstreams::select(request, "canary")?;
        assert!(upstreams::select(request, "secret").is_err());
        Ok(Decision::Next)
    });
    assert_eq!(plugin.request(TestRequest::get("/")).upstream(), Some("canary"));
}
