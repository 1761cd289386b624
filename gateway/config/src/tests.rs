//! Whole files, good and bad. `tests/config/mistakes` holds one file for each kind of mistake and beside it
//! what the gateway says about it; `UPDATE_EXPECT=1` writes that anew.

use std::{env, fs, net::SocketAddr, path::PathBuf, time::Duration};

use gateway_core::model::*;
use http::{HeaderName, HeaderValue};
use serde_json::json;

use crate::{testing::Fake, *};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/config").join(name)
}

fn load(path: &std::path::Path) -> Result<Checked, Problems> {
    super::load(path, &mut Fake::standard())
}

fn good(name: &str) -> Config {
    load(&folder("good").join(name)).unwrap_or_else(|problems| panic!("{problems}")).config
}

/// A configuration with these routes, and what was asked of the catalog.
fn with_routes(routes: &str) -> (Result<Checked, Problems>, Fake) {
    with_routes_and(routes, Fake::standard())
}

fn with_routes_and(routes: &str, mut catalog: Fake) -> (Result<Checked, Problems>, Fake) {
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:8080 }}]\nupstreams: {{ users: {{ endpoints: [http://127.0.0.1:9001] }} }}\n\
         routes:\n{routes}"
    );
    (check(&text, std::path::Path::new("gateway.yaml"), &mut catalog), catalog)
}

#[test]
fn every_mistake_is_answered_as_its_file_says() {
    let folder = folder("mistakes");
    let update = env::var_os("UPDATE_EXPECT").is_some();
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 40, "only {} mistakes", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let problems = load(&file).expect_err(&name);
        let here = format!("{}/", folder.display());
        let said = format!("{}\n", problems.to_string().replace(&here, ""));
        let expected_in = file.with_extension("txt");
        if update {
            fs::write(&expected_in, &said).unwrap();
        } else if fs::read_to_string(&expected_in).ok().as_deref() != Some(&said) {
            wrong.push(format!("{name}: said\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_EXPECT=1 accepts these:\n{}", wrong.join("\n"));
}

#[test]
fn the_smallest_file_has_all_the_defaults() {
    let config = good("smallest.yaml");
    assert!(config.workers >= 1);
    let mib = 1024 * 1024;
    let limits = Limits {
        header_bytes: 65_536,
        header_count: 100,
        uri_bytes: 16_384,
        body_bytes: 10 * mib,
        buffer_bytes: mib as usize,
        cache_bytes: 128 * mib,
        store_bytes: 256 << 20,
        plugin_instances: None,
        plugin_memory: None,
        connections: 16_384,
        max_concurrent_streams: 128,
    };
    assert_eq!(config.limits, limits);
    let secs = Duration::from_secs;
    let timeouts = Timeouts {
        header_read: secs(10),
        idle: secs(75),
        request: RequestTimeout { limit: Some(secs(60)), is_default: true },
        body: secs(60),
        upgrade_idle: secs(300),
        initial_fetch: secs(5),
        drain_delay: secs(5),
        drain: secs(30),
    };
    assert_eq!(config.timeouts, timeouts);
    assert_eq!(config.routes[0].paths, PathRule::default());
    assert_eq!((config.log.format, config.log.level.as_str()), (LogFormat::Text, "info"));
    let upstream = &config.upstreams["users"];
    assert_eq!((upstream.timeouts.connect, upstream.timeouts.idle), (secs(5), secs(60)));
    assert_eq!((upstream.idle_connections, upstream.host), (256, HostHeader::Preserve));
    assert_eq!(upstream.balance, Balance::RoundRobin);
    assert_eq!(upstream.health, Health { active: None, passive: None, panic_threshold: Percent(30) });
    assert_eq!(config.dns.servers, []);
    let route = &config.routes[0];
    assert_eq!(route.matches.path.segments, [Segment::Rest("rest".to_owned())]);
    assert_eq!((route.body_bytes, route.buffer_bytes, route.timeout.limit), (10 * mib, mib as usize, Some(secs(60))));
}

#[test]
fn everything_that_can_be_set_arrives() {
    let config = good("everything.yaml");
    assert_eq!(config.workers, 2);
    assert_eq!(config.listeners[0].address.port(), 0);
    let tls = config.listeners[1].tls.as_ref().unwrap();
    assert_eq!(tls.min_version, TlsVersion::Tls13);
    assert_eq!(tls.certificates[0].cert, folder("good").join("../files/a.pem"));
    let clients = tls.client_certificates.as_ref().unwrap();
    assert_eq!(
        (&clients.ca[..], clients.mode),
        (&[folder("good").join("../files/a.pem")][..], ClientCertificateMode::Optional)
    );
    let proxies = config.listeners[1].proxy_protocol.as_ref().unwrap();
    assert_eq!((proxies.from.len(), proxies.mode), (2, ProxyHeaderMode::Optional));
    assert!(proxies.trusts("::ffff:10.1.2.3".parse().unwrap()) && !proxies.trusts("192.0.2.1".parse().unwrap()));
    assert_eq!(config.admin.unwrap().address, SocketAddr::from(([127, 0, 0, 1], 9900)));
    assert_eq!(config.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert_eq!(config.limits.buffer_bytes, 65_536);
    assert_eq!((config.limits.plugin_memory, config.limits.plugin_instances), (Some(512 << 20), Some(100)));
    assert_eq!(config.timeouts.initial_fetch, Duration::ZERO);
    let configured = |limit| RequestTimeout { limit, is_default: false };
    assert_eq!(config.timeouts.request, configured(Some(Duration::from_millis(500))));
    assert_eq!(config.secrets["TOKEN"], SecretSource::Env("PATH".to_owned()));
    assert_eq!(config.sinks["err"], SinkTarget::Stderr);
    let rotated = Some(Rotation { size: 1 << 20, keep: 9 });
    let audit = SinkTarget::File { path: folder("good").join("../files/audit.log"), rotate: rotated };
    assert_eq!(config.sinks["audit"], audit);
    assert_eq!(config.upstreams["users"].endpoints[1].weight, 2);
    assert_eq!(config.upstreams["orders"].tls.server_name.as_deref(), Some("orders.example"));

    let route = &config.routes[0];
    let hosts = [HostPattern::Exact("b.example".into()), HostPattern::Suffix("a.example".into())];
    assert_eq!(route.matches.hosts, hosts);
    assert_eq!(route.matches.methods, ["GET", "POST"]);
    let headers: Vec<_> = route.matches.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(headers, ["x-a", "x-b"]);
    assert_eq!(
        (route.body_bytes, route.buffer_bytes, route.timeout),
        (5, 1024, configured(Some(Duration::from_secs(3))))
    );
    assert_eq!(config.routes[1].timeout, configured(None));
}

#[test]
fn what_is_said_of_upstreams_arrives() {
    let config = good("everything.yaml");
    let secs = Duration::from_secs;
    assert_eq!(config.dns.servers, ["10.0.0.2:53".parse().unwrap(), "[::1]:5353".parse().unwrap()]);
    let users = &config.upstreams["users"];
    assert_eq!(users.balance, Balance::Hash(HashKey::Header("x-user".parse().unwrap())));
    let active = ActiveHealth {
        path: Some(CheckPath("/healthz?deep=1".parse().unwrap())),
        headers: CheckHeaders(
            [("host", "users.example"), ("x-check", "1")]
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .into_iter()
                .collect(),
        ),
        expect: vec![StatusRange { first: 200, last: 200 }, StatusRange { first: 300, last: 399 }],
        interval: secs(2),
        timeout: Duration::from_millis(500),
        unhealthy_after: 1,
        healthy_after: 4,
        ..ActiveHealth::default()
    };
    let passive = PassiveHealth {
        consecutive_failures: 7,
        failure_rate: Some(Percent(50)),
        minimum_requests: 3,
        window: secs(60),
        ejection_time: secs(10),
        max_ejection_time: secs(120),
        max_ejected: Percent(20),
    };
    let health = Health { active: Some(active), passive: Some(passive), panic_threshold: Percent(0) };
    assert_eq!(users.health, health);
    let on = RetryOn { connect_failure: false, reset: true, timeout: true, statuses: vec![429, 503] };
    let retry = Retry {
        attempts: 3,
        on,
        budget: Percent(10),
        min_retries_per_second: 0,
        backoff: secs(1),
        max_backoff: secs(1),
    };
    assert_eq!(users.retry, Some(retry));
    let breaker = CircuitBreaker {
        failure_rate: Percent(20),
        minimum_requests: 7,
        window: secs(30),
        open_duration: secs(2),
        half_open_requests: 1,
    };
    assert_eq!(users.circuit_breaker, Some(breaker));
    assert_eq!(users.limits, UpstreamLimits { connections: Some(10), pending: 0, requests: Some(100) });
    assert_eq!((users.timeouts.response, users.timeouts.body), (Some(secs(2)), Some(secs(3))));
    assert_eq!(config.routes[0].total_timeout, Some(secs(60)));
    let orders = &config.upstreams["orders"];
    assert_eq!((&orders.retry, &orders.circuit_breaker, orders.timeouts.response), (&None, &None, None));
    assert_eq!(orders.balance, Balance::LeastRequest);
    let shown = orders.tls.certificate.as_ref().unwrap();
    assert_eq!((&shown.key, orders.tls.verify), (&folder("good").join("../files/a.key"), true));
    assert_eq!(orders.health.passive.as_ref().unwrap().consecutive_failures, 5);
    assert_eq!(orders.health.panic_threshold, Percent(30));
}

#[test]
fn what_a_route_does_arrives() {
    let config = good("everything.yaml");
    let route = |name: &str| config.routes.iter().find(|route| &*route.name == name).unwrap();
    let Action::Split(parts) = &route("split").action else { panic!("no split") };
    let parts: Vec<_> = parts.iter().map(|(upstream, weight)| (&*upstream.name, *weight)).collect();
    assert_eq!(parts, [("users", 9), ("orders", 1)]);
    let away = Redirect {
        port: None,
        scheme: Some("https"),
        authority: Some("www.example:444".parse().unwrap()),
        path: Some("/x".parse().unwrap()),
        status: http::StatusCode::MOVED_PERMANENTLY,
    };
    assert_eq!(route("away").action, Action::Redirect(away));
    let general = PathRule {
        encoded_slashes: EncodedSlashes::Decode,
        merge_slashes: false,
        matrix_parameters: MatrixParameters::Keep,
    };
    assert_eq!(route("answer").paths, general);
    let own = PathRule { encoded_slashes: EncodedSlashes::Keep, merge_slashes: true, ..general };
    assert_eq!(route("away").paths, own);
    let Action::Respond(respond) = &route("answer").action else { panic!("no answer") };
    assert_eq!((respond.status.as_u16(), &respond.body[..]), (404, &b"gone"[..]));
    assert_eq!(respond.headers["x-a"], "b");
}

#[test]
fn plugins_have_the_grants_that_the_file_gives_them() {
    let config = good("everything.yaml");
    let names: Vec<_> = config.plugins.keys().map(String::as_str).collect();
    assert_eq!(names, ["access-log", "geo", "rate-limit", "strict-jwt"], "only those that are used");
    let geo = &config.plugins["geo"];
    assert!(geo.grants.store.allows("geo") && !geo.grants.store.allows("other"));
    assert_eq!((geo.limits.memory, geo.limits.max_calls, geo.isolation), (32 << 20, 0, Isolation::Request));
    let jwt = &config.plugins["strict-jwt"];
    assert_eq!(jwt.component, ComponentSource::Builtin("jwt".to_owned()));
    assert_eq!((&jwt.grants.store, &jwt.grants.sinks), (&Names::All, &Names::All));
    assert!(jwt.grants.secrets.allows("OTHER") && jwt.grants.upstreams.is_empty());
    assert!(jwt.grants.allows_use("OTHER") && jwt.grants.allows_use("TOKEN") && !jwt.grants.allows_use("others"));
    assert!(!jwt.grants.secrets.allows("TOKEN"), "what can be used cannot be read");
    assert!(geo.grants.secrets.allows("TOKEN") && geo.grants.allows_use("TOKEN") && !geo.grants.allows_use("OTHER"));
    assert_eq!(config.plugins["rate-limit"].limits.time, Duration::from_millis(5));
    assert_eq!(config.plugins["access-log"].limits.time, Duration::from_millis(50));
    let uses: Vec<_> = config.routes[0].plugins.iter().map(|u| (&*u.plugin.name, u.on_error)).collect();
    let fail = OnError::Fail;
    assert_eq!(uses, [("geo", OnError::Skip), ("strict-jwt", fail), ("rate-limit", fail), ("access-log", fail)]);
}

#[test]
fn the_same_use_of_a_plugin_is_asked_about_once_and_shared() {
    let routes: String = (0..50)
        .map(|i| format!("  - {{ name: r{i}, match: {{ path: /{i} }}, upstream: users, plugins: [access-log] }}\n"))
        .collect();
    let (config, catalog) = with_routes(&routes);
    let config = config.unwrap().config;
    assert_eq!(catalog.asked, 1);
    assert!(std::sync::Arc::ptr_eq(&config.routes[0].plugins[0], &config.routes[49].plugins[0]));
    assert_eq!(config.routes[0].plugins[0].config, json!({}));
}

#[test]
fn ten_thousand_routes_are_checked_in_reasonable_time() {
    let routes: String = (0..10_000)
        .map(|i| {
            format!(
                "  - {{ name: r{i}, match: {{ path: \"/a/{{id}}/{i}\" }}, upstream: users, plugins: [access-log] }}\n"
            )
        })
        .collect();
    assert_eq!(with_routes(&routes).0.unwrap().config.routes.len(), 10_000);
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_without_a_place() {
    let problems = load(&folder("mistakes").join("there-is-no-such.yaml")).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems.iter().all(|problem| problem.location.is_none()));
    assert!(problems.to_string().contains("there is no such file"), "{problems}");
}

#[test]
fn every_good_file_fits_the_schema_for_editors() {
    let schema = schema(&mut Fake::standard()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for entry in fs::read_dir(folder("good")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let json = super::yaml::parse(&text).unwrap().to_json();
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

fn warnings(plugins: &str, more: &str) -> Vec<String> {
    let route = format!("- {{ name: a, match: {{ path: /a{more} }}, upstream: users, plugins: {plugins} }}\n");
    with_routes_and(&route, Fake::ordered())
        .0
        .unwrap_or_else(|problems| panic!("{problems}"))
        .warnings
        .lines()
        .collect()
}

#[test]
fn an_order_that_makes_no_sense_is_warned_of_with_its_place_and_cure() {
    const JWT: &str = "{ name: jwt, config: { issuer: a } }";
    for (plugins, more, expected) in [
        (
            format!("[cache, {JWT}]"),
            "",
            "`cache` stands before `jwt`: what is stored is given without asking `jwt`, and responses to clients that it \
             identifies are not stored; put it after",
        ),
        ("[cache, acl]".into(), "", "`cache` stands before `acl`"),
        ("[{ name: acl, on-error: skip }]".into(), "", "`acl` has `on-error: skip`"),
        (format!("[{JWT}, cors]"), "", "`cors` stands after `jwt`: browsers send preflights without credentials"),
        (
            "[cors]".into(),
            ", methods: [GET, POST]",
            "`cors` never sees a preflight: the route's `methods` lack OPTIONS; add it",
        ),
        ("[acl, basic-auth]".into(), "", "`acl` stands before `basic-auth`: nobody is known yet; put it after"),
        (
            format!("[{{ name: access-log, config: {{ key: {{ attribute: jwt.sub }} }} }}, {JWT}]"),
            "",
            "`access-log` stands before `jwt`, so the attribute `jwt.sub` is not there yet; put it after",
        ),
        (
            format!("[{{ name: cors, config: {{ a: ['x {{attribute.jwt.iss|none}}'] }} }}, {JWT}]"),
            "",
            "so the attribute `jwt.iss` is not there yet",
        ),
    ] {
        let found = warnings(&plugins, more);
        assert_eq!(found.len(), 1, "{plugins}: {found:?}");
        assert!(found[0].starts_with("gateway.yaml:4:"), "{}", found[0]);
        assert!(found[0].contains(expected), "{}", found[0]);
    }
}

#[test]
fn an_order_that_makes_sense_is_not_warned_of() {
    const JWT: &str = "{ name: jwt, config: { issuer: a } }";
    for (plugins, more) in [
        (format!("[cors, {JWT}, acl, cache]"), ""),
        ("[cors]".into(), ", methods: [GET, OPTIONS]"),
        ("[acl]".into(), ""),
        (format!("[{JWT}, {{ name: access-log, config: {{ key: {{ attribute: jwt.sub }} }} }}, {JWT}]"), ""),
        (format!("[{{ name: access-log, config: {{ response: {{ x: '{{attribute.jwt.sub}}' }} }} }}, {JWT}]"), ""),
        (format!("[{{ name: access-log, config: {{ key: {{ attribute: mine.sub }} }} }}, {JWT}]"), ""),
    ] {
        assert_eq!(warnings(&plugins, more), [""; 0], "{plugins}");
    }
}

#[test]
fn what_a_transform_takes_from_clients_past_the_cache_is_warned_of() {
    let transform = |edits: &str| format!("{{ name: transform, config: {{ request: {{ {edits} }} }} }}");
    let cache = |key: &str| format!("{{ name: cache, config: {{ key: {{ {key} }} }} }}");
    let set = |template: &str| transform(&format!("set-headers: {{ x-a: '{template}' }}"));
    let found = |plugins: &[String]| warnings(&format!("[{}]", plugins.join(", ")), "");
    for (plugins, expected) in [
        (
            vec![set("{header.accept-language|de}"), cache("")],
            "`transform` fills the header `x-a` from `{header.accept-language}`, which is not in the key of `cache`: a response that is \
             chosen by it is given to other clients; add `x-a` to `key.headers`",
        ),
        (vec![cache("headers: [x-a]"), set("{client.address}")], "put `transform` before `cache`, and `x-a` into"),
        (vec![set("a {{b}} {attribute.plan}"), cache("headers: [x-b]")], "from `{attribute.plan}`"),
        (vec![transform("append-headers: { x-a: '{header.cookie}' }"), cache("cookies: [a]")], "add `x-a`"),
        (vec![set("{query.lang}"), cache("query: { except: [lang] }")], "from `{query.lang}`"),
        (vec![set("{query.lang}"), transform("query: { remove: [lang] }"), cache("")], "from `{query.lang}`"),
        (vec![transform("set-headers: { x-a: '{path.id}' }, path: { rewrite: /b }"), cache("")], "from `{path.id}`"),
        (vec![set("{authority}"), cache("host: false")], "from `{authority}`"),
        (vec![cache(""), transform("query: { set: { lang: '{header.x-lang}' } }")], "fills the target"),
        (vec![cache(""), transform("path: { rewrite: '/{header.x-lang}' }")], "fills the target"),
        (vec![cache(""), transform("set-headers: { authorization: 'Bearer {header.x-token}' }")], "before `cache`"),
    ] {
        let found = found(&plugins);
        assert_eq!(found.len(), 1, "{plugins:?}: {found:?}");
        assert!(found[0].starts_with("gateway.yaml:4:") && found[0].contains(expected), "{}", found[0]);
    }
    for plugins in [
        vec![set("{header.accept-language}"), cache("headers: [X-A]")],
        vec![set("{header.x-lang}"), cache("headers: [x-lang]")],
        vec![cache("headers: [x-lang]"), set("{header.x-lang}")],
        vec![set("a {{header.x}} {request.id} {method} {route}"), cache("")],
        vec![set("{query.lang} {path} {path.id} {scheme} {authority} {original-target}"), cache("")],
        vec![set("{query.lang}"), cache("query: { only: [lang] }")],
        vec![set("{header.authorization} {attribute.jwt.sub} {attribute.tls.client.fingerprint}"), cache("")],
        vec![transform("set-headers: { authorization: 'Bearer {header.x-token}' }"), cache("")],
        vec![transform("path: { rewrite: '/{header.x-lang}' }, query: { set: { a: '{header.b}' } }"), cache("")],
        vec![set("{client.address}")],
    ] {
        assert_eq!(found(&plugins), [""; 0], "{plugins:?}");
    }
}
