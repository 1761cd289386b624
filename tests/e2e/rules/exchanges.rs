//! The same scripts in the sandbox of a gateway and in the test kit.

use bytes::Bytes;
use fastrand::Rng;
use http_body_util::BodyExt;
use plugin_sdk::testkit::{TestHost, TestRequest, TestResponse, seeds};
use serde_json::json;

use super::scripted::{HEADER, Kind, Limit, Op, Script, Scripted, Text};
use crate::support::{TestGateway, Upstream, client::Request, guests, upstream::full};

const BUFFER_BYTES: usize = 256 * 1024;

/// What the upstream adds to its response.
const RESPONSE: [(&str, &str); 3] = [("x-t-a", "1"), ("x-t-a", "2"), ("vary", "Accept")];

const NAMES: [&str; 16] = [
    "x-t-a",
    "X-T-A",
    "x-t_a",
    "x_t_a",
    "x-t-b",
    "x-t-c",
    "vary",
    "host",
    "Host",
    "connection",
    "Content-Length",
    "te",
    "transfer-encoding",
    "a b",
    "",
    "x-t-\u{e9}",
];
const VALUES: [&[u8]; 9] =
    [b"1", b"a, B", b"", b"caf\xe9", b"*", b"two\r\nlines", b"other.example:81", b"user@host", b"[::1]:x"];
const KEYS: [&str; 9] =
    ["user", "jwt.sub", "tls.version", "tls.", "gateway.upstream", "gateway.x", "gateway", "a b", ""];
const TARGETS: [&str; 14] = [
    "/",
    "/x?y=/../z",
    "/a/../b",
    "/a/%2E%2e/b",
    "/a//b;c",
    "/%2F",
    "x",
    "",
    "/a b",
    "/a#b",
    "/a\\b",
    "/?q=\\",
    "/?a b",
    "/\u{e9}",
];
/// As a client sends them.
const ASKED: [&str; 6] = ["/", "/a/b?c", "/a/./b/../c", "/%7Eu/%c3%bc?%zz", "/a//b", "/a%20b;c=d?"];

/// The seed is part of the keys of leases: an exchange releases its own a moment after its client has the response.
struct Writer(Rng, u64);

impl Writer {
    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.0.usize(..of.len())].clone()
    }

    fn rarely(&mut self) -> bool {
        self.0.u8(..) < 12
    }

    fn name(&mut self) -> String {
        self.one(&NAMES).to_owned()
    }

    fn value(&mut self) -> Text {
        // Some of them have no room beside another one.
        if self.rarely() {
            Text(b"v".to_vec(), self.one(&[60_000, 100_000, 140_000]))
        } else {
            Text(self.one(&VALUES).to_vec(), 1)
        }
    }

    fn target(&mut self) -> Text {
        let long = self.rarely();
        let target = self.one(&TARGETS);
        if long { Text(b"/path".to_vec(), self.one(&[1_000, 4_900, 5_500, 14_000])) } else { Text(target.into(), 1) }
    }

    fn kind(&mut self) -> Kind {
        use Kind::{Append, AppendLater, Attribute, Default, Join, Remove, RemoveLater, Set, SetLater};
        self.one(&[Set, Append, Remove, SetLater, AppendLater, RemoveLater, Default, Join, Attribute])
    }

    fn attribute(&mut self) -> (String, Text) {
        let long = self.rarely();
        let value = if long { Text(b"w".to_vec(), self.one(&[70_000, 140_000])) } else { Text(b"anna".to_vec(), 1) };
        (self.one(&KEYS).to_owned(), value)
    }

    fn edits(&mut self) -> Op {
        // One by itself is made by another call.
        let number = if self.0.bool() { 1 } else { self.0.usize(0..5) };
        let edit = |_| {
            let kind = self.kind();
            let (name, value) = if kind == Kind::Attribute { self.attribute() } else { (self.name(), self.value()) };
            // What is always the same has little room.
            let always = value.1 == 1 && self.0.bool();
            (kind, name, always.then_some(value))
        };
        let edits: Vec<_> = (0..number).map(edit).collect();
        let values = (0..self.0.usize(0..4)).map(|_| self.0.bool().then(|| self.value())).collect();
        Op::Apply(edits, values)
    }

    /// Periods that are so long that no unit comes back while the test runs.
    fn quota(&mut self) -> Limit {
        let limit = self.one(&[0, 1, 3, 10]);
        (limit, 7 * 86_400_000, self.one(&[0, 2, 5, limit]))
    }

    fn key(&mut self) -> Text {
        if self.rarely() {
            Text(b"k".to_vec(), self.one(&[1_021, 1_022]))
        } else {
            Text(self.one(&["a", "b", "g\0s", "g\0t"]).into(), 1)
        }
    }

    fn lease_key(&mut self) -> Text {
        if self.rarely() {
            return Text(b"k".to_vec(), 1_022);
        }
        let name = self.one(&["a", "b"]);
        Text(format!("{name}{}", self.1).into_bytes(), 1)
    }

    fn ttl(&mut self) -> Option<u64> {
        self.one(&[None, None, Some(0), Some(3_600_000), Some(u64::MAX)])
    }

    fn store(&mut self) -> Op {
        let values: [&[u8]; 8] = [b"v", b"7", b"-7", b"+7", b"07", b"-0", b"9223372036854775807", b""];
        match self.0.u8(..12) {
            7 => Op::SetTtl(self.key(), self.ttl()),
            8 | 9 => {
                let mut value = || {
                    let is_there = self.0.u8(..4) > 0;
                    is_there.then(|| Text(self.one(&values).to_vec(), 1))
                };
                let (expected, value) = (value(), value());
                let (key, ttl) = (self.key(), self.ttl());
                if self.0.bool() { Op::Swap(key, expected, value, ttl) } else { Op::Batch(key, expected, value, ttl) }
            }
            10 => {
                Op::Acquire(self.lease_key(), self.one(&[0, 1, 2, 3, 65_536, 65_537]), self.one(&[600_000, u64::MAX]))
            }
            11 if self.0.bool() => Op::Renew(self.lease_key(), 600_000),
            11 => Op::Release(self.lease_key()),
            0 => Op::Get(self.key()),
            1 => {
                let value = if self.rarely() {
                    Text(b"v".to_vec(), self.one(&[1024 * 1024, 1024 * 1024 + 1]))
                } else {
                    Text(self.one(&values).to_vec(), 1)
                };
                Op::Put(self.key(), value, self.ttl())
            }
            2 => Op::Delete(self.key()),
            3 => Op::Increment(self.key(), self.one(&[1, -1, 0, i64::MAX, i64::MIN]), self.ttl()),
            4 => Op::Take(self.key(), self.quota(), self.one(&[0, 1, 1, 2, 6])),
            _ => {
                let number = if self.rarely() { self.one(&[16, 17]) } else { self.0.usize(0..4) };
                let step = |_| {
                    let key = self.one(&["s", "t", "u", ""]).to_owned();
                    (key, self.quota(), self.0.bool(), self.one(&[0, 1, 1, 2, 6]))
                };
                let steps = (0..number).map(step).collect();
                Op::TakeAll(self.one(&["g", "h", ""]).to_owned(), steps)
            }
        }
    }

    fn op(&mut self) -> Op {
        let of_request = self.0.bool();
        match self.0.u8(..26) {
            0..=7 => {
                let kind = self.one(&[Kind::Set, Kind::Set, Kind::Append, Kind::Remove]);
                Op::Change(of_request, kind, self.name(), self.value())
            }
            8 if self.rarely() => Op::Many(of_request, "x-t-m".to_owned(), 400),
            8 | 9 => Op::Header(of_request, self.name()),
            10 => Op::Headers(of_request),
            11 => Op::Method(self.one(&["POST", "BREW", "CONNECT", "a b", ""]).to_owned()),
            12 | 13 => Op::Target(self.target()),
            14 => Op::Status(self.one(&[101, 199, 200, 204, 304, 404, 599, 600, 999])),
            15 => Op::Head,
            16 => {
                let (key, value) = self.attribute();
                Op::SetAttribute(key, value)
            }
            17 if self.rarely() => Op::ManyAttributes(130),
            17 => Op::Attribute(self.one(&KEYS).to_owned()),
            18 => Op::ReadBody(of_request),
            19 => Op::ReplaceBody(of_request, self.one(&[0, 10, BUFFER_BYTES, BUFFER_BYTES + 1])),
            20 | 21 => self.edits(),
            22 => Op::Select(vec![self.name(), self.name(), self.one(&KEYS).to_owned()]),
            _ => self.store(),
        }
    }

    fn script(&mut self) -> Script {
        let ops = |writer: &mut Self| (0..writer.0.usize(1..25)).map(|_| writer.op()).collect();
        Script { request: ops(self), response: ops(self), answers: self.0.u8(..4) == 0 }
    }

    fn headers(&mut self) -> Vec<(&'static str, &'static str)> {
        let names = ["x-t-a", "x_t_a", "x-t_a", "x-t-b"];
        (0..self.0.usize(0..5)).map(|_| (self.one(&names), self.one(&["1", "2", "of the client"]))).collect()
    }
}

async fn upstream() -> Upstream {
    Upstream::serving(|request: http::Request<hyper::body::Incoming>| async move {
        let _ = request.into_body().collect().await;
        let mut response = http::Response::new(full("of the upstream"));
        for (name, value) in RESPONSE {
            response.headers_mut().append(name, http::HeaderValue::from_static(value));
        }
        response
    })
    .await
}

#[tokio::test]
async fn the_sandbox_and_the_test_kit_agree_on_every_operation_of_random_scripts() {
    let upstream = upstream().await;
    let yaml = format!(
        "limits: {{ buffer-bytes: {BUFFER_BYTES} }}
paths: {{ encoded-slashes: keep, merge-slashes: false, matrix-parameters: keep }}
plugins: {{ scripted: {{ component: scripted.wasm, grants: {{ store: [own] }}, limits: {{ time: 5s }} }} }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: test, plugins: [scripted], upstream: up }}]
",
        upstream.address()
    );
    let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
    let host = TestHost::new();
    host.set_buffer_bytes(BUFFER_BYTES);
    let mut kit = host.plugin::<Scripted>(json!({})).expect("it takes no configuration");
    let mut compared = 0;
    for seed in seeds(60) {
        let mut writer = Writer(Rng::with_seed(seed), seed);
        let (script, headers, target) = (writer.script(), writer.headers(), writer.one(&ASKED));
        let length = writer.one(&[0, 0, 5, BUFFER_BYTES, BUFFER_BYTES + 1]);
        let body = Bytes::from(vec![b'c'; length]);
        let text = serde_json::to_string(&script).expect("it is data");

        let mut request = TestRequest::post(target).attribute("gateway.upstream", "up").body(&body[..]);
        let mut asked = Request::post(target, body).header(HEADER, &text).header("host", "example.com");
        request = request.header(HEADER, &text);
        if length > 0 {
            request = request.header("content-length", length.to_string());
        }
        for (name, value) in headers {
            (request, asked) = (request.header(name, value), asked.header(name, value));
        }
        let mut exchange = kit.request_with_body(request);
        let in_the_kit = match exchange.reply() {
            Some(reply) => reply.body.clone(),
            None => {
                let response = TestResponse::new(200).body("of the upstream").header("content-length", "15");
                let response = RESPONSE.iter().fold(response, |response, (name, value)| response.header(name, value));
                kit.response_with_body(&mut exchange, response);
                exchange.response_body().to_vec()
            }
        };
        let in_the_kit: Vec<String> = serde_json::from_slice(&in_the_kit).expect("results");
        let response = gateway.send(asked).await;
        let in_the_gateway: Vec<String> = serde_json::from_str(&response.text())
            .unwrap_or_else(|error| panic!("seed {seed}: {error}: {} {}", response.status, response.text()));
        let ops = script.request.iter().chain(&script.response);
        for (place, op) in ops.take(in_the_kit.len()).enumerate() {
            let results = (in_the_gateway.get(place), in_the_kit.get(place));
            assert_eq!(
                results.0, results.1,
                "operation {place} of seed {seed} in the gateway and in the test kit: {op:?}"
            );
            compared += 1;
        }
        assert_eq!(in_the_gateway.len(), in_the_kit.len(), "seed {seed}");
    }
    assert!(compared > 500, "{compared}");
}
