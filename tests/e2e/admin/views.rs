//! What the API shows: routes and why they answer, plugins and how they broke down, certificates, live requests.

use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ask, get, json_to, post, refused};
use crate::support::{Authority, Client, Process, TestGateway, Upstream, client::Request, eventually, guests, in_time};

#[tokio::test]
async fn routes_are_shown_with_what_they_served() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
global-plugins: [request-id]
routes:
  - {{ name: users, match: {{ hosts: ['*.example.com', a.test], path: '/users/{{id}}', methods: [GET], headers: {{ x-a: b }} }}, plugins: [security-headers], upstream: it }}
  - {{ name: gone, match: {{ path: /gone }}, respond: {{ status: 410 }} }}
  - {{ name: two, match: {{ path: /two }}, split: [{{ upstream: it, weight: 3 }}, {{ upstream: it, weight: 1 }}] }}
",
        upstream.address()
    ))
    .await;
    gateway.get("/gone").await;
    let routes = get(&gateway, "/routes").await;
    let users = &routes[0];
    assert_eq!(users["name"], "users");
    assert_eq!(users["match"]["hosts"], json!(["a.test", "*.example.com"]));
    assert_eq!(users["match"]["path"], "/users/{id}");
    assert_eq!(users["match"]["methods"], json!(["GET"]));
    assert_eq!(users["match"]["headers"], json!([{ "name": "x-a", "value": "b" }]));
    assert_eq!(users["plugins"], json!(["request-id", "security-headers"]));
    assert_eq!(users["action"]["upstreams"], json!([{ "upstream": "it", "weight": 1 }]));
    assert_eq!(routes[1]["action"]["status"], 410);
    assert_eq!(routes[1]["requests"], json!({ "4xx": 1 }));
    assert_eq!(routes[1]["duration"]["count"], 1);
    assert_eq!(routes[2]["action"]["upstreams"][0]["weight"], 3);
    let stats = get(&gateway, "/stats").await;
    assert_eq!(stats["bounds"].as_array().map(Vec::len), Some(15));
    let route = stats["routes"].as_array().expect("routes").iter().find(|route| route["route"] == "gone");
    assert_eq!(route.expect("it was asked")["duration"]["buckets"].as_array().map(Vec::len), Some(16));
}

#[tokio::test]
async fn a_request_is_explained_without_being_sent() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: user, match: {{ host: a.test, path: '/users/{{id}}' }}, plugins: [security-headers], upstream: it }}
  - {{ name: beta, match: {{ path: '/users/{{id}}', headers: {{ x-beta: '1' }} }}, upstream: it }}
  - {{ name: post, match: {{ path: /post, methods: [POST] }}, upstream: it }}
",
        upstream.address()
    ))
    .await;
    let explain = async |question: Value| {
        let response = ask(&gateway, post("/explain", &question)).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    };
    let told = explain(json!({ "url": "http://a.test/x/../users/7" })).await;
    assert_eq!((&told["route"], &told["target"]), (&json!("user"), &json!("/users/7")));
    assert_eq!(told["plugins"], json!(["security-headers"]));
    assert_eq!(told["considered"][0]["answers"], true);
    assert_eq!(told["considered"][1]["verdict"], "wants header x-beta: \"1\", the request has none");
    let told = explain(json!({ "url": "/users/7", "headers": ["host: b.test", "x-beta: 1"] })).await;
    assert_eq!(told["route"], "beta");
    let told = explain(json!({ "url": "/post" })).await;
    assert_eq!((&told["status"], &told["reason"]), (&json!(405), &json!("routes match for other methods: POST")));
    assert_eq!(explain(json!({ "url": "/nothing" })).await["status"], 404);
    assert_eq!(explain(json!({ "url": "/%zz" })).await["status"], 400);
    assert_eq!(explain(json!({ "url": "/users/7", "method": "CONNECT" })).await["status"], 501);
    let nonsense = ask(&gateway, post("/explain", &json!({ "url": "/a", "headers": ["x"] }))).await;
    assert_eq!(refused(&nonsense).0, 422);
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn plugins_are_shown_with_what_they_cost_and_how_they_broke_down() {
    let upstream = Upstream::echo().await;
    let yaml = format!(
        "secrets: {{ own: {{ file: own.txt }} }}
sinks: {{ own: stderr }}
plugins: {{ {naughty} }}
upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: well, match: {{ path: /well }}, plugins: [security-headers], upstream: it }}
  - {{ name: ill, match: {{ path: /ill }}, plugins: [{{ name: naughty, config: {{ do: trap }} }}], upstream: it }}
",
        upstream.address(),
        naughty = guests::naughty("")
    );
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    assert_eq!(gateway.get("/well").await.status, 200);
    assert_eq!(gateway.get("/ill").await.status, 500);
    let plugins = get(&gateway, "/plugins").await;
    let named = |name: &str| plugins.as_array().expect("plugins").iter().find(|plugin| plugin["name"] == name);
    let well = named("security-headers").expect("it is used");
    assert_eq!(well["component"], "builtin:security-headers");
    assert_eq!(well["digest"].as_str().map(str::len), Some(64));
    assert_eq!(well["grants"], json!({ "data": ["*"] }));
    assert_eq!(well["calls"][0]["calls"], json!({ "response": 1 }));
    assert!(well["calls"][0]["nanoseconds"]["response"].as_u64() > Some(0), "{well}");
    assert!(well["memory_bytes"].as_u64() > Some(0), "{well}");
    let ill = named("naughty").expect("it is used");
    assert_eq!(ill["calls"][0]["failures"], json!({ "trap": 1 }));
    let traps = get(&gateway, "/plugins/traps").await;
    assert_eq!(
        (&traps[0]["plugin"], &traps[0]["route"], &traps[0]["kind"]),
        (&json!("naughty"), &json!("ill"), &json!("trap"))
    );
    assert!(traps[0]["backtrace"].as_str().expect("a backtrace").contains("wasm backtrace"), "{traps}");
}

#[tokio::test]
async fn certificates_are_shown_with_when_they_expire() {
    let folder = TempDir::new().expect("a folder");
    Authority::new().issue(folder.path(), "api", &["api.example.com", "*.api.example.com"]);
    let yaml = "listeners: [{ address: '127.0.0.1:0', tls: { certificates: [{ cert: api.pem, key: api.key }] } }, { address: '127.0.0.1:0', tls: { certificates: [{ cert: api.pem, key: api.key }] } }]
admin: { address: '127.0.0.1:0' }
routes: [{ name: all, respond: { status: 204 } }]
";
    let gateway = TestGateway::start_in(folder, yaml).await;
    let certificates = get(&gateway, "/certificates").await;
    let all = certificates.as_array().expect("certificates");
    assert_eq!(all.len(), 1, "one, shown by two listeners");
    assert_eq!(all[0]["names"], json!(["api.example.com", "*.api.example.com"]));
    assert_eq!(all[0]["listeners"].as_array().map(Vec::len), Some(2));
    assert!(all[0]["issuer"].as_str().expect("an issuer").contains("the test's authority"));
    assert!(all[0]["days_left"].as_i64() > Some(300), "{certificates}");
}

#[tokio::test]
async fn requests_are_told_live_as_they_were_asked_for() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ it: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: echo, match: {{ path: '/echo/{{*rest}}' }}, upstream: it }}
  - {{ name: gone, match: {{ path: /gone }}, respond: {{ status: 410 }} }}
",
        upstream.address()
    ))
    .await;
    let mut all = watch(&gateway, "").await;
    let mut gone = watch(&gateway, "?status=4xx&route=gone").await;
    let mut failed = watch(&gateway, "?failed=true").await;
    gateway.get("/echo/1?key=s3cret").await;
    gateway.get("/gone").await;
    gateway.get("/nowhere").await;
    let first = event(&mut all).await;
    assert_eq!((&first["method"], &first["path"], &first["status"]), (&json!("GET"), &json!("/echo/1"), &json!(200)));
    assert_eq!((&first["route"], &first["upstream"]), (&json!("echo"), &json!("it")));
    assert!(first["duration"].as_u64() >= first["upstream_duration"].as_u64(), "{first}");
    assert!(!first.to_string().contains("s3cret"));
    assert_eq!(event(&mut all).await["path"], "/gone");
    assert_eq!(event(&mut gone).await["path"], "/gone");
    let nowhere = event(&mut failed).await;
    assert_eq!((&nowhere["path"], &nowhere["failure"]), (&json!("/nowhere"), &json!("no-route")));
    assert!(nowhere.get("route").is_none());
    let wrong = ask(&gateway, Request::get("/api/v1/tail?status=many")).await;
    assert_eq!(refused(&wrong).0, 400);
}

/// Server-sent events.
struct Events {
    _client: Client,
    body: hyper::body::Incoming,
    text: String,
}

async fn watch(gateway: &TestGateway, query: &str) -> Events {
    let mut client = Client::connect(gateway.admin()).await;
    let response = client.begin(Request::get(&format!("/api/v1/tail{query}"))).await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Events { _client: client, body: response.into_body(), text: String::new() }
}

/// The next request that is told.
async fn event(events: &mut Events) -> Value {
    loop {
        if let Some((event, rest)) = events.text.split_once("\n\n") {
            let (event, rest) = (event.to_owned(), rest.to_owned());
            events.text = rest;
            if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                assert!(event.lines().any(|line| line == "event: request"), "{event}");
                return serde_json::from_str(data).expect("JSON");
            }
        }
        let frame = in_time("an event", events.body.frame()).await.expect("it goes on").expect("it goes on");
        events.text.push_str(&String::from_utf8_lossy(frame.data_ref().expect("no trailers")));
    }
}

#[tokio::test]
async fn only_so_many_watch_at_a_time_and_who_leaves_makes_room() {
    let gateway = TestGateway::start("routes: [{ name: all, respond: { status: 204 } }]\n").await;
    let mut watchers = Vec::new();
    for _ in 0..16 {
        watchers.push(watch(&gateway, "").await);
    }
    assert_eq!(refused(&ask(&gateway, Request::get("/api/v1/tail")).await).0, 503);
    drop(watchers.pop());
    eventually("room", async || {
        // The connection that is dropped is noticed when something is to be sent.
        gateway.get("/").await;
        let mut client = Client::connect(gateway.admin()).await;
        client.begin(Request::get("/api/v1/tail")).await.expect("an answer").status() == 200
    })
    .await;
}

#[tokio::test]
async fn the_logs_level_can_be_changed_while_it_runs() {
    let folder = TempDir::new().expect("a folder");
    let yaml = "listeners: [{ address: '127.0.0.1:0' }]
admin: { address: '127.0.0.1:0' }
routes: [{ name: all, respond: { status: 204 } }]
";
    std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let admin = process.admin().await;
    let ask = async |request| Client::connect(admin).await.send(request).await;
    assert_eq!(ask(Request::get("/api/v1/log-level")).await.json(), json!({ "level": "info" }));
    let put = |level: &str| json_to(Method::PUT, "/log-level", &json!({ "level": level }));
    assert_eq!(ask(put("warn,gateway=debug")).await.status, 200);
    assert_eq!(ask(Request::get("/api/v1/log-level")).await.json(), json!({ "level": "warn,gateway=debug" }));
    let (status, detail) = refused(&ask(put("gateway=loud")).await);
    assert!(status == 422 && detail.starts_with("unknown level `loud`; expected"), "{detail}");
    process.logged("admin API request").await;
}

#[tokio::test]
async fn the_process_tells_of_itself() {
    let gateway = TestGateway::start("routes: [{ name: all, respond: { status: 204 } }]\n").await;
    let told = get(&gateway, "/gateway").await;
    assert_eq!((&told["version"], &told["ready"], &told["revision"]), (&json!("0.1.0"), &json!(true), &json!(1)));
    assert_eq!(told["workers"], 2);
}
