//! Ten thousand requests that were made to break the plugins' parsers: fields that nearly are what they should be,
//! cut, doubled, mixed with each other and with unexpected bytes. The same ones in every run.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use fastrand::Rng;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Client, Process, Upstream, client::Request, raw, token::Key};

const REQUESTS: usize = 10_000;
/// After so many, whatever is remembered, kept or pooled is there.
const WARM: usize = 3_000;
const CLIENTS: usize = 8;
/// What memory may differ by, for reasons that have nothing to do with the number of requests.
const SLACK: u64 = 24 << 20;

/// A route for each group of parsers, with every standard plugin on some route.
fn yaml(upstream: &Upstream, key: &Key) -> String {
    let jwt = json!({ "keys": [key.config("k")], "required": false, "any-audience": true, "scopes": ["read"],
        "claims": [{ "claim": "/realm/roles", "contains": "a" }, { "claim": "sub", "pattern": "[a-z]+" }],
        "from": [{ "header": "authorization" }, { "cookie": "token" }, { "query": "access_token" }] });
    let users = json!([{ "name": "anna", "hash": "$argon2id$v=19$m=64,t=1,p=1$c2FsdC1vZi1hbm5h$MlzKAbpDxiyDJdwkMTMDFg9ED1rnyPn1OXNFKm1f3Jg" }]);
    let keys = json!([{ "id": "shop", "sha256": "ff5c86347ebf1971151373b7e0063ebc05bbd1a5db24e543fd890509e266fac4" }]);
    let from = json!([{ "header": "x-api-key" }, { "cookie": "key" }, { "query": "key" }]);
    let fields = json!([
        "path",
        "query",
        "original-target",
        "header.cookie",
        "header.authorization",
        "header.x-odd",
        "header.user-agent",
        "client.address",
        "authority",
        "path.rest",
        "status"
    ]);
    let body = json!({ "remove": ["/price", "/a/b/0"], "rename": { "/user/mail": "email" }, "move": { "/a/0": "/b/c" },
        "set": { "/x/y": "{header.x-odd|none}", "/list": ["{path.rest}"] } });
    let transform = json!({ "request": {
        "set-headers": { "x-said": "{header.x-odd|nothing}", "x-from": "{client.address}", "x-rest": "{path.rest}" },
        "rename-headers": { "referer": "x-referer" },
        "path": { "replace": { "pattern": "([^/]*)/([^/]*)$", "with": "$2/$1" } },
        "query": { "remove": ["debug"], "rename": { "a": "b" }, "set": { "said": "{header.x-odd|nothing}" } } } });
    let plugins =
        ["access-log", "acl", "api-key", "basic-auth", "cache", "concurrency", "cors", "ext-auth", "ip-rules"]
            .into_iter()
            .chain(["json-body", "jwt", "rate-limit", "request-id", "security-headers", "transform"])
            .map(|name| match name {
                "ext-auth" => "ext-auth: { limits: { time: 20s }, grants: { upstreams: [echo] } }".to_owned(),
                name => format!("{name}: {{ limits: {{ time: 20s }} }}"),
            })
            .collect::<Vec<_>>()
            .join(", ");
    format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
trusted-proxies: [127.0.0.1]
limits: {{ cache-bytes: 1MiB }}
sinks: {{ access: {{ file: access.log, rotate: {{ size: 1MiB, keep: 2 }} }} }}
plugins: {{ {plugins} }}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
global-plugins:
  - {{ name: access-log, config: {{ sink: access, fields: {fields} }} }}
  - request-id
  - security-headers
  - {{ name: cors, config: {{ allow-origins: ['https://*.example.com', 'http://localhost:*'], allow-headers: [x-a] }} }}
routes:
  - {{ name: jwt, match: {{ path: '/jwt/{{*rest}}' }}, upstream: echo, plugins: [{{ name: jwt, config: {jwt} }}] }}
  - {{ name: basic, match: {{ path: '/basic/{{*rest}}' }}, upstream: echo, plugins: [{{ name: basic-auth, config: {{ users: {users} }} }}] }}
  - {{ name: key, match: {{ path: '/key/{{*rest}}' }}, upstream: echo, plugins: [{{ name: api-key, config: {{ keys: {keys}, from: {from}, required: false }} }}, {{ name: acl, config: {{ deny: {{ groups: [none] }} }} }}] }}
  - {{ name: cache, match: {{ path: '/cache/{{*rest}}' }}, upstream: echo, plugins: [{{ name: cache, config: {{ default-ttl: 30s }} }}] }}
  - {{ name: body, match: {{ path: '/body/{{*rest}}' }}, upstream: echo, plugins: [{{ name: json-body, config: {{ request: {body}, response: {{ remove: [/headers/0] }} }} }}] }}
  - {{ name: limits, match: {{ path: '/limits/{{*rest}}' }}, upstream: echo, plugins: [
      {{ name: ip-rules, config: {{ deny: [198.51.100.0/24] }} }},
      {{ name: rate-limit, config: {{ limit: 100000, per: 1h, key: {{ header: x-odd }} }} }},
      {{ name: concurrency, config: {{ limit: 100 }} }},
      {{ name: ext-auth, config: {{ upstream: echo, headers: [authorization, cookie, x-odd], cache-ttl: 1s }} }}] }}
  - {{ name: transform, match: {{ path: '/transform/{{*rest}}' }}, upstream: echo, plugins: [{{ name: transform, config: {transform} }}] }}
",
        upstream = upstream.address(),
    )
}

const ROUTES: [&str; 7] = ["jwt", "basic", "key", "cache", "body", "limits", "transform"];

/// Fields that somebody parses, and what they look like when all is well or nearly so.
const FIELDS: [(&str, &[&str]); 17] = [
    (
        "authorization",
        &["Bearer eyJhbGciOiJub25lIn0.e30.", "Basic YW5uYTpvcGVuIHNlc2FtZQ==", "Bearer", "Basic =", "Digest a=\"b\""],
    ),
    (
        "cookie",
        &["a=b; token=eyJhbGciOiJub25lIn0.e30.; key=1", "token=\"x\"", "=;=;;", "token=a; token=b", "key", "token="],
    ),
    ("range", &["bytes=0-0,-1", "bytes=18446744073709551615-", "bytes=5-1", "bytes=-0", "bytes=0-,1-,2-", "b=1"]),
    ("if-none-match", &["\"a\", W/\"b\", *", "*", "W/\"", "\"a\"\"b\"", ",,,\"\"", "w/\"a\""]),
    ("if-range", &["\"a\"", "Wed, 21 Oct 2015 07:28:00 GMT", "W/\"a\""]),
    ("if-modified-since", &["Wed, 21 Oct 2015 07:28:00 GMT", "Wednesday, 21-Oct-15 07:28:00 GMT", "Wed Oct 21 0"]),
    (
        "cache-control",
        &["max-age=99999999999999999999", "no-cache=\"a, b\", max-stale", "only-if-cached", "max-age=\"1"],
    ),
    ("pragma", &["no-cache", "no-cache=\"\"", ",,"]),
    ("x-forwarded-for", &["1.2.3.4, 198.51.100.1", "[::1]:80", "unknown, _hidden, \"\"", "::ffff:1.2.3.4", "1.2.3"]),
    ("x-forwarded-proto", &["https", "https, http", "javascript:"]),
    ("forwarded", &["for=\"[::1]:1\";proto=https, for=_x;by=\"\\\"\"", "for=;;,", "for=\"unclosed"]),
    ("x-request-id", &["0192c7a5-5f3e-7abc-8def-0123456789ab", "a", "{request.id}"]),
    ("origin", &["https://a.example.com", "null", "http://localhost:99999", "https://.example.com", "https://a@b:c"]),
    ("access-control-request-headers", &["x-a, x-b", ",x-a,,", "*", "X-A , x\tb"]),
    ("x-api-key", &["k-an-example-key-that-everybody-knows", "", "a, b"]),
    ("x-odd", &["{path.rest}", "{header.x-odd|a}", "$1${name}", "%00%0a", "../../x", "a/b?c#d"]),
    ("referer", &["http://a/", "{", "\\"]),
];

const QUERIES: [&str; 8] = [
    "a=1&a=2&debug",
    "access_token=eyJhbGciOiJub25lIn0.e30.",
    "access_token=a&access_token=b",
    "key=%",
    "key=%zz&%6bey=1",
    "&&==&",
    "a=%f0%9f%98%80&a=%ff",
    "said={header.x-odd}",
];

const PATHS: [&str; 7] = ["1", "a/b/c", "%7B%7D", "a%2Fb", "%F0%9F%98%80", "a;b=c", "$1/${x}"];

const BODIES: [&str; 9] = [
    r#"{"price":1,"user":{"mail":"a@b"},"a":[{"b":[1,2]}]}"#,
    r#"{"a":[0],"b":7}"#,
    r#"{"a":{"a":{"a":{}}},"a":1}"#,
    r#"{"user":"\ud800","x":"\u0000"}"#,
    "[1e999999,-0,1E-400,123456789012345678901234567890]",
    "\u{feff}{}",
    "\"",
    "null",
    "{\"a\":[",
];

/// A generator of requests: each number has its own.
struct Hostile<'a> {
    random: Rng,
    key: &'a Key,
}

impl Hostile<'_> {
    fn request(&mut self) -> Vec<u8> {
        let route = self.pick(&ROUTES);
        let methods: &[&str] = if route == "cache" { &["GET", "HEAD", "OPTIONS"] } else { &["GET", "POST", "OPTIONS"] };
        let method = self.pick(methods);
        let target = self.target(route);
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nhost: a.example.com\r\nconnection: close\r\n").into_bytes();
        for _ in 0..self.random.usize(1..8) {
            let (name, samples) = FIELDS[self.random.usize(..FIELDS.len())];
            let value = self.value(name, samples);
            request.extend_from_slice(format!("{name}: ").as_bytes());
            request.extend_from_slice(&value);
            request.extend_from_slice(b"\r\n");
        }
        let body = if method == "POST" { self.body() } else { Vec::new() };
        if method == "POST" {
            let kind = self.pick(&["application/json", "application/json; charset=\"", "application/x+json", "a", ""]);
            request.extend_from_slice(format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(&body);
        request
    }

    fn target(&mut self, route: &str) -> String {
        let path = self.pick(&PATHS);
        let mut query = self.pick(&QUERIES).as_bytes().to_vec();
        if self.random.bool() {
            self.spoil(&mut query);
        }
        let query: String = query.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect();
        format!("/{route}/{path}?{query}")
    }

    fn value(&mut self, name: &str, samples: &[&str]) -> Vec<u8> {
        let mut value = self.pick(samples).as_bytes().to_vec();
        if matches!(name, "authorization" | "cookie") && self.random.bool() {
            let scheme = if name == "cookie" { "token=" } else { "Bearer " };
            value = format!("{scheme}{}", self.token()).into_bytes();
        }
        for _ in 0..self.random.usize(..4) {
            self.spoil(&mut value);
        }
        // What ends a field's line, or may not be in one at all (RFC 9110 §5.5), is not for plugins to see.
        value.retain(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        value.truncate(6_000);
        value
    }

    /// Rightly signed, so that what is inside is read: that is what a client with a key of its own can do.
    fn token(&mut self) -> String {
        let mut deep = json!(1);
        for _ in 0..self.random.usize(..200) {
            deep = json!([deep]);
        }
        let time = self.random.choice([json!(4_102_444_800_u64), json!(-1), json!(1e300), json!("1"), json!(null)]);
        let word = self.random.choice(["anna", "", "a,b", "a\nb", "\u{0}", "\u{202e}", "a b"]);
        let audience = self.random.choice([json!("a"), json!([]), json!([[]]), json!({}), json!(7)]);
        let claims =
            json!({ "exp": time, "sub": word, "scope": word, "aud": audience, "realm": { "roles": deep }, "nbf": 0.5 });
        let alg = self.random.choice(["ES256", "es256", "none", "HS256", "RS256", ""]);
        let header = match self.random.u8(..4) {
            0 => json!({ "alg": alg, "kid": "k", "crit": ["b64"], "b64": false }),
            1 => json!({ "alg": "ES256", "kid": audience, "typ": deep }),
            2 => json!({ "alg": alg, "jwk": { "kty": "oct" }, "jku": "http://127.0.0.1/", "x5c": [""] }),
            _ => json!({ "alg": "ES256", "kid": "k" }),
        };
        self.key.signed(&header, &claims)
    }

    fn body(&mut self) -> Vec<u8> {
        if self.random.u8(..8) == 0 {
            let open = self.pick(&["[", "{\"a\":", "[[{\"a\":"]);
            return open.repeat(self.random.usize(1..5_000)).into_bytes();
        }
        let mut body = self.pick(&BODIES).as_bytes().to_vec();
        for _ in 0..self.random.usize(..3) {
            self.spoil(&mut body);
        }
        body
    }

    /// One of the things that make a text wrong.
    fn spoil(&mut self, text: &mut Vec<u8>) {
        let at = self.random.usize(..=text.len());
        match self.random.u8(..7) {
            0 => text.truncate(at),
            1 => drop(text.drain(..at)),
            2 => text.insert(at, self.random.u8(..)),
            3 => {
                let odd =
                    self.pick(&["\"", "\\", ",", ";", "=", ".", "-", "%", "{", "}", "\u{85}", "\u{2028}", "\t", "é"]);
                text.splice(at..at, odd.bytes());
            }
            4 => {
                let half = text[at..].to_vec();
                let times = self.random.usize(1..60);
                (0..times).for_each(|_| text.extend_from_slice(&half));
                text.truncate(20_000);
            }
            5 => {
                let (_, samples) = FIELDS[self.random.usize(..FIELDS.len())];
                text.splice(at..at, self.pick(samples).bytes());
            }
            _ => text.iter_mut().skip(at).take(3).for_each(|byte| *byte = byte.wrapping_add(0x80)),
        }
    }

    fn pick<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.random.usize(..texts.len())]
    }
}

/// Sends the requests up to this one, and looks at every answer.
async fn ask(address: std::net::SocketAddr, key: Arc<Key>, turns: Arc<AtomicUsize>, end: usize) {
    loop {
        let turn = turns.fetch_add(1, Ordering::SeqCst);
        if turn >= end {
            return;
        }
        let request = Hostile { random: Rng::with_seed(turn as u64), key: &key }.request();
        let answer = raw::exchange(address, &request).await;
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or_default();
        // Whoever asks for what is kept and nothing else is answered so (RFC 9111 §5.2.1.7).
        let is_told = status == "504" && request.windows(14).any(|word| word == b"only-if-cached");
        assert!(
            is_told || matches!(status.as_bytes(), [b'2'..=b'4', _, _]),
            "request {turn}, {}\n\nwas answered {answer:?}",
            request.escape_ascii()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_requests_break_no_plugin_and_leave_nothing_behind() {
    let upstream = Upstream::echo().await;
    let key = Arc::new(Key::p256());
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("gateway.yaml"), yaml(&upstream, &key)).expect("a file");
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml", "--no-watch"]);
    let address = process.addresses().await[0];
    let admin = process.admin().await;

    let mut before = 0;
    for (begin, end) in [(0, WARM), (WARM, REQUESTS)] {
        before = process.memory("VmRSS");
        let turns = Arc::new(AtomicUsize::new(begin));
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(ask(address, key.clone(), turns.clone(), end))).collect();
        for client in clients {
            client.await.expect("every answer is a good one");
        }
    }
    let after = process.memory("VmRSS");
    assert!(after < before + SLACK, "{} KiB more after {} requests", (after - before) >> 10, REQUESTS - WARM);

    let metrics = Client::connect(admin).await.send(Request::get("/metrics")).await.text();
    let failed = |line: &&str| {
        let counts = line.starts_with("gateway_wasm_failures_total{")
            || line.contains("reason=\"plugin")
            || line.contains("reason=\"internal\"");
        counts && !line.ends_with(" 0")
    };
    let failures: Vec<_> = metrics.lines().filter(failed).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    process.signal("TERM");
    let ended = process.ended().await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
