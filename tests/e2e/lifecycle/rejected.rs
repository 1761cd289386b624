//! A configuration that is rejected has changed nothing: not the health of endpoints, no metrics, no files, no documents. One that
//! is accepted is taken by every worker, also by one that is busy.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{Method, Response as Answer, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;

use super::{Running, is_refused, to};
use crate::support::{
    Client, Response, TestGateway, Upstream,
    client::Request,
    counted::metric,
    eventually, free_address, guests,
    token::{Key, now},
    upstream::full,
};

/// An address that is in use.
fn taken() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener)
}

/// The configuration with more listeners.
fn listening(yaml: &str, addresses: &[SocketAddr]) -> String {
    let one = "listeners: [{ address: '127.0.0.1:0' }]";
    assert!(yaml.contains(one), "{yaml}");
    let more: String = addresses.iter().map(|address| format!(", {{ address: '{address}' }}")).collect();
    yaml.replace(one, &format!("listeners: [{{ address: '127.0.0.1:0' }}{more}]"))
}

async fn ask(gateway: &TestGateway, request: Request) -> Response {
    Client::connect(gateway.admin()).await.send(request).await
}

/// Two endpoints, the first of which fails its checks.
struct Checked {
    upstreams: [Upstream; 2],
    gateway: TestGateway,
}

const CHECKS: &str = ", health: { active: { path: /healthz, interval: 50ms, timeout: 5s, unhealthy-after: 2 } }";

impl Checked {
    async fn start() -> Self {
        let upstreams = [Self::endpoint("dead", 503).await, Self::endpoint("alive", 200).await];
        let gateway = TestGateway::start(&Self::yaml(&upstreams, CHECKS, "")).await;
        let checked = Self { upstreams, gateway };
        eventually("the checks failing", async || checked.unhealthy().await == 1).await;
        checked
    }

    async fn endpoint(name: &'static str, health: u16) -> Upstream {
        Upstream::serving(move |request| async move {
            let mut response = Answer::new(full(name));
            if request.uri().path() == "/healthz" || health != 200 {
                *response.status_mut() = StatusCode::from_u16(health).unwrap();
            }
            response
        })
        .await
    }

    fn yaml(upstreams: &[Upstream; 2], health: &str, more: &str) -> String {
        let [dead, alive] = upstreams.each_ref().map(Upstream::address);
        format!(
            "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
{more}upstreams: {{ it: {{ endpoints: ['http://{dead}', 'http://{alive}']{health} }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: it }}]
"
        )
    }

    /// A configuration without checks.
    fn without_health(&self, more: &str) -> String {
        Self::yaml(&self.upstreams, "", more)
    }

    async fn unhealthy(&self) -> u64 {
        metric(&self.gateway, "gateway_upstream_endpoints{upstream=\"it\",state=\"unhealthy\"}").await
    }

    /// The dead endpoint is known to be dead, by operators, metrics and every worker.
    async fn is_as_it_was(&self) {
        assert_eq!(self.unhealthy().await, 1);
        let target = "/api/v1/upstreams/it";
        let shown = ask(&self.gateway, Request::get(target)).await.json();
        assert_eq!(shown["endpoints"][0]["health"], "unhealthy", "{shown}");
        // Workers look at the endpoints again, since one has another weight.
        let weight = Full::from(json!({ "weight": 7 }).to_string()).boxed();
        let target = format!("{target}/endpoints/{}", self.upstreams[1].address());
        let patch = Request::new(Method::PATCH, &target).header("content-type", "application/json").body(weight);
        assert_eq!(ask(&self.gateway, patch).await.status, 200);
        for _ in 0..20 {
            assert_eq!(self.gateway.get("/").await.text(), "alive");
        }
    }
}

#[tokio::test]
async fn a_rejected_reload_leaves_the_health_of_endpoints_alone() {
    let mut checked = Checked::start().await;
    let (address, _listener) = taken();
    let rejected = listening(&checked.without_health(""), &[address]);
    checked.gateway.reload(&rejected).await.unwrap_err();
    checked.is_as_it_was().await;
    // The same without the listener is accepted, and then nothing checks the endpoint any more.
    let accepted = checked.without_health("");
    checked.gateway.reload(&accepted).await.unwrap();
    assert_eq!(checked.unhealthy().await, 0);
    let fit = "gateway_upstream_endpoints{upstream=\"it\",state=\"healthy\"}";
    assert_eq!(metric(&checked.gateway, fit).await, 2);
}

#[tokio::test]
async fn a_rejected_apply_of_an_operator_leaves_the_health_of_endpoints_alone() {
    let checked = Checked::start().await;
    let (address, _listener) = taken();
    let rejected = listening(&checked.without_health(""), &[address]);
    let answer = ask(&checked.gateway, Request::put("/api/v1/config", rejected)).await;
    assert!(answer.text().contains(&address.to_string()), "{} {}", answer.status, answer.text());
    checked.is_as_it_was().await;
    let revisions = ask(&checked.gateway, Request::get("/api/v1/config/revisions")).await.json();
    assert_eq!(revisions.as_array().map(Vec::len), Some(1), "{revisions}");
    // To look at one changes nothing either.
    let valid = checked.without_health("");
    let answer = ask(&checked.gateway, Request::post("/api/v1/config/validate", valid)).await.json();
    assert_eq!(answer["valid"], true, "{answer}");
    checked.is_as_it_was().await;
}

#[tokio::test]
async fn a_plugin_that_fails_its_trial_and_a_certificate_that_cannot_be_read_change_nothing() {
    let mut checked = Checked::start().await;
    fs::write(checked.gateway.folder().join("naughty.wasm"), test_guests::naughty()).unwrap();
    fs::write(checked.gateway.folder().join("own.txt"), "whispered").unwrap();
    let plugin = format!(
        "{}plugins: {{ {} }}\nglobal-plugins: [{{ name: naughty, config: {{ do: panic, phase: configure }} }}]\n",
        guests::OWN,
        guests::naughty("")
    );
    let error = checked.gateway.reload(&checked.without_health(&plugin)).await.unwrap_err().to_string();
    assert!(error.contains("failed when configured"), "{error}");
    checked.is_as_it_was().await;
    assert!(!checked.gateway.folder().join("own.log").exists(), "a sink of the rejected configuration");

    let tls = "listeners: [{ address: '127.0.0.1:0', tls: { certificates: [{ cert: no.pem, key: no.key }] } }]";
    let certificate = checked.without_health("").replace("listeners: [{ address: '127.0.0.1:0' }]", tls);
    let error = checked.gateway.reload(&certificate).await.unwrap_err().to_string();
    assert!(error.contains("no.pem"), "{error}");
    checked.is_as_it_was().await;
}

#[tokio::test]
async fn a_rejected_reload_leaves_no_file_no_socket_and_no_series_behind() {
    let upstream = Upstream::named("it").await;
    let lines = |more: &str| {
        let sinks = format!(
            "sinks: {{ lines: {{ file: access.log }}{more} }}\nglobal-plugins: [{{ name: access-log, config: {{ sink: lines }} }}]\n"
        );
        to(upstream.address()).replace("upstreams: {", &format!("{sinks}upstreams: {{"))
    };
    let mut gateway = TestGateway::start(&lines("")).await;
    let path = |name: &str| gateway.folder().join(name);
    let (current, renamed, new) = (path("access.log"), path("access.log.1"), path("new.log"));
    let has = |path: &std::path::Path, text: &str| fs::read_to_string(path).is_ok_and(|lines| lines.contains(text));
    fs::rename(&current, &renamed).unwrap();

    let (address, _listener) = taken();
    let free = free_address();
    let more = lines(", late: { file: new.log }")
        .replace("upstreams: {", "upstreams: { other: { endpoints: ['http://127.0.0.1:9'] },");
    gateway.reload(&listening(&more, &[free, address])).await.unwrap_err();
    assert!(!new.exists(), "a file of a sink that was never configured");
    assert!(is_refused(free).await, "a listener that was never configured");
    let page = gateway.metrics().await;
    assert!(!page.contains("\"late\"") && !page.contains("\"other\""), "{page}");
    // Lines go where they went.
    assert_eq!(gateway.get("/after").await.status, 200);
    eventually("the line is in the file that was renamed", async || has(&renamed, "/after")).await;

    gateway.reload(&lines(", late: { file: new.log }")).await.unwrap();
    assert!(new.exists());
    assert_eq!(gateway.get("/accepted").await.status, 200);
    eventually("the line is in the new file", async || has(&current, "/accepted")).await;
}

#[tokio::test]
async fn a_rejected_reload_has_no_document_fetched_again() {
    let (upstream, key) = (Upstream::echo().await, Key::p256());
    let keys = json!({ "keys": [key.jwk("a")] }).to_string();
    let provider = Upstream::serving(move |_| std::future::ready(Answer::new(full(keys.clone())))).await;
    // An instance for each request, which asks for the document at once.
    let jwt = format!(
        "plugins: {{ jwt: {{ isolation: request, grants: {{ upstreams: [id] }} }} }}
global-plugins: [{{ name: jwt, config: {{ jwks-from: {{ upstream: id, path: /keys }} }} }}]
upstreams: {{ id: {{ endpoints: ['http://{}'] }}, ",
        provider.address()
    );
    let yaml = to(upstream.address()).replace("upstreams: { ", &jwt);
    let mut gateway = TestGateway::start(&yaml).await;
    let token = key.token("a", &json!({ "sub": "ada", "exp": now() + 3600 }));
    let bearer = || Request::get("/").header("authorization", &format!("Bearer {token}"));
    assert_eq!(gateway.send(bearer()).await.status, 200);
    assert_eq!(provider.requests(), 1);
    let (address, _listener) = taken();
    gateway.reload(&listening(&yaml, &[address])).await.unwrap_err();
    for _ in 0..10 {
        assert_eq!(gateway.send(bearer()).await.status, 200);
    }
    assert_eq!(provider.requests(), 1);
    // After one that is accepted the upstream may be another one, so it is asked again.
    gateway.reload(&yaml).await.unwrap();
    assert_eq!(gateway.send(bearer()).await.status, 200);
    eventually("the document being fetched again", async || provider.requests() == 2).await;
}

#[tokio::test]
async fn a_reload_while_a_worker_is_busy_ends_with_all_workers_on_the_new_configuration() {
    let head = "workers: 2\nlisteners: [{ address: '127.0.0.1:0' }]\nadmin: { address: '127.0.0.1:0' }\n";
    let old = format!(
        "{head}{own}plugins: {{ {naughty} }}
routes:
  - {{ name: bad, match: {{ path: /bad }}, respond: {{ status: 200, body: old }}, plugins: [{{ name: naughty, config: {{ do: loop }} }}] }}
  - {{ name: all, match: {{ path: /all }}, respond: {{ status: 200, body: old }} }}
",
        own = guests::OWN,
        naughty = guests::naughty("limits: { time: 5s }"),
    );
    let new =
        format!("{head}routes: [{{ name: all, match: {{ path: /all }}, respond: {{ status: 200, body: new }} }}]\n");
    let gateway = TestGateway::start_in(guests::folder(), &old).await;
    let mut bad = Client::connect(gateway.address()).await;
    let ended = Arc::<AtomicBool>::default();
    let bad = tokio::spawn({
        let ended = ended.clone();
        async move {
            let response = bad.send(Request::get("/bad")).await;
            ended.store(true, Ordering::SeqCst);
            response.status
        }
    });
    let busy = "gateway_wasm_instances_created_total{plugin=\"naughty\"}";
    eventually("a worker being held", async || metric(&gateway, busy).await == 1).await;

    let mut admin = Client::connect(gateway.admin()).await;
    let applied = tokio::spawn(async move { admin.send(Request::put("/api/v1/config", new)).await });
    eventually("the new configuration being in force", async || {
        let revisions = ask(&gateway, Request::get("/api/v1/config/revisions")).await.json();
        revisions[0]["id"] == 2 && revisions[0]["active"] == true
    })
    .await;
    assert!(!ended.load(Ordering::SeqCst), "it waited for the busy worker");

    assert_eq!(bad.await.unwrap(), 500);
    let applied = applied.await.unwrap();
    assert_eq!(applied.status, 200, "{}", applied.text());
    // New connections go to either worker.
    for _ in 0..40 {
        assert_eq!(gateway.get("/all").await.text(), "new");
    }
    assert_eq!(gateway.get("/bad").await.status, 404);
    let page = gateway.metrics().await;
    assert!(page.contains("gateway_config_reloads_total{result=\"ok\"} 1\n"), "{page}");
}

#[tokio::test]
async fn in_a_fresh_process_a_plugin_is_not_called_in_a_phase_that_its_configuration_leaves_out() {
    let upstream = Upstream::named("it").await;
    let transform =
        "global-plugins: [{ name: transform, config: { response: { set-headers: { x-set: 'yes' } } } }]\nupstreams: {";
    let gateway = TestGateway::start(&to(upstream.address()).replace("upstreams: {", transform)).await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.header("x-set"), "yes");
    }
    let calls = async |phase: &str| {
        let labels = [("plugin", "transform"), ("phase", phase)];
        gateway.metric("gateway_wasm_calls_total", &labels).await.unwrap_or_default()
    };
    assert_eq!([calls("request").await, calls("response").await, calls("complete").await], [0, 10, 0]);
}

#[tokio::test]
async fn a_plugin_is_tried_once_for_each_configuration_that_is_loaded() {
    let upstream = Upstream::named("it").await;
    let yaml = |text: &str| {
        let plugins = format!(
            "{own}plugins: {{ {naughty} }}
global-plugins: [{{ name: naughty, config: {{ do: log, phase: configure, with: {text} }} }}]
upstreams: {{",
            own = guests::OWN,
            naughty = guests::naughty(""),
        );
        to(upstream.address()).replace("upstreams: {", &plugins)
    };
    let mut gateway = Running::start_with(&to(upstream.address()), &["--no-watch"]).await;
    fs::write(gateway.folder.path().join("naughty.wasm"), test_guests::naughty()).unwrap();
    fs::write(gateway.folder.path().join("own.txt"), "whispered").unwrap();
    fs::write(&gateway.file, yaml("tried-now")).unwrap();
    gateway.process.signal("HUP");
    gateway.process.logged("configuration reloaded").await;
    assert_eq!(gateway.process.log().matches("tried-now").count(), 1, "{}", gateway.process.log());
}
