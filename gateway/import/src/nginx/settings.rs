//! Directives that a block inherits from the one around it.

use serde_json::{Value, json};

use super::{parse::Directive, variables::template, zones::Zones};
use crate::{
    draft::{DENIED, Draft, denied, plugin},
    units,
};

/// What applies to a location.
#[derive(Clone, Default)]
pub(super) struct Settings {
    /// `proxy_set_header`: inherited only by blocks that have none of their own, as in nginx.
    request_headers: Vec<(String, String)>,
    response_headers: Vec<(String, String)>,
    removed_response_headers: Vec<String>,
    pub(super) host: Host,
    pub(super) upgrades: bool,
    pub(super) body_bytes: Option<String>,
    /// Milliseconds.
    pub(super) read_timeout: Option<u64>,
    pub(super) connect_timeout: Option<u64>,
    allow: Vec<String>,
    deny: Vec<String>,
    limits: Vec<Value>,
    basic: Option<Value>,
    realm: Option<String>,
    /// An authentication that is not translated.
    is_denied: bool,
    /// The path of the location that decides, and its line.
    pub(super) auth_request: Option<(String, usize)>,
}

/// What `Host` the upstream sees.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Host {
    /// nginx's default: the name in `proxy_pass`.
    #[default]
    Endpoint,
    Client,
}

/// Directives that concern what the gateway does by itself, or has no use for.
const WITHOUT_NOTE: &[&str] = &[
    "absolute_redirect",
    "aio",
    "chunked_transfer_encoding",
    "client_body_buffer_size",
    "client_body_timeout",
    "client_header_buffer_size",
    "client_header_timeout",
    "default_type",
    "directio",
    "error_log",
    "etag",
    "http2",
    "http2_max_concurrent_streams",
    "ignore_invalid_headers",
    "index",
    "keepalive_requests",
    "keepalive_timeout",
    "large_client_header_buffers",
    "log_not_found",
    "msie_padding",
    "open_file_cache",
    "output_buffers",
    "port_in_redirect",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_http_version",
    "proxy_ignore_client_abort",
    "proxy_max_temp_file_size",
    "proxy_request_buffering",
    "proxy_send_timeout",
    "proxy_socket_keepalive",
    "proxy_ssl_server_name",
    "proxy_temp_file_write_size",
    "proxy_temp_path",
    "reset_timedout_connection",
    "resolver",
    "resolver_timeout",
    "send_timeout",
    "sendfile",
    "server_name_in_redirect",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "server_tokens",
    "ssl_buffer_size",
    "ssl_ciphers",
    "ssl_dhparam",
    "ssl_ecdh_curve",
    "ssl_prefer_server_ciphers",
    "ssl_session_cache",
    "ssl_session_tickets",
    "ssl_session_timeout",
    "ssl_stapling",
    "ssl_stapling_verify",
    "ssl_trusted_certificate",
    "tcp_nodelay",
    "tcp_nopush",
    "types",
    "types_hash_bucket_size",
    "types_hash_max_size",
    "underscores_in_headers",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
];

impl Settings {
    /// Those of a block within one that has these. Directives that `is_known` elsewhere are left alone.
    pub(super) fn within(
        &self,
        block: &[Directive],
        zones: &Zones,
        draft: &mut Draft,
        is_known: fn(&str) -> bool,
    ) -> Self {
        let mut inner = self.clone();
        let has = |name: &str| block.iter().any(|directive| directive.name == name);
        if has("proxy_set_header") {
            inner.request_headers.clear();
            (inner.host, inner.upgrades) = (Host::Endpoint, false);
        }
        if has("add_header") {
            inner.response_headers.clear();
        }
        if has("allow") || has("deny") {
            (inner.allow, inner.deny) = (Vec::new(), Vec::new());
            inner.access(block, draft);
        }
        if has("limit_req") || has("limit_conn") {
            inner.limits.clear();
        }
        for directive in block {
            if !is_known(&directive.name) {
                inner.apply(directive, zones, draft);
            }
        }
        inner
    }

    fn apply(&mut self, directive: &Directive, zones: &Zones, draft: &mut Draft) {
        let Directive { line, name, args, .. } = directive;
        let first = args.first().map(String::as_str).unwrap_or_default();
        let mut time = || {
            let time = units::nginx_time(first);
            if time.is_none() {
                draft.note(*line, format!("`{name} {first}`: not a time"));
            }
            time
        };
        match name.as_str() {
            "proxy_read_timeout" | "grpc_read_timeout" => self.read_timeout = time().or(self.read_timeout),
            "proxy_connect_timeout" | "grpc_connect_timeout" => self.connect_timeout = time().or(self.connect_timeout),
            "client_max_body_size" if first == "0" => {
                draft.note(*line, "`client_max_body_size 0`: there is always a limit; 1TiB is set");
                self.body_bytes = Some("1024GiB".to_owned());
            }
            "client_max_body_size" => match units::nginx_size(first) {
                Some(size) => self.body_bytes = Some(size),
                None => draft.note(*line, format!("`{name} {first}`: not a size")),
            },
            "proxy_set_header" | "grpc_set_header" => self.request_header(directive, draft),
            "add_header" | "more_set_headers" => match args.get(1).map(|value| template(value)) {
                Some(Ok(value)) => self.response_headers.push((first.to_ascii_lowercase(), value)),
                Some(Err(variable)) => {
                    draft.note(*line, format!("`add_header {first}`: `{variable}` has no counterpart in `transform`"));
                }
                None => {}
            },
            "proxy_hide_header" => self.removed_response_headers.push(first.to_ascii_lowercase()),
            "limit_req" | "limit_conn" => match zones.limit(directive, draft) {
                Some(limit) => self.limits.push(limit),
                None => draft.note(*line, format!("`{name}`: its zone is not defined, or its key has no counterpart")),
            },
            "auth_basic" if first == "off" => (self.basic, self.realm) = (None, None),
            "auth_basic" => self.realm = Some(first.to_owned()),
            "auth_basic_user_file" => {
                let file = first.rsplit('/').next().unwrap_or(first);
                let secret = draft.secret(file, json!({ "file": first }));
                draft.grant("basic-auth", "secrets", &secret);
                draft.note(*line, format!("`{first}`: only bcrypt and argon2id hashes are accepted (`htpasswd -B`)"));
                self.basic = Some(json!(secret));
            }
            "auth_request" if first == "off" => self.auth_request = None,
            "auth_request" => self.auth_request = Some((first.to_owned(), *line)),
            "allow" | "deny" => {}
            "gzip" | "brotli" | "gzip_static" | "zstd" if first != "off" => {
                draft.note(*line, format!("`{name} {first}`: responses are not compressed by the gateway"));
            }
            name if name.starts_with("gzip") || name.starts_with("brotli") || WITHOUT_NOTE.contains(&name) => {}
            "proxy_redirect" if matches!(first, "off" | "default") => {}
            name if name.starts_with("auth_") && first != "off" => {
                self.is_denied = true;
                draft.note(*line, format!("`{}`: no counterpart; {DENIED}", shown(directive)));
            }
            "include" if first.ends_with("mime.types") || first.ends_with("_params") => {}
            "include" => {
                draft.note(*line, format!("`include {first}` is not followed: translate the output of `nginx -T`"));
            }
            "access_log" | "log_format" if first != "off" => {
                draft.note(*line, format!("`{name}`: add the plugin `access-log`"));
            }
            "merge_slashes" if first == "off" => draft.note(*line, "`merge_slashes off`: set `paths.merge-slashes`"),
            "access_log" | "merge_slashes" => {}
            _ => draft.note(*line, format!("`{}`: no counterpart", shown(directive))),
        }
    }

    fn request_header(&mut self, directive: &Directive, draft: &mut Draft) {
        let [name, value] = &directive.args[..] else { return };
        let name = name.to_ascii_lowercase();
        match (name.as_str(), value.as_str()) {
            ("host", "$host" | "$http_host" | "$host:$server_port") => self.host = Host::Client,
            ("host", "$proxy_host") => self.host = Host::Endpoint,
            ("upgrade", _) => self.upgrades = true,
            // The gateway sets these itself, and connection fields belong to it.
            (
                "connection" | "x-real-ip" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host"
                | "x-forwarded-port" | "x-forwarded-scheme" | "x-scheme" | "forwarded" | "te" | "content-length"
                | "transfer-encoding",
                _,
            ) => {}
            (_, value) => match template(value) {
                Ok(value) => self.request_headers.push((name, value)),
                Err(variable) => {
                    let text = format!("`proxy_set_header {name}`: `{variable}` has no counterpart in `transform`");
                    draft.note(directive.line, text);
                }
            },
        }
    }

    /// `allow` and `deny`: nginx takes the first that matches, the gateway has two lists.
    fn access(&mut self, block: &[Directive], draft: &mut Draft) {
        let rules: Vec<_> = block.iter().filter(|rule| matches!(rule.name.as_str(), "allow" | "deny")).collect();
        let is = |rule: &Directive, name: &str| rule.name == name;
        let address = |rule: &&Directive| rule.args.first().cloned().unwrap_or_default();
        let all = |rule: &Directive| rule.args.first().is_some_and(|address| address == "all");
        let [before @ .., last] = &rules[..] else { return };
        if is(last, "deny") && all(last) && before.iter().all(|rule| is(rule, "allow") && !all(rule)) {
            self.allow = before.iter().map(address).collect();
            if self.allow.is_empty() {
                self.deny = vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
            }
        } else if rules.iter().all(|rule| is(rule, "deny") && !all(rule))
            || is(last, "allow") && all(last) && before.iter().all(|rule| is(rule, "deny") && !all(rule))
        {
            self.deny = rules.iter().filter(|rule| is(rule, "deny")).map(address).collect();
        } else {
            // Denying more than nginx did is safe, allowing more is not.
            self.allow = rules.iter().filter(|rule| is(rule, "allow") && !all(rule)).map(address).collect();
            self.deny = rules.iter().filter(|rule| is(rule, "deny") && !all(rule)).map(address).collect();
            let text =
                "`allow` and `deny` in this order: `ip-rules` has two lists, in which `deny` goes first; check them";
            draft.note(last.line, text);
        }
    }

    /// Plugins in the order in which nginx does the same.
    pub(super) fn plugins(&self, path: Option<Value>) -> Vec<Value> {
        let mut plugins = Vec::new();
        if !self.allow.is_empty() || !self.deny.is_empty() {
            let list = |list: &[String]| if list.is_empty() { Value::Null } else { json!(list) };
            plugins.push(plugin("ip-rules", json!({ "allow": list(&self.allow), "deny": list(&self.deny) })));
        }
        plugins.extend(self.limits.iter().cloned());
        match (&self.realm, &self.basic) {
            (Some(realm), Some(secret)) => {
                plugins.push(plugin("basic-auth", json!({ "users-secret": secret, "realm": realm })));
            }
            // Without a file of users, nginx denies everything.
            (Some(_), None) => plugins.push(denied()),
            (None, _) => {}
        }
        if self.is_denied {
            plugins.push(denied());
        }
        let map = |pairs: &[(String, String)]| -> Value {
            if pairs.is_empty() {
                Value::Null
            } else {
                pairs.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>().into()
            }
        };
        let set: Vec<_> = self.request_headers.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
        let removed: Vec<_> =
            self.request_headers.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name.clone()).collect();
        let removed = if removed.is_empty() { Value::Null } else { json!(removed) };
        let hidden =
            if self.removed_response_headers.is_empty() { Value::Null } else { json!(self.removed_response_headers) };
        let request = json!({ "remove-headers": removed, "set-headers": map(&set), "path": path });
        let response = json!({ "remove-headers": hidden, "set-headers": map(&self.response_headers) });
        let or_null = |side: Value| {
            let is_empty = side.as_object().is_none_or(|map| map.values().all(Value::is_null));
            if is_empty { Value::Null } else { side }
        };
        let (request, response) = (or_null(request), or_null(response));
        if !request.is_null() || !response.is_null() {
            plugins.push(plugin("transform", json!({ "request": request, "response": response })));
        }
        plugins
    }
}

/// A directive in short.
pub(super) fn shown(directive: &Directive) -> String {
    let args: String = directive.args.join(" ").chars().take(60).collect();
    if args.is_empty() { directive.name.clone() } else { format!("{} {args}", directive.name) }
}
