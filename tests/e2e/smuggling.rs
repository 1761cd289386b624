//! Requests that two parsers could understand differently: each is refused, or goes on in the one form that
//! cannot be misunderstood. What reaches the upstream is compared byte by byte.

use crate::support::{
    TestGateway,
    client::Request,
    frames::{self, Fate, Frames},
    strict::{End, Message, RawClient, StrictUpstream},
};

/// What an attacker wants the upstream to take for a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// What the gateway adds to every request.
const ADDED: [&str; 5] = ["x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"];

struct Scene {
    gateway: TestGateway,
    upstream: StrictUpstream,
}

impl Scene {
    /// One worker, so that all requests would share an upstream connection that went out of step.
    async fn new() -> Self {
        let upstream = StrictUpstream::start().await;
        let gateway = TestGateway::start(&format!(
            "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
timeouts: {{ header-read: 300ms, body: 300ms }}
upstreams: {{ strict: {{ endpoints: ['http://{}'], host: preserve }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: strict }}]
",
            upstream.address()
        ))
        .await;
        Self { gateway, upstream }
    }

    /// The answer is this problem, the connection closes, and the upstream sees no request.
    async fn refuses(&self, status: u16, request: impl AsRef<[u8]>) {
        let case = String::from_utf8_lossy(request.as_ref()).into_owned();
        let mut client = RawClient::connect(self.gateway.address()).await;
        let response = client.say(request.as_ref()).await.response().await;
        assert_eq!(response.status(), status, "{case:?}");
        is_problem(&response, &case);
        assert_eq!(response.value("connection"), "close", "{case:?}");
        client.is_closed().await;
        assert_eq!(self.seen().await, Vec::<String>::new(), "{case:?}");
    }

    /// One answer from the upstream, which gets exactly this; `\n` stands for the end of a line.
    async fn forwards(&self, request: impl AsRef<[u8]>, expected: &str) {
        let case = String::from_utf8_lossy(request.as_ref()).into_owned();
        let mut client = RawClient::connect(self.gateway.address()).await;
        let response = client.say(request).await.response().await;
        assert_eq!((response.status(), response.text()), (200, "ok".to_owned()), "{case:?}");
        assert_eq!(self.seen().await, [expected], "{case:?}");
    }

    /// As `forwards`, and whatever follows the request on its connection is never looked at.
    async fn forwards_and_closes(&self, request: impl AsRef<[u8]>, expected: &str) {
        let case = String::from_utf8_lossy(request.as_ref()).into_owned();
        let mut client = RawClient::connect(self.gateway.address()).await;
        let response = client.say(request).await.response().await;
        assert_eq!((response.status(), response.text()), (200, "ok".to_owned()), "{case:?}");
        client.is_closed().await;
        assert_eq!(self.seen().await, [expected], "{case:?}");
    }

    /// Whole requests that the upstream has got, up to one that is sent now: what was before it on its
    /// connection must have been complete.
    async fn seen(&self) -> Vec<String> {
        assert_eq!(self.gateway.send(Request::get("/after").header("host", "after")).await.status, 200);
        let mut seen = Vec::new();
        for message in self.upstream.take_seen() {
            match message {
                Ok(message) => seen.push(plain(message)),
                // A request that was refused half-way.
                Err(End::CutOff(part)) => assert!(part.starts_with("POST /x HTTP/1.1\r\n"), "{part:?}"),
                Err(end) => panic!("{end:?}"),
            }
        }
        assert_eq!(seen.pop().as_deref(), Some("GET /after HTTP/1.1\nhost: after\n\n"));
        seen
    }
}

fn plain(message: Message) -> String {
    for name in ADDED {
        assert!(!message.value(name).is_empty(), "no {name} in {message}");
    }
    message.without(&ADDED).to_string()
}

fn is_problem(response: &Message, case: &str) {
    assert_eq!(response.value("content-type"), "application/problem+json", "{case:?}");
    let problem: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(problem["status"], response.status(), "{case:?}");
    assert_eq!(problem["request-id"], response.value("x-request-id"), "{case:?}");
}

/// A request with a body that a second request follows.
fn post(fields: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n{body}{SMUGGLED}")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n")
}

#[tokio::test]
async fn a_length_beside_chunks_is_dropped_and_the_connection_closes() {
    let scene = Scene::new().await;
    let expected = "POST /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello";
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 4\r\nTransfer-Encoding: CHUNKED\r\nContent-Length: 5",
        "Transfer-Encoding: \t chunked \t\r\nContent-Length: 0",
    ] {
        scene.forwards_and_closes(post(fields, "5\r\nhello\r\n0\r\n\r\n"), expected).await;
    }
}

#[tokio::test]
async fn transfer_codings_other_than_one_chunked_are_refused() {
    let scene = Scene::new().await;
    for coding in [
        "chunked, identity",
        "identity, chunked",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "chunked,",
        ",chunked",
        "",
        "\u{b}chunked",
        "chun\tked",
        "chunked\0",
    ] {
        scene.refuses(400, post(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n")).await;
        scene.refuses(400, post(&format!("Content-Length: 5\r\nTransfer-Encoding: {coding}"), "0\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn several_transfer_codings_are_refused() {
    let scene = Scene::new().await;
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: x\r\nContent-Length: 5\r\ntransfer-encoding: chunked",
    ] {
        scene.refuses(400, post(lines, "0\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn http_1_0_has_no_transfer_codings() {
    let scene = Scene::new().await;
    for fields in ["Transfer-Encoding: chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked"] {
        let request = post(fields, "0\r\n\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1);
        scene.refuses(400, request).await;
    }
}

#[tokio::test]
async fn a_name_that_only_looks_like_transfer_encoding_frames_nothing() {
    let scene = Scene::new().await;
    // As some servers would read it: the body is what `Content-Length` says, to everyone who gets it from here.
    let request =
        "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n";
    let expected = "POST /x HTTP/1.1\ncontent-length: 5\ntransfer_encoding: chunked\nhost: a.example\n\n0\r\n\r\n";
    scene.forwards(request, expected).await;
}

#[tokio::test]
async fn lengths_that_differ_or_are_no_plain_number_are_refused() {
    let scene = Scene::new().await;
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5.0",
        "Content-Length: 5 5",
        "Content-Length: five",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Content-Length: \u{665}",
    ] {
        scene.refuses(400, post(fields, "hello")).await;
    }
}

#[tokio::test]
async fn the_same_length_twice_becomes_one() {
    let scene = Scene::new().await;
    let request = "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello";
    scene.forwards(request, "POST /x HTTP/1.1\ncontent-length: 5\nhost: a.example\n\nhello").await;
}

#[tokio::test]
async fn a_length_beyond_every_limit_is_too_large() {
    let scene = Scene::new().await;
    scene.refuses(413, post("Content-Length: 9223372036854775807", "hello")).await;
}

#[tokio::test]
async fn lines_that_are_folded_or_broken_otherwise_are_refused() {
    let scene = Scene::new().await;
    for fields in [
        // obs-fold
        "X-A: 1\r\n Transfer-Encoding: chunked",
        "X-A: 1\r\n\tContent-Length: 5",
        " X-First: folded into the request line",
        // bare CR
        "X-A: 1\rTransfer-Encoding: chunked",
        "X-A: 1\r\rX-B: 2",
        "X-A\r: 1",
        // NUL and other control characters
        "X-A: 1\0",
        "X-\0A: 1",
        "X-A: \u{1}",
        "X-A: \u{7f}",
        // names
        "Content-Length : 5",
        "Transfer-Encoding\t: chunked",
        "X A: 1",
        "X(A): 1",
        ": no name",
        "no colon",
        "X-\u{e9}: 1",
    ] {
        scene.refuses(400, post(fields, "hello")).await;
    }
}

#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_goes_on_as_a_proper_end() {
    let scene = Scene::new().await;
    // RFC 9112 §2.2 allows it; whoever comes next gets to see CRLF only.
    let request = "POST /x HTTP/1.1\nHost: a.example\nX-A: 1\nContent-Length: 5\n\nhello";
    scene.forwards(request, "POST /x HTTP/1.1\ncontent-length: 5\nx-a: 1\nhost: a.example\n\nhello").await;
}

#[tokio::test]
async fn there_is_one_valid_host() {
    let scene = Scene::new().await;
    for hosts in [
        "X-No: host",
        "Host: a.example\r\nHost: a.example",
        "Host: a.example\r\nHost: b.example",
        "Host:",
        "Host: a.example, b.example",
        "Host: a example",
        "Host: user@a.example",
        "Host: a.example/path",
        "Host: a.example:port",
        "Host: a.example:99999",
        "Host: a.example:80:80",
        "Host: [::1",
        "Host: a.example\\",
        "Host: a%2eexample",
    ] {
        scene.refuses(400, format!("GET /x HTTP/1.1\r\n{hosts}\r\n\r\n{SMUGGLED}")).await;
    }
}

#[tokio::test]
async fn an_absolute_target_decides_and_host_says_the_same_afterwards() {
    let scene = Scene::new().await;
    let expected = "GET /x?y HTTP/1.1\nhost: b.example\n\n";
    scene.forwards("GET http://b.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n", expected).await;
    for target in [
        "http://user@b.example/x",
        "http://user:secret@b.example/x",
        "ftp://b.example/x",
        "http:///x",
        "http://b.example:port/x",
        "b.example:80",
        "//b.example/x HTTP/1.1\r\nHost:",
    ] {
        scene.refuses(400, format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n{SMUGGLED}")).await;
    }
}

#[tokio::test]
async fn chunk_sizes_are_plain_hexadecimal_numbers() {
    let scene = Scene::new().await;
    for body in [
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        // a line ends in CRLF
        "5\nhello\n0\n\n",
        "5\rhello\r0\r\r",
        "5\r\nhello\n0\r\n\r\n",
        // a chunk is as long as it says
        "3\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "0\r\nX",
        // too large for any counter
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
    ] {
        scene.refuses(400, post("Transfer-Encoding: chunked", body)).await;
    }
}

#[tokio::test]
async fn chunk_extensions_are_not_passed_on() {
    let scene = Scene::new().await;
    let expected = "POST /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello";
    for body in [
        "5;name=value\r\nhello\r\n0\r\n\r\n",
        "5 \t;\r\nhello\r\n0;last\r\n\r\n",
        "5;a=\"0;GET /smuggled\"\r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n00\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        let request = format!("POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        scene.forwards(request, expected).await;
    }
}

#[tokio::test]
async fn chunk_extensions_with_line_ends_in_them_or_without_end_are_refused() {
    let scene = Scene::new().await;
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000));
    for body in [
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        &long,
    ] {
        scene.refuses(400, post("Transfer-Encoding: chunked", body)).await;
    }
}

#[tokio::test]
async fn what_follows_the_last_chunk_without_an_empty_line_is_no_request() {
    let scene = Scene::new().await;
    // Read as a trailer section, which it is not.
    scene.refuses(400, post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n")).await;
    scene.refuses(400, post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-T : 1\r\n\r\n")).await;
    scene.refuses(400, post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-T: 1\r\n folded\r\n\r\n")).await;
}

#[tokio::test]
async fn a_bare_line_feed_in_trailers_does_not_begin_another_request() {
    let scene = Scene::new().await;
    // Hyper takes all up to the next empty line for trailers, and drops what follows the line feed.
    let request = post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-T: 1\n\r\n");
    scene.forwards(request, "POST /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello").await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_no_request() {
    let scene = Scene::new().await;
    let start = "POST /x HTTP/1.1\r\nHost: a.example\r\n";
    scene.refuses(408, format!("{start}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")).await;
    scene.refuses(408, format!("{start}Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n{SMUGGLED}")).await;
    scene.refuses(408, format!("{start}Content-Length: 1000\r\n\r\n{SMUGGLED}")).await;
}

#[tokio::test]
async fn trailers_cannot_say_what_a_head_says() {
    let scene = Scene::new().await;
    let request = "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\
        Trailer: x-sum, content-length, host, transfer-encoding, connection, x-forwarded-for, x-request-id\r\n\r\n\
        5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 100\r\nHost: b.example\r\nTransfer-Encoding: identity\r\n\
        Connection: close\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-Id: mine\r\nX-Unannounced: 1\r\n\r\n";
    let mut client = RawClient::connect(scene.gateway.address()).await;
    assert_eq!(client.say(request).await.response().await.status(), 200);
    let seen = scene.upstream.take_seen().remove(0).expect("a request");
    assert_eq!(seen.value("host"), "a.example");
    assert_eq!((seen.text(), seen.trailers), ("hello".to_owned(), vec![("x-sum".to_owned(), "1".to_owned())]));
}

#[tokio::test]
async fn request_lines_have_one_form() {
    let scene = Scene::new().await;
    let host = "\r\nHost: a.example\r\n\r\n";
    for line in [
        "GET\t/x\tHTTP/1.1",
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        " GET /x HTTP/1.1",
        "GET /x HTTP/1.1 ",
        "GET /x y HTTP/1.1",
        "GET /x",
        "GET",
        "/x HTTP/1.1",
        "GET /x HTTP/1.2",
        "GET /x HTTP/2.0",
        "GET /x HTTP/0.9",
        "GET /x http/1.1",
        "GET /x HTTP/1.1\0",
        "GET /x\0 HTTP/1.1",
        "GET /x\rHTTP/1.1",
        "G(T /x HTTP/1.1",
        "GET x HTTP/1.1",
        "GET /\u{1}x HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        scene.refuses(400, format!("{line}{host}{SMUGGLED}")).await;
    }
    for line in ["get /x HTTP/1.1", "MADE-UP /x HTTP/1.1"] {
        scene.forwards(format!("{line}{host}"), &format!("{line}\nhost: a.example\n\n")).await;
    }
}

#[tokio::test]
async fn a_request_of_http_0_9_is_refused() {
    let scene = Scene::new().await;
    scene.refuses(400, "GET /smuggled\r\n").await;
    scene.refuses(400, "GET /smuggled\n").await;
}

#[tokio::test]
async fn half_of_the_http_2_preface_is_half_a_request() {
    let scene = Scene::new().await;
    for part in ["P", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let mut client = RawClient::connect(scene.gateway.address()).await;
        let response = client.say(part).await.response().await;
        // The third one is a whole head of a version that is not HTTP/1.
        assert!([400, 408].contains(&response.status()), "{part:?}: {response}");
        is_problem(&response, part);
        client.is_closed().await;
    }
}

#[tokio::test]
async fn escapes_in_a_path_become_neither_lines_nor_spaces() {
    let scene = Scene::new().await;
    for target in ["/%0d%0aX-Smuggled:%201", "/x%0aGET%20/smuggled", "/%00", "/x%", "/%zz", "/\\x", "/../x", "*"] {
        let mut client = RawClient::connect(scene.gateway.address()).await;
        let response = client.say(get(target)).await.response().await;
        assert_eq!(response.status(), 400, "{target}");
        is_problem(&response, target);
        assert_eq!(scene.seen().await, Vec::<String>::new());
    }
    let expected = "GET /x%20HTTP/1.1?%0d%0aX-Smuggled:%201 HTTP/1.1\nhost: a.example\n\n";
    scene.forwards(get("/x%20HTTP/1.1?%0d%0aX-Smuggled:%201"), expected).await;
}

#[tokio::test]
async fn requests_in_a_row_are_as_many_requests_to_the_upstream() {
    let scene = Scene::new().await;
    let first = "POST /1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
    let second = "POST /2 HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut client = RawClient::connect(scene.gateway.address()).await;
    client.say(format!("{first}{second}\r\n{}", get("/3"))).await;
    for _ in 0..3 {
        assert_eq!(client.response().await.status(), 200);
    }
    let expected = [
        "POST /1 HTTP/1.1\ncontent-length: 5\nhost: a.example\n\nhello",
        "POST /2 HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello",
        "GET /3 HTTP/1.1\nhost: a.example\n\n",
    ];
    assert_eq!(scene.seen().await, expected);
}

#[tokio::test]
async fn a_body_where_none_is_usual_is_framed_all_the_same() {
    let scene = Scene::new().await;
    for method in ["GET", "DELETE", "OPTIONS"] {
        let body = SMUGGLED.replace("\r\n", "~");
        let length = body.len();
        let request = format!("{method} /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}");
        let expected = format!("{method} /x HTTP/1.1\ncontent-length: {length}\nhost: a.example\n\n{body}");
        scene.forwards(request, &expected).await;
        let request = format!(
            "{method} /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        let expected = format!("{method} /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\nhello");
        scene.forwards(request, &expected).await;
    }
}

#[tokio::test]
async fn connection_cannot_take_framing_or_host_away() {
    let scene = Scene::new().await;
    let request = "POST /x HTTP/1.1\r\nHost: a.example\r\nConnection: content-length, host, x-hop\r\n\
        X-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nContent-Length: 5\r\n\r\nhello";
    scene.forwards(request, "POST /x HTTP/1.1\ncontent-length: 5\nhost: a.example\n\nhello").await;
}

/// `POST /x`, and what else there is to say.
fn h2_post(more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a.example")];
    fields.extend(more);
    frames::headers(1, 0, &fields)
}

async fn h2_fate(scene: &Scene, frames: &[Vec<u8>]) -> Fate {
    let mut client = Frames::connect(scene.gateway.address()).await;
    for frame in frames {
        client.try_send(frame).await;
    }
    client.fate(1).await
}

#[tokio::test]
async fn http_2_fields_that_would_break_http_1_are_refused() {
    let scene = Scene::new().await;
    let end = frames::frame(frames::DATA, frames::END_STREAM, 1, b"0\r\n\r\n");
    for field in [
        ("transfer-encoding", "chunked"),
        ("connection", "transfer-encoding"),
        ("x-a", "1\r\ntransfer-encoding: chunked"),
        ("x-a", "1\nx: y"),
        ("x-a", "1\0"),
        ("x-a: 1\r\nx-b", "1"),
        ("x a", "1"),
        ("X-A", "1"),
        ("", "1"),
        (":path", "/other"),
        (":made-up", "1"),
        ("host", "b.example"),
        ("te", "gzip"),
        ("content-length", "100"),
        ("content-length", "1"),
        ("content-length", "+5"),
        ("content-length", "5, 5"),
    ] {
        let fate = h2_fate(&scene, &[h2_post(&[field]), end.clone()]).await;
        assert!(matches!(fate, Fate::Reset | Fate::Ended | Fate::Answered(400)), "{field:?}: {fate:?}");
        assert_eq!(scene.seen().await, Vec::<String>::new(), "{field:?}");
    }
}

#[tokio::test]
async fn http_2_pseudo_fields_that_would_break_a_request_line_are_refused() {
    let scene = Scene::new().await;
    let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "a.example")];
    for field in [
        (":method", "GET /smuggled HTTP/1.1\r\nx:"),
        (":method", "GET "),
        (":method", ""),
        (":path", "/x HTTP/1.1\r\nHost: b.example\r\n\r\nGET /smuggled"),
        (":path", "/x y"),
        (":path", "x"),
        (":path", ""),
        (":path", "*"),
        (":authority", "a.example\r\nx: y"),
        (":authority", "user@a.example"),
        (":authority", "a.example/x"),
        (":authority", ""),
        (":scheme", "ftp"),
        (":scheme", "http://b.example/?"),
    ] {
        let fields = usual.map(|(name, value)| if name == field.0 { field } else { (name, value) });
        let fate = h2_fate(&scene, &[frames::headers(1, frames::END_STREAM, &fields)]).await;
        assert!(matches!(fate, Fate::Reset | Fate::Ended | Fate::Answered(400)), "{field:?}: {fate:?}");
        assert_eq!(scene.seen().await, Vec::<String>::new(), "{field:?}");
    }
}

#[tokio::test]
async fn an_http_2_body_is_framed_anew() {
    let scene = Scene::new().await;
    let end = frames::frame(frames::DATA, frames::END_STREAM, 1, b"0\r\n\r\nGET /smuggled");
    assert_eq!(h2_fate(&scene, &[h2_post(&[]), end.clone()]).await, Fate::Answered(200));
    let expected = "POST /x HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\n0\r\n\r\nGET /smuggled";
    assert_eq!(scene.seen().await, [expected]);
    assert_eq!(h2_fate(&scene, &[h2_post(&[("content-length", "18")]), end]).await, Fate::Answered(200));
    let expected = "POST /x HTTP/1.1\ncontent-length: 18\nhost: a.example\n\n0\r\n\r\nGET /smuggled";
    assert_eq!(scene.seen().await, [expected]);
}
