//! One line for each exchange, whatever ended it.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{
    Client, Gate, RawUpstream, TestGateway, Upstream, client::Request, eventually, guests, nobody, raw,
};

/// A gateway that logs to `access.log`, with a route for each way in which an exchange can end.
struct Logged {
    gateway: TestGateway,
    yaml: String,
    gate: Gate,
    _upstreams: (Upstream, RawUpstream),
}

impl Logged {
    async fn with(config: &Value) -> Self {
        let (echo, gate) = (Upstream::echo().await, Gate::answering("late").await);
        let endless = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await;
        let yaml = format!(
            "sinks: {{ access: {{ file: access.log }}, own: stderr }}
secrets: {{ own: {{ file: own.txt }} }}
plugins: {{ {waiter}, {naughty} }}
upstreams:
  echo: {{ endpoints: ['http://{echo}'] }}
  gate: {{ endpoints: ['http://{gate}'] }}
  endless: {{ endpoints: ['http://{endless}'] }}
  nobody: {{ endpoints: ['http://{nobody}'] }}
global-plugins: [{{ name: access-log, config: {config} }}]
routes:
  - {{ name: echo, match: {{ path: '/echo/{{*rest}}', methods: [GET, POST] }}, upstream: echo }}
  - {{ name: gate, match: {{ path: /gate }}, upstream: gate }}
  - {{ name: endless, match: {{ path: /endless }}, upstream: endless }}
  - {{ name: nobody, match: {{ path: /nobody }}, upstream: nobody }}
  - {{ name: limited, match: {{ path: /limited }}, upstream: echo, plugins: [{{ name: rate-limit, config: {{ limit: 1, per: 1h }} }}] }}
  - {{ name: trap, match: {{ path: /trap }}, upstream: echo, plugins: [{{ name: naughty, config: {{ do: trap }} }}] }}
  - {{ name: asks, match: {{ path: /asks }}, upstream: echo, plugins: [{{ name: waiter, config: {{ do: call-upstream, upstream: gate, timeout-ms: 60000 }} }}] }}
",
            waiter = guests::waiter("upstreams: [gate]", ""),
            naughty = guests::naughty(""),
            echo = echo.address(),
            gate = gate.address(),
            endless = endless.address(),
            nobody = nobody(),
        );
        let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
        Self { gateway, yaml, gate, _upstreams: (echo, endless) }
    }

    fn file(&self) -> PathBuf {
        self.gateway.folder().join("access.log")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// The lines, once there are as many.
    async fn lines(&self, number: usize) -> Vec<String> {
        let lines = || self.text().lines().map(str::to_owned).collect::<Vec<_>>();
        eventually(&format!("{number} lines, of {:?}", lines()), async || lines().len() >= number).await;
        let lines = lines();
        assert_eq!(lines.len(), number, "{lines:#?}");
        lines
    }

    /// The only line, as JSON.
    async fn line(&self) -> Value {
        serde_json::from_str(&self.lines(1).await[0]).expect("JSON")
    }

    async fn get(&self, target: &str) -> u16 {
        self.gateway.get(target).await.status.as_u16()
    }

    /// A client of which only the bytes are known.
    async fn dial(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.gateway.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

fn json_lines() -> Value {
    json!({ "sink": "access" })
}

fn facts<'a>(line: &'a Value, names: &[&str]) -> Vec<&'a Value> {
    names.iter().map(|name| &line[*name]).collect()
}

#[tokio::test]
async fn a_response_has_its_line_with_every_fact() {
    let logged = Logged::with(&json!({ "sink": "access", "static": { "service": "edge" } })).await;
    let response = logged.gateway.send(Request::post("/echo/a?secret=1", "four")).await;
    let line = logged.line().await;
    assert_eq!(line["request_id"], response.header("x-request-id"));
    assert_eq!(line["client_address"], "127.0.0.1");
    assert_eq!(line["authority"], logged.gateway.address().to_string());
    assert_eq!(
        facts(&line, &["service", "route", "method", "path", "protocol", "status", "upstream", "request_bytes"]),
        [
            &json!("edge"),
            &json!("echo"),
            &json!("POST"),
            &json!("/echo/a"),
            &json!("HTTP/1.1"),
            &json!(200),
            &json!("echo"),
            &json!(4)
        ]
    );
    assert_eq!(line["response_bytes"], response.body.len());
    assert!(line["duration_ms"].as_f64() >= line["upstream_ms"].as_f64(), "{line}");
    assert!(line["upstream_ms"].as_f64().unwrap() > 0.0, "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    assert_eq!(line.get("failure"), None);
    assert!(!logged.text().contains("secret"), "queries carry secrets");
}

#[tokio::test]
async fn the_gateways_own_answers_have_theirs() {
    let logged = Logged::with(&json_lines()).await;
    let asked = [("/unknown", 404), ("/nobody", 502), ("/trap", 500), ("/limited", 200), ("/limited", 429)];
    for (target, status) in asked {
        assert_eq!(logged.get(target).await, status, "{target}");
    }
    let other_method = Request::new(http::Method::DELETE, "/echo/a");
    assert_eq!(logged.gateway.send(other_method).await.status, 405);
    let mut lines: Vec<Value> =
        logged.lines(6).await.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // Two workers write to one file.
    lines.sort_by_key(|line| line["status"].as_u64());
    let seen: Vec<_> = lines.iter().map(|line| facts(line, &["status", "route", "failure", "upstream"])).collect();
    let null = Value::Null;
    let expected = [
        [&json!(200), &json!("limited"), &null, &json!("echo")],
        [&json!(404), &null, &json!("no-route"), &null],
        [&json!(405), &null, &json!("method-not-allowed"), &null],
        [&json!(429), &json!("limited"), &null, &null],
        [&json!(500), &json!("trap"), &json!("plugin-failed"), &null],
        [&json!(502), &json!("nobody"), &json!("upstream-unreachable"), &json!("nobody")],
    ];
    assert_eq!(seen, expected.map(Vec::from));
}

#[tokio::test]
async fn what_is_no_request_has_a_line_with_a_hyphen_for_its_method() {
    let logged = Logged::with(&json_lines()).await;
    let answer = logged.gateway.raw(b"GET /echo/a HTTP/1.1\r\nhost: a\r\nno colon here\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let line = logged.line().await;
    let expected = [&json!("-"), &json!(400), &json!("malformed-request"), &Value::Null];
    assert_eq!(facts(&line, &["method", "status", "failure", "route"]), expected);
    assert!(answer.contains(line["request_id"].as_str().unwrap()), "{answer} {line}");
    assert_eq!(line["client_address"], "127.0.0.1");
}

#[tokio::test]
async fn a_client_that_left_before_the_response_has_a_line() {
    let logged = Logged::with(&json_lines()).await;
    let client = logged.dial("GET /gate HTTP/1.1\r\nhost: a\r\n\r\n").await;
    logged.gate.arrivals(1).await;
    drop(client);
    let line = logged.line().await;
    let expected = [&json!(499), &json!("client-closed"), &json!("gate"), &json!("gate"), &json!(0)];
    assert_eq!(facts(&line, &["status", "failure", "route", "upstream", "response_bytes"]), expected);
}

#[tokio::test]
async fn a_client_that_left_in_the_middle_of_the_response_has_a_line() {
    let logged = Logged::with(&json_lines()).await;
    let mut client = logged.dial("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    raw::read_until(&mut client, "begun").await;
    drop(client);
    let line = logged.line().await;
    let expected = [&json!(200), &json!("client-closed"), &json!("endless"), &json!(5)];
    assert_eq!(facts(&line, &["status", "failure", "route", "response_bytes"]), expected);
}

#[tokio::test]
async fn a_client_that_left_while_a_plugin_waited_has_a_line_and_takes_nothing_with_it() {
    let logged = Logged::with(&json_lines()).await;
    let client = logged.dial("GET /asks HTTP/1.1\r\nhost: a\r\n\r\n").await;
    logged.gate.arrivals(1).await;
    drop(client);
    let line = logged.line().await;
    assert_eq!(facts(&line, &["status", "failure", "route"]), [&json!(499), &json!("client-closed"), &json!("asks")]);
    logged.gate.release(2);
    assert_eq!(logged.gateway.get("/asks").await.text(), "late");
}

#[tokio::test]
async fn a_stream_that_was_reset_has_a_line() {
    let logged = Logged::with(&json_lines()).await;
    let mut client = Client::connect_http2(logged.gateway.address()).await;
    let mut other = client.share();
    {
        let waits = client.begin(Request::get("/gate"));
        tokio::select! {
            _ = waits => panic!("the gate is shut"),
            () = logged.gate.arrivals(1) => {}
        }
    }
    let line = logged.line().await;
    let expected = [&json!(499), &json!("client-closed"), &json!("HTTP/2.0")];
    assert_eq!(facts(&line, &["status", "failure", "protocol"]), expected);
    assert_eq!(other.send(Request::get("/echo/a")).await.status, 200);
}

#[tokio::test]
async fn common_log_format_is_what_web_servers_write() {
    let logged = Logged::with(&json!({ "sink": "access", "format": "combined" })).await;
    let request = Request::get("/echo/a?b=c").header("user-agent", "curl/8").header("referer", "http://x/");
    let bytes = logged.gateway.send(request).await.body.len();
    let line = &logged.lines(1).await[0];
    let (before, after) = (line.find('[').unwrap(), line.find(']').unwrap());
    assert_eq!(&line[..before], "127.0.0.1 - - ");
    assert_eq!(line[before..=after].len(), "[01/Jan/2026:00:00:00 +0000]".len(), "{line}");
    assert_eq!(&line[after + 1..], format!(" \"GET /echo/a?b=c HTTP/1.1\" 200 {bytes} \"http://x/\" \"curl/8\""));
    let _ = logged.gateway.raw(b"\x16\x03\x01\x02\x00 this is TLS\r\n\r\n").await;
    let line = &logged.lines(2).await[1];
    assert!(line.contains("] \"- / HTTP/1.1\" 400 ") || line.contains("] \"- - "), "{line}");
}

#[tokio::test]
async fn no_value_can_pass_for_a_line_of_its_own() {
    let fields = ["path", "header.user-agent", "header.x-odd"];
    for config in [json!({ "sink": "access", "fields": fields }), json!({ "sink": "access", "format": "combined" })] {
        let logged = Logged::with(&config).await;
        // Everything that a field value may have (RFC 9110 §5.5): a next line in ISO 8859-1 and in UTF-8, a line
        // separator, a tab, an override of the direction, and quotation marks that close.
        let hostile: &[u8] = b"x\" 200 0\t\x85\xc2\x85\xe2\x80\xa8\xe2\x80\xae\\\" \xff";
        let request = [
            &b"GET /echo/a%20b%22?%0d%0a127.0.0.1%20-%20root%22%0a HTTP/1.1\r\nhost: a\r\nconnection: close\r\nuser-agent: "[..],
            hostile,
            b"\r\nx-odd: ",
            hostile,
            b"\r\n\r\n",
        ]
        .concat();
        let answer = logged.gateway.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        logged.lines(1).await;
        let bytes = std::fs::read(logged.file()).unwrap();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(bytes.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\n' || *byte >= 0x80));
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(!text.contains(['\u{85}', '\u{2028}', '\u{202e}', '\t']), "{text}");
        if config["format"].is_null() {
            let line: Value = serde_json::from_str(&text).expect("one object");
            assert_eq!(line["header_user_agent"], "x\" 200 0\t\u{fffd}\u{85}\u{2028}\u{202e}\\\" \u{fffd}");
            assert_eq!(line.as_object().unwrap().len(), 3);
        } else {
            let unescaped = text.replace(r"\\", "").replace("\\\"", "");
            assert_eq!(unescaped.matches('"').count(), 6, "three pairs of quotation marks: {text}");
        }
    }
}

#[tokio::test]
async fn a_rotated_file_is_let_go_at_the_reload_and_no_line_is_lost() {
    let mut logged = Logged::with(&json_lines()).await;
    assert_eq!(logged.get("/echo/a").await, 200);
    logged.lines(1).await;
    let rotated = logged.gateway.folder().join("access.log.1");
    std::fs::rename(logged.file(), &rotated).unwrap();
    assert_eq!(logged.get("/echo/b").await, 200);
    let before = || std::fs::read_to_string(&rotated).unwrap().lines().count();
    eventually("the second line follows the first", async || before() == 2).await;
    let yaml = logged.yaml.clone();
    logged.gateway.reload(&yaml).await.unwrap();
    assert_eq!(logged.get("/echo/c").await, 200);
    assert_eq!(logged.line().await["path"], "/echo/c");
    assert_eq!(before(), 2);
}

#[tokio::test]
async fn a_full_file_is_renamed_under_load_and_no_line_is_lost() {
    const LINES: usize = 300;
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "sinks: {{ access: {{ file: access.log, rotate: {{ size: 4KiB, keep: 1000 }} }} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
global-plugins: [{{ name: access-log, config: {{ sink: access }} }}]
routes: [{{ name: all, upstream: echo }}]",
        upstream.address()
    ))
    .await;
    let clients = (0..3).map(async |client| {
        let mut connection = Client::connect(gateway.address()).await;
        for n in 0..LINES / 3 {
            assert_eq!(connection.send(Request::get(&format!("/{client}-{n}"))).await.status, 200);
        }
    });
    futures_util::future::join_all(clients).await;

    let files = || {
        let named = std::fs::read_dir(gateway.folder()).unwrap().map(|entry| entry.unwrap().path());
        named.filter(|path| path.to_string_lossy().contains("access.log")).collect::<Vec<_>>()
    };
    let texts = || files().iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect::<Vec<_>>();
    let lines = || texts().iter().map(|text| text.lines().count()).sum::<usize>();
    eventually("every line is in some file", async || lines() == LINES).await;
    let texts = texts();
    assert!(texts.len() > LINES / 20, "{} files", texts.len());
    assert!(texts.iter().all(|text| text.len() <= 4096 && text.ends_with('\n')));
    let mut paths: Vec<_> = texts
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| serde_json::from_str::<Value>(line).expect("a whole line")["path"].to_string())
        .collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), LINES);
}
