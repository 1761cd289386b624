//! The configurations in `examples/`: they run as they are, but for their addresses, and do what they say.

use std::{fs, path::Path};

use http::Method;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

use crate::support::{
    Authority, Client, TestGateway, Upstream, client::Request, eventually, redis::Redis, upstream::full,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(FOLDER).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// An example's text, on ports that the system chooses and before this upstream.
fn example(name: &str, upstream: &Upstream) -> String {
    rehomed(&read(name), upstream)
}

fn rehomed(text: &str, upstream: &Upstream) -> String {
    let upstream = upstream.address().to_string();
    let any_port = "127.0.0.1:0";
    [
        ("127.0.0.1:8080", any_port),
        ("127.0.0.1:8443", any_port),
        ("127.0.0.1:9900", any_port),
        ("127.0.0.1:9001", &upstream),
    ]
    .iter()
    .fold(text.to_owned(), |text, (typed, here)| text.replace(typed, here))
}

/// The tokens in the command lines of an example's head, as the header that carries them.
fn tokens(name: &str) -> Vec<String> {
    read(name).lines().filter_map(|line| Some(format!("Bearer {}", line.trim().split_once("TOKEN=")?.1))).collect()
}

#[tokio::test]
async fn minimal_yaml_passes_everything_on() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&example("minimal.yaml", &upstream)).await;
    let response = gateway.get("/anything?a=1").await;
    assert_eq!(response.json()["target"], "/anything?a=1");
    assert_eq!(gateway.get("/../x").await.status, 400);
}

#[tokio::test]
async fn cache_yaml_keeps_what_is_the_same_for_everyone() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&example("cache.yaml", &upstream)).await;
    for (target, kept) in [("/catalogue/1?utm_source=a", true), ("/basket", false)] {
        gateway.get(target).await;
        let again = gateway.get(target.split('?').next().unwrap()).await;
        assert_eq!(again.header("cache-status").contains("; hit; "), kept, "{target}: {:?}", again.headers);
    }
}

#[tokio::test]
async fn redis_yaml_has_gateways_count_together() {
    let redis = Redis::start().await;
    let upstream = Upstream::echo().await;
    let text = example("redis.yaml", &upstream).replace("redis://127.0.0.1:6379 ", &format!("{} ", redis.url()));
    let text = text.replace("timeout: 50ms", "timeout: 5s");
    let gateways = [TestGateway::start(&text).await, TestGateway::start(&text).await];
    for gateway in &gateways {
        // Until it is connected it counts for itself.
        eventually("the state being in Redis", async || {
            redis.ask("FLUSHALL").await;
            gateway.get("/search").await;
            redis.ask("DBSIZE").await == ":2"
        })
        .await;
    }
    redis.ask("FLUSHALL").await;
    let mut statuses = Vec::new();
    for gateway in gateways.iter().chain(&gateways) {
        statuses.push(gateway.get("/search").await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[tokio::test]
async fn routing_yaml_sends_each_request_where_it_says() {
    let upstream = Upstream::echo().await;
    let second = Upstream::echo().await;
    let text = example("routing.yaml", &upstream).replace("127.0.0.1:9002", &second.address().to_string());
    let gateway = TestGateway::start(&text).await;
    let request = |method: &str, target: &str| Request::new(Method::from_bytes(method.as_bytes()).unwrap(), target);
    for (request, route) in [
        (request("GET", "/"), "fallback"),
        (request("GET", "/users"), "users"),
        (request("GET", "/users/7"), "user"),
        (request("GET", "/users/me"), "myself"),
        (request("GET", "/users/7/orders/2026/05"), "user-orders"),
        (request("GET", "/users/7/orders"), "user-orders"),
        (request("POST", "/users/7"), "fallback"),
        (request("GET", "/users/7").header("x-api-version", "2"), "user-v2"),
        (request("GET", "/users?beta=true"), "users-beta"),
        (request("GET", "/users").header("host", "shop.example.com"), "shop"),
        (request("GET", "/").header("host", "a.b.example.com"), "tenants"),
    ] {
        let response = gateway.send(request).await;
        assert_eq!(response.header("x-route"), route);
        assert_eq!(response.status, 200, "{route}");
    }
    let seen = gateway.get("/users/7").await.json();
    assert!(seen["headers"].as_array().unwrap().contains(&serde_json::json!(["x-user-id", "7"])));
    let refused = gateway.send(request("DELETE", "/users/7")).await;
    assert_eq!(refused.status, 405);
    assert_eq!(refused.header("allow"), "GET, HEAD, POST");
}

#[tokio::test]
async fn tls_yaml_chooses_the_certificate_by_name() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("certs")).unwrap();
    let mut certificates = Vec::new();
    for name in ["api", "shop"] {
        let host = format!("{name}.example.com");
        let made = rcgen::generate_simple_self_signed([host.clone()]).unwrap();
        fs::write(folder.path().join(format!("certs/{name}.pem")), made.cert.pem()).unwrap();
        fs::write(folder.path().join(format!("certs/{name}.key")), made.signing_key.serialize_pem()).unwrap();
        certificates.push((host, made.cert));
    }
    let gateway = TestGateway::start_in(folder, &example("tls.yaml", &upstream)).await;
    let [plain, tls] = gateway.addresses()[..] else { panic!("two listeners") };
    for (host, certificate) in certificates {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let mut client = Client::connect_tls(tls, &host, config).await.unwrap();
        assert_eq!(client.send(Request::get("/")).await.status, 200, "{host}");
    }
    assert_eq!(Client::connect(plain).await.send(Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn data_grants_yaml_keeps_credentials_from_a_plugin() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&example("data-grants.yaml", &upstream)).await;
    let request = Request::get("/orders").header("authorization", "Bearer secret").header("x-acme-site", "berlin");
    let response = gateway.send(request).await;
    assert_eq!(response.upstream_saw("authorization"), ["Bearer secret"]);
    assert_eq!(response.upstream_saw("x-acme-seen"), ["berlin/nothing"]);
    let denied = [("plugin", "acme"), ("data", "request-headers"), ("access", "read")];
    assert!(gateway.metric("gateway_wasm_data_denied_total", &denied).await > Some(0));
}

#[tokio::test]
async fn five_plugins_yaml_logs_checks_counts_and_transforms() {
    let upstream = Upstream::echo().await;
    let text = example("five-plugins.yaml", &upstream).replace("access: stdout", "access: { file: access.log }");
    let gateway = TestGateway::start(&text).await;
    assert_eq!(gateway.get("/api/orders/7").await.status, 401);
    assert_eq!(upstream.requests(), 0);

    let token = tokens("five-plugins.yaml").remove(0);
    let order = || Request::get("/api/orders/7").header("authorization", &token).header("x-debug", "1");
    let response = gateway.send(order()).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-served-by"), "gateway");
    assert_eq!(response.header("ratelimit-policy"), r#""default";q=30;w=60"#);
    assert!(response.header("ratelimit").starts_with(r#""default";r=4;t="#), "{:?}", response.headers);
    let seen = response.json();
    assert_eq!(seen["target"], "/v2/orders/7");
    let headers = seen["headers"].as_array().unwrap();
    assert!(headers.contains(&serde_json::json!(["x-user", "anna"])));
    assert!(!headers.iter().any(|header| header[0] == "authorization" || header[0] == "x-debug"));

    let mut sent = 2;
    let refused = loop {
        sent += 1;
        let response = gateway.send(order()).await;
        if response.status != 200 || sent > 50 {
            break response;
        }
    };
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
    let log = gateway.folder().join("access.log");
    eventually("a line for each request", async || {
        fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == sent)
    })
    .await;
    assert!(fs::read_to_string(&log).unwrap().contains(r#""status":429"#));
}

#[tokio::test]
async fn trusted_proxies_yaml_finds_the_client() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&example("trusted-proxies.yaml", &upstream)).await;
    for (forwarded, client) in [
        (None, "127.0.0.1"),
        (Some("203.0.113.7"), "203.0.113.7"),
        (Some("1.2.3.4, 203.0.113.8, 10.0.0.9"), "203.0.113.8"),
    ] {
        let request = forwarded.iter().fold(Request::get("/"), |request, list| request.header("x-forwarded-for", list));
        let response = gateway.send(request).await;
        assert_eq!(response.header("x-client"), client);
        assert!(response.header("ratelimit").starts_with(r#""default";r=9;"#), "{client} counts for itself");
    }
}

#[tokio::test]
async fn limits_and_timeouts_yaml_refuses_what_is_too_much() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&example("limits-and-timeouts.yaml", &upstream)).await;
    assert_eq!(gateway.get(&format!("/{}", "a".repeat(3000))).await.status, 414);
    assert_eq!(gateway.send(Request::get("/").header("x-long", &"a".repeat(20_000))).await.status, 431);
    assert_eq!(gateway.send(Request::post("/", vec![0; 100_000])).await.status, 413);
    assert_eq!(gateway.send(Request::post("/uploads/a", vec![0; 100_000])).await.status, 200);
    assert_eq!(gateway.get("/a%2Fb").await.status, 400);
    assert!(gateway.metrics().await.contains("gateway_requests_total"));
}

#[tokio::test]
async fn resilience_yaml_loses_no_request_to_the_endpoint_that_is_down() {
    let upstream = Upstream::echo().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = example("resilience.yaml", &upstream).replace("127.0.0.1:9002", &nobody.to_string());
    let gateway = TestGateway::start(&text).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    eventually("the one that is down being found out", async || {
        gateway.metrics().await.contains("gateway_upstream_endpoints{upstream=\"users\",state=\"healthy\"} 1")
    })
    .await;
}

#[tokio::test]
async fn canary_yaml_splits_redirects_and_answers() {
    let (stable, canary) = (Upstream::named("stable").await, Upstream::named("canary").await);
    let text = example("canary.yaml", &stable).replace("127.0.0.1:9002", &canary.address().to_string());
    let gateway = TestGateway::start(&text).await;
    let mut client = Client::connect(gateway.address()).await;
    for _ in 0..500 {
        assert_eq!(client.send(Request::get("/")).await.status, 200);
    }
    let share = canary.requests();
    assert!((15..=110).contains(&share), "{share} of 500, and not about 50");
    let moved = client.send(Request::get("/old/page?id=7").header("host", "www.example")).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "http://www.example/new/page?id=7"));
    let robots = client.send(Request::get("/robots.txt")).await;
    assert_eq!((robots.text().as_str(), robots.header("content-type")), ("User-agent: *\nDisallow: /\n", "text/plain"));
    assert_eq!(client.send(Request::new(Method::HEAD, "/robots.txt")).await.text(), "");
    assert_eq!(stable.requests() + canary.requests(), 500);
}

#[tokio::test]
async fn secrets_yaml_keeps_the_keys_of_two_issuers_apart() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("keys")).unwrap();
    let jwks = "keys/partner-jwks.json";
    fs::copy(Path::new(FOLDER).join(jwks), folder.path().join(jwks)).unwrap();
    // A test cannot set variables: other tests run in the same process.
    fs::write(folder.path().join("secret"), "an example secret that everybody knows\n").unwrap();
    let text = without_environment(&example("secrets.yaml", &upstream));
    let gateway = TestGateway::start_in(folder, &text).await;

    let [anna, ben] = &tokens("secrets.yaml")[..] else { panic!("two tokens") };
    let get = |target: &str, token: &str| Request::get(target).header("authorization", token);
    assert_eq!(gateway.send(get("/orders", anna)).await.status, 200);
    assert_eq!(gateway.send(get("/partner/orders", ben)).await.status, 200);
    assert_eq!(gateway.send(get("/orders", ben)).await.status, 401);
    assert_eq!(gateway.send(get("/partner/orders", anna)).await.status, 401);
}

#[tokio::test]
async fn identity_provider_yaml_believes_the_keys_that_are_published() {
    let upstream = Upstream::echo().await;
    let jwks = fs::read_to_string(Path::new(FOLDER).join("keys/partner-jwks.json")).unwrap();
    let provider = Upstream::serving(move |_| {
        let answer = http::Response::new(full(jwks.clone()));
        async move { answer }
    })
    .await;
    let text = example("identity-provider.yaml", &upstream).replace("127.0.0.1:9002", &provider.address().to_string());
    let gateway = TestGateway::start(&text).await;
    assert_eq!(gateway.get("/orders").await.status, 401);
    let preflight = Request::new(Method::OPTIONS, "/orders")
        .header("origin", "https://shop.example.com")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization");
    assert_eq!(gateway.send(preflight).await.header("access-control-allow-origin"), "https://shop.example.com");
    for token in [&tokens("identity-provider.yaml")[0]; 3] {
        let response = gateway.send(Request::get("/orders").header("authorization", token)).await;
        assert_eq!(response.upstream_saw("x-user"), ["ben"], "{}", response.text());
    }
    assert_eq!(provider.requests(), 1);
}

#[tokio::test]
async fn plugins_hello_rust_gateway_yaml_knows_its_clients() {
    let upstream = Upstream::echo().await;
    let text = example("plugins/hello-rust/gateway.yaml", &upstream);
    let component = text.lines().find_map(|line| line.trim().strip_prefix("component: ")).unwrap().to_owned();
    let folder: TempDir = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hello.wasm"), test_guests::hello()).unwrap();
    let gateway = TestGateway::start_in(folder, &text.replace(&component, "hello.wasm")).await;

    let stranger = gateway.get("/").await;
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.header("content-type"), "application/problem+json");
    let known = gateway.send(Request::get("/").header("x-api-key", "k-123")).await;
    assert!(known.json()["headers"].as_array().unwrap().contains(&serde_json::json!(["x-client", "anna"])));
}

#[tokio::test]
async fn the_readmes_of_plugins_show_configurations_that_run() {
    let upstream = Upstream::echo().await;
    for entry in fs::read_dir(Path::new(FOLDER).join("../plugins")).unwrap() {
        let readme = entry.unwrap().path().join("README.md");
        let name = readme.display().to_string();
        let text = fs::read_to_string(&readme).unwrap_or_else(|error| panic!("{name}: {error}"));
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let mut complete = blocks.filter(|block| block.contains("listeners:")).peekable();
        assert!(complete.peek().is_some(), "{name} shows no whole configuration");
        for block in complete {
            let folder = tempfile::tempdir().unwrap();
            // With the 32 bytes of a key.
            fs::write(folder.path().join("secret"), "an example secret, known to all.").unwrap();
            for file in ["bookstore.binpb", "calculator.thrift"] {
                fs::copy(Path::new(FOLDER).join(file), folder.path().join(file)).unwrap();
            }
            let started = TestGateway::try_start_in(folder, &without_environment(&rehomed(block, &upstream))).await;
            assert!(started.is_ok(), "{name}:\n{}", started.err().unwrap());
        }
    }
}

/// Secrets come from a file instead.
fn without_environment(text: &str) -> String {
    let line = |line: &str| match line
        .split_once("{ env: ")
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        Some((before, (_, after))) => format!("{before}{{ file: secret }}{after}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn client_certificates_yaml_lets_our_clients_in_and_says_who_they_are() {
    let (server, clients, upstream) = (Authority::new(), Authority::new(), Upstream::echo().await);
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).unwrap();
    server.issue(&certs, "api", &["api.example.com"]);
    clients.write(&certs.join("clients.pem"));
    let gateway = TestGateway::start_in(folder, &example("client-certificates.yaml", &upstream)).await;
    let anna = clients.identify("anna", Vec::new());
    let config = server.client_as(Some(&anna), &["h2"], rustls::ALL_VERSIONS);
    let mut client = Client::connect_tls(gateway.address(), "api.example.com", config).await.unwrap();
    let response = client.send(Request::get("/").header("x-client-email", "forged@acme.example")).await;
    assert_eq!(response.upstream_saw("x-client"), ["CN=anna"]);
    assert_eq!(response.upstream_saw("x-client-email"), [""; 0]);
}

#[tokio::test]
async fn proxy_protocol_yaml_believes_its_balancer() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&example("proxy-protocol.yaml", &upstream)).await;
    let get = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = gateway.raw(format!("PROXY TCP4 203.0.113.7 127.0.0.1 4000 8080\r\n{get}").as_bytes()).await;
    assert!(answer.contains("x-client: 203.0.113.7\r\n"), "{answer}");
    assert_eq!(gateway.raw(get.as_bytes()).await, "");
}
