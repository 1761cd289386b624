//! Kubernetes objects of the kind Ingress (`networking.k8s.io/v1`), with annotations of ingress-nginx.

use serde_json::{Map, Value, json};

use crate::{
    ImportError,
    document::{self, At},
    draft::{self, DENIED, Draft, Listener, Route, below, denied, plugin},
    units,
};

/// The prefix of ingress-nginx's annotations.
const ANNOTATION: &str = "nginx.ingress.kubernetes.io/";

pub(crate) fn translate(text: &str) -> Result<Draft, ImportError> {
    let mut draft = Draft::default();
    let documents = document::all(text)?;
    for document in &documents {
        let root = document.root();
        match root.text("kind") {
            Some("Ingress") => ingress(&root, &mut draft),
            Some("List") => {
                for item in root.list("items") {
                    ingress(&item, &mut draft);
                }
            }
            kind => {
                let kind = kind.unwrap_or("document without `kind`");
                draft.note(root.line(), format!("`{kind}`: only Ingresses are translated"));
            }
        }
    }
    if !draft.has_listeners() {
        draft.listen(Listener { line: 1, address: "0.0.0.0:80".to_owned(), tls: None });
    }
    draft.complete("no Ingress has a rule")
}

/// What the annotations of one Ingress say.
#[derive(Default)]
struct Options {
    scheme: Option<&'static str>,
    is_grpc: bool,
    body_bytes: Option<String>,
    read_timeout: Option<String>,
    connect_timeout: Option<String>,
    /// The path that takes the place of the rule's.
    rewrite: Option<String>,
    plugins: Vec<Value>,
    has_regex: bool,
}

fn ingress(ingress: &At<'_>, draft: &mut Draft) {
    let metadata = ingress.get("metadata");
    let text = |key: &str| metadata.as_ref().and_then(|metadata| metadata.text(key));
    let (name, namespace) = (text("name").unwrap_or("ingress"), text("namespace").unwrap_or("default"));
    let options = options(metadata.and_then(|metadata| metadata.get("annotations")), draft);
    let Some(spec) = ingress.get("spec") else { return };
    draft.listen(Listener { line: ingress.line(), address: "0.0.0.0:80".to_owned(), tls: None });
    for tls in spec.list("tls") {
        let Some(secret) = tls.text("secretName") else { continue };
        let file = |name: &str| format!("/etc/gateway/tls/{secret}/{name}");
        draft.note(tls.line(), format!("secret `{secret}`: mount it at /etc/gateway/tls/{secret}"));
        let certificates = json!({ "certificates": [{ "cert": file("tls.crt"), "key": file("tls.key") }] });
        draft.listen(Listener { line: tls.line(), address: "0.0.0.0:443".to_owned(), tls: Some(certificates) });
    }
    if let Some(backend) = spec.get("defaultBackend") {
        route(&backend, name, namespace, None, ("/", "Prefix"), &options, draft);
    }
    for rule in spec.list("rules") {
        let host = rule.text("host");
        for path in rule.get("http").map(|http| http.list("paths")).unwrap_or_default() {
            let Some(backend) = path.get("backend") else { continue };
            let kind = path.text("pathType").unwrap_or("ImplementationSpecific");
            route(&backend, name, namespace, host, (path.text("path").unwrap_or("/"), kind), &options, draft);
        }
    }
}

fn route(
    backend: &At<'_>,
    name: &str,
    namespace: &str,
    host: Option<&str>,
    (path, kind): (&str, &str),
    options: &Options,
    draft: &mut Draft,
) {
    let line = backend.line();
    let Some(service) = backend.get("service") else {
        draft.note(line, "a backend that is no service has no counterpart");
        return;
    };
    let (Some(service_name), Some(port)) = (service.text("name"), service.get("port")) else { return };
    let port = match (port.number("number"), port.text("name")) {
        (Some(number), _) => number,
        (None, port_name) => {
            let port_name = port_name.unwrap_or_default();
            draft
                .note(line, format!("port `{port_name}` of service `{service_name}`: write its number in place of 80"));
            80
        }
    };
    if options.has_regex || path.contains(['(', '*', '[', '{', '\\', '^', '$']) {
        draft.note(line, format!("`{path}`: routes have no regular expressions; write its paths as routes"));
        return;
    }
    let scheme = options.scheme.unwrap_or("http");
    let url = format!("{scheme}://{service_name}.{namespace}.svc.cluster.local:{port}");
    let upstream = draft.upstream_of(line, &url);
    if let Some(present) = draft.upstream_named(&upstream) {
        if options.is_grpc {
            present.options.insert("protocol".into(), json!("http2"));
        }
        if let Some(time) = &options.connect_timeout {
            present.options.insert("timeouts".into(), json!({ "connect": time }));
        }
    }
    let mut plugins = options.plugins.clone();
    if let Some(target) = &options.rewrite {
        plugins.push(plugin("transform", json!({ "request": { "path": { "rewrite": target } } })));
    }
    let mut keys = Map::new();
    if let Some(size) = &options.body_bytes {
        keys.insert("limits".to_owned(), json!({ "body-bytes": size }));
    }
    if let Some(time) = &options.read_timeout {
        keys.insert("timeouts".to_owned(), json!({ "request": time }));
    }
    // ingress-nginx proxies WebSockets without being asked. HTTP/2 connections to a service have no upgrades.
    if !options.is_grpc {
        keys.insert("upgrades".to_owned(), json!(["websocket"]));
    }
    let is_exact = kind == "Exact";
    draft.route(Route {
        line,
        name: format!("{name}{}", draft::identifier(path).replace("root", "")),
        listeners: Vec::new(),
        hosts: host.map(str::to_owned).into_iter().collect(),
        path: Some(if is_exact { path.to_owned() } else { below(path) }),
        methods: Vec::new(),
        headers: Map::new(),
        plugins,
        action: ("upstream", json!(upstream)),
        options: keys,
    });
}

fn options(annotations: Option<At<'_>>, draft: &mut Draft) -> Options {
    let mut options = Options::default();
    let mut cors = None;
    for (key, value) in annotations.map(|annotations| annotations.entries()).unwrap_or_default() {
        let Some(name) = key.strip_prefix(ANNOTATION) else { continue };
        let (line, text) = (value.line(), value.value.as_str().unwrap_or_default());
        let list =
            || text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect::<Vec<_>>();
        match name {
            "proxy-body-size" => options.body_bytes = units::nginx_size(text),
            "proxy-read-timeout" => options.read_timeout = units::nginx_time(text).map(units::milliseconds),
            "proxy-connect-timeout" => options.connect_timeout = units::nginx_time(text).map(units::milliseconds),
            "backend-protocol" => match text {
                "HTTPS" => options.scheme = Some("https"),
                "GRPC" => options.is_grpc = true,
                "GRPCS" => (options.scheme, options.is_grpc) = (Some("https"), true),
                "HTTP" | "AUTO_HTTP" => {}
                _ => draft.note(line, format!("`{name}: {text}`: only HTTP and gRPC services are upstreams")),
            },
            "use-regex" => options.has_regex = text == "true",
            "rewrite-target" if text.contains('$') => {
                draft.note(line, format!("`{name}: {text}`: use `strip-prefix` of `transform`"));
                options.has_regex = true;
            }
            "rewrite-target" => options.rewrite = Some(text.to_owned()),
            "ssl-redirect" | "force-ssl-redirect" if text == "true" => {
                draft.note(
                    line,
                    format!("`{name}`: routes match on all listeners; redirect to HTTPS in front of the gateway"),
                );
            }
            "ssl-redirect"
            | "force-ssl-redirect"
            | "proxy-send-timeout"
            | "proxy-buffering"
            | "proxy-request-buffering" => {}
            "whitelist-source-range" | "allowlist-source-range" => {
                options.plugins.push(plugin("ip-rules", json!({ "allow": list() })));
            }
            "denylist-source-range" => options.plugins.push(plugin("ip-rules", json!({ "deny": list() }))),
            "limit-rps" | "limit-rpm" => {
                let per = if name == "limit-rps" { "1s" } else { "1m" };
                if let Ok(limit) = text.parse::<u64>() {
                    // ingress-nginx allows bursts of five times the rate.
                    let config = json!({ "limit": limit, "per": per, "burst": limit.saturating_mul(5) });
                    options.plugins.push(plugin("rate-limit", config));
                }
            }
            "limit-connections" => {
                if let Ok(limit) = text.parse::<u64>() {
                    options.plugins.push(plugin("concurrency", json!({ "limit": limit })));
                }
            }
            "enable-cors" if text == "true" => {
                cors.get_or_insert_with(|| json!({ "allow-origins": ["*"] }));
            }
            "cors-allow-origin" => cors.get_or_insert_with(|| json!({}))["allow-origins"] = json!(list()),
            "cors-allow-methods" => cors.get_or_insert_with(|| json!({}))["allow-methods"] = json!(list()),
            "cors-allow-headers" => cors.get_or_insert_with(|| json!({}))["allow-headers"] = json!(list()),
            name if name.starts_with("auth-") => {
                let is_first = !options.plugins.contains(&denied());
                options.plugins.extend(is_first.then(denied));
                draft.note(line, format!("`{key}`: no counterpart; {DENIED}"));
            }
            _ => draft.note(line, format!("`{key}`: no counterpart")),
        }
    }
    if let Some(mut cors) = cors {
        if cors.get("allow-origins").is_none() {
            cors["allow-origins"] = json!(["*"]);
        }
        options.plugins.insert(0, plugin("cors", cors));
    }
    options
}
