//! WebSockets (RFC 6455): the handshake goes through the plugins, what follows goes through untouched. At both ends is
//! tokio-tungstenite, and in one test Chromium, where it is installed.

use std::{fs, net::SocketAddr, process::Stdio, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::{client, server},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::support::{
    Authority, RawUpstream, TestGateway, Upstream, certs::handshake, counted::metric, eventually, in_time, raw,
};

const NAME: &str = "api.example.com";

/// A WebSocket server that sends back what it gets, and tells how each of its connections ended.
pub struct Echo {
    pub address: SocketAddr,
    ends: mpsc::UnboundedReceiver<Option<CloseCode>>,
    task: JoinHandle<()>,
}

impl Echo {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, ends) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    // Tells the client what a plugin told the server, and refuses who asks for it.
                    #[expect(clippy::result_large_err, reason = "the type is the library's own")]
                    let answer = |request: &server::Request, mut response: server::Response| {
                        if request.uri().path() == "/refused" {
                            let mut refusal = server::ErrorResponse::new(None);
                            *refusal.status_mut() = http::StatusCode::FORBIDDEN;
                            return Err(refusal);
                        }
                        if let Some(user) = request.headers().get("x-user") {
                            response.headers_mut().insert("x-seen-user", user.clone());
                        }
                        Ok(response)
                    };
                    if let Ok(socket) = accept_hdr_async(stream, answer).await {
                        let _ = sender.send(echo(socket).await);
                    }
                });
            }
        });
        Self { address, ends, task }
    }

    /// The code with which a connection was closed; none if it just ended.
    pub async fn ended(&mut self) -> Option<CloseCode> {
        in_time("a connection's end", self.ends.recv()).await.expect("the server runs")
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut socket: WebSocketStream<TcpStream>) -> Option<CloseCode> {
    let mut code = None;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Close(frame) => code = frame.map(|frame| frame.code),
            Message::Text(_) | Message::Binary(_) => socket.send(message).await.ok()?,
            _ => {}
        }
    }
    code
}

fn config(upstream: SocketAddr, settings: &str, route: &str) -> String {
    format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}, {{ address: '127.0.0.1:0', tls: {{ certificates: [{{ cert: api.pem, key: api.key }}] }} }}]
admin: {{ address: '127.0.0.1:0' }}
sinks: {{ log: {{ file: access.log }} }}
{settings}
upstreams: {{ sockets: {{ endpoints: ['http://{upstream}'] }} }}
global-plugins:
  - {{ name: access-log, config: {{ sink: log, fields: [status, failure, request.bytes, response.bytes] }} }}
  - name: transform
    config:
      request: {{ set-headers: {{ x-user: '{{header.x-name|nobody}}' }} }}
      response: {{ set-headers: {{ x-served-by: gateway }} }}
routes:
  - name: sockets
    upstream: sockets
    {route}
"
    )
}

const ALLOWED: &str = "upgrades: [websocket]";

/// What a client says beside `Upgrade` and `Connection` (RFC 6455 §4.1).
pub const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13";

async fn start(authority: &Authority, upstream: SocketAddr, settings: &str, route: &str) -> TestGateway {
    let folder = TempDir::new().unwrap();
    authority.issue(folder.path(), "api", &[NAME]);
    TestGateway::start_in(folder, &config(upstream, settings, route)).await
}

pub type Opened<S> = Result<(WebSocketStream<S>, client::Response), Error>;

async fn open_on<S: AsyncRead + AsyncWrite + Unpin>(stream: S, target: &str) -> Opened<S> {
    let mut request = format!("ws://{NAME}{target}").into_client_request().expect("a request");
    request.headers_mut().insert("x-name", "anna".parse().expect("a value"));
    in_time("the handshake", client_async(request, stream)).await
}

pub async fn open(gateway: &TestGateway, target: &str) -> Opened<TcpStream> {
    open_on(TcpStream::connect(gateway.address()).await.expect("a connection"), target).await
}

/// Sends messages of several kinds and sizes, and gets them back.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    let large: Vec<u8> = (0..300_000).map(|n| n as u8).collect();
    for message in
        [Message::text("hello"), Message::binary(large), Message::text(""), Message::text("ü".repeat(70_000))]
    {
        socket.send(message.clone()).await.expect("taken");
        assert_eq!(next(socket).await, Some(message));
    }
    socket.send(Message::Ping("still there?".into())).await.expect("taken");
    assert_eq!(next(socket).await, Some(Message::Pong("still there?".into())));
}

pub async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Option<Message> {
    in_time("a message", socket.next()).await.map(|message| message.expect("a valid message"))
}

/// The code with which the other side closes.
pub async fn closed<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Option<CloseCode> {
    while let Some(message) = in_time("the end", socket.next()).await {
        if let Ok(Message::Close(frame)) = message {
            // The answer is sent while the end is awaited.
            while let Some(Ok(_)) = in_time("the end", socket.next()).await {}
            return frame.map(|frame| frame.code);
        }
    }
    None
}

async fn logged(gateway: &TestGateway, text: &str) {
    let file = gateway.folder().join("access.log");
    eventually(text, async || fs::read_to_string(&file).is_ok_and(|log| log.contains(text))).await;
}

fn normal() -> Option<CloseFrame> {
    Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })
}

#[tokio::test]
async fn messages_pass_both_ways_and_the_handshake_passes_the_plugins() {
    let (authority, mut upstream) = (Authority::new(), Echo::start().await);
    let gateway = start(&authority, upstream.address, "", ALLOWED).await;
    let (mut socket, response) = open(&gateway, "/chat").await.expect("a WebSocket");
    assert_eq!(response.headers()["x-seen-user"], "anna", "the request phase ran");
    assert_eq!(response.headers()["x-served-by"], "gateway", "the response phase ran");
    assert!(response.headers().contains_key("x-request-id"));
    converse(&mut socket).await;
    assert_eq!(metric(&gateway, "gateway_upgraded_connections{route=\"sockets\"}").await, 1);
    socket.close(normal()).await.expect("taken");
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Normal));
    assert_eq!(upstream.ended().await, Some(CloseCode::Normal));
    logged(&gateway, r#"{"status":101,"request_bytes":4"#).await;
    eventually("it is over", async || metric(&gateway, "gateway_upgraded_connections{route=\"sockets\"}").await == 0)
        .await;
    for direction in ["received", "sent"] {
        let series = format!("gateway_upgraded_bytes_total{{route=\"sockets\",direction=\"{direction}\"}}");
        assert!(metric(&gateway, &series).await > 440_000);
    }
    assert_eq!(metric(&gateway, "gateway_upstream_connections{upstream=\"sockets\"}").await, 0);
}

#[tokio::test]
async fn tls_makes_no_difference() {
    let (authority, mut upstream) = (Authority::new(), Echo::start().await);
    let gateway = start(&authority, upstream.address, "", ALLOWED).await;
    let stream = handshake(gateway.addresses()[1], NAME, authority.client(&["http/1.1"])).await.unwrap();
    let (mut socket, _) = open_on(stream, "/chat").await.expect("a WebSocket");
    converse(&mut socket).await;
    socket.close(normal()).await.expect("taken");
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Normal));
    assert_eq!(upstream.ended().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn a_route_that_does_not_allow_it_passes_on_an_ordinary_request() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = start(&authority, upstream.address(), "", "").await;
    let Err(Error::Http(response)) = open(&gateway, "/chat").await else { panic!("no upgrade was allowed") };
    assert_eq!(response.status(), 200);
    let body = response.into_body().unwrap_or_default();
    let seen = String::from_utf8_lossy(&body).to_lowercase();
    assert!(seen.contains("sec-websocket-key") && !seen.contains("\"upgrade\""), "{seen}");
}

#[tokio::test]
async fn a_plugin_or_the_upstream_may_refuse_and_the_connection_goes_on() {
    let (authority, upstream) = (Authority::new(), Echo::start().await);
    let route = "upgrades: [websocket]\n    plugins: [{ name: rate-limit, config: { limit: 1, per: 1h } }]";
    let gateway = start(&authority, upstream.address, "", route).await;
    let Err(Error::Http(response)) = open(&gateway, "/refused").await else { panic!("the upstream refuses") };
    assert_eq!(response.status(), 403);
    let ask = format!("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n{KEY}\r\n\r\n");
    let end = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answers = gateway.raw(format!("{ask}{end}").as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 429").count(), 2, "{answers}");
}

#[tokio::test]
async fn what_is_sent_early_is_part_of_the_tunnel() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n\x82\x05first";
        stream.write_all(head).await.ok()?;
        let mut early = [0; 5];
        stream.read_exact(&mut early).await.ok()?;
        stream.write_all(&[b"\x82\x05", &early[..]].concat()).await.ok()?;
        None
    })
    .await;
    let gateway = start(&Authority::new(), upstream.address(), "", ALLOWED).await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let ask = format!(
        "GET /a/../b HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n{KEY}\r\n\r\nearly"
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let answer = raw::read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    assert!(
        answer.contains("\r\nconnection: upgrade\r\n") && answer.contains("\r\nupgrade: websocket\r\n"),
        "{answer}"
    );
    assert!(answer.contains("first") && answer.ends_with("early"), "{answer:?}");
    assert!(upstream.received().starts_with("GET /b HTTP/1.1\r\n"));
}

#[tokio::test]
async fn another_version_is_for_the_upstream_to_refuse_and_the_connection_goes_on() {
    let upstream = RawUpstream::answering(
        b"HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nconnection: upgrade, close\r\nsec-websocket-version: 13\r\n\
          content-length: 0\r\n\r\n",
    )
    .await;
    let gateway = start(&Authority::new(), upstream.address(), "", ALLOWED).await;
    let ask = format!("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n{KEY}\r\n\r\n");
    let ask = ask.replace("sec-websocket-version: 13", "sec-websocket-version: 8");
    let end = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answers = gateway.raw(format!("{ask}{end}").as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 426").count(), 2, "{answers}");
    assert_eq!(answers.matches("sec-websocket-version: 13").count(), 2, "{answers}");
    assert_eq!(upstream.received().matches("sec-websocket-version: 8").count(), 1, "{}", upstream.received());
}

#[tokio::test]
async fn only_a_whole_handshake_switches_protocols() {
    let upstream = RawUpstream::answering(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    )
    .await;
    let gateway = start(&Authority::new(), upstream.address(), "", ALLOWED).await;
    let head = |version: &str, fields: &str| format!("GET / HTTP/{version}\r\nhost: a\r\n{fields}\r\n\r\n");
    let upgrade = "upgrade: websocket";
    for ask in [
        // RFC 9110 §7.8: for us only where `Connection` says so.
        head("1.1", &format!("{upgrade}\r\n{KEY}")),
        head("1.1", &format!("{upgrade}\r\nconnection: keep-alive\r\n{KEY}")),
        head("1.1", &format!("{upgrade}\r\nconnection: upgraded\r\n{KEY}")),
        head("1.0", &format!("{upgrade}\r\nconnection: upgrade\r\n{KEY}")),
        // RFC 6455 §4.2.1.
        head("1.1", &format!("{upgrade}\r\nconnection: upgrade\r\nsec-websocket-version: 13")),
        head(
            "1.1",
            &format!("{upgrade}\r\nconnection: upgrade\r\nsec-websocket-key: short\r\nsec-websocket-version: 13"),
        ),
        head("1.1", &format!("{upgrade}\r\nconnection: upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")),
        head("1.1", &format!("{upgrade}\r\nconnection: upgrade\r\n{KEY}\r\ncontent-length: 1")) + "x",
        head("1.1", &format!("{upgrade}\r\nconnection: upgrade\r\n{KEY}")).replace("GET", "POST"),
    ] {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        // The upstream has switched, although it was not asked to.
        let answer = raw::read_until(&mut stream, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502") || answer.starts_with("HTTP/1.0 502"), "{ask}{answer}");
    }
    assert!(!upstream.received().to_lowercase().contains("upgrade:"), "{}", upstream.received());
}

#[tokio::test]
async fn an_upstream_that_does_not_say_upgrade_in_connection_is_a_bad_gateway() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").await;
    let gateway = start(&Authority::new(), upstream.address(), "", ALLOWED).await;
    let Err(Error::Http(response)) = open(&gateway, "/").await else { panic!("it has not switched") };
    assert_eq!(response.status(), 502);
}

#[tokio::test]
async fn an_upstream_that_switches_to_something_else_is_a_bad_gateway() {
    for protocol in ["h2c", "websocket, x", "x"] {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n");
        let head = Arc::new(head);
        let upstream = RawUpstream::on_head(move |mut stream| {
            let head = head.clone();
            async move {
                stream.write_all(head.as_bytes()).await.ok()?;
                Some(stream)
            }
        })
        .await;
        let gateway = start(&Authority::new(), upstream.address(), "", ALLOWED).await;
        let Err(Error::Http(response)) = open(&gateway, "/").await else { panic!("{protocol} is no WebSocket") };
        assert_eq!(response.status(), 502, "{protocol}");
    }
}

#[tokio::test]
async fn a_silent_websocket_is_closed_in_good_order() {
    let mut upstream = Echo::start().await;
    let route = "upgrades: [websocket]\n    timeouts: { upgrade-idle: 500ms }";
    let gateway = start(&Authority::new(), upstream.address, "", route).await;
    let (mut socket, _) = open(&gateway, "/").await.expect("a WebSocket");
    converse(&mut socket).await;
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Away));
    assert_eq!(upstream.ended().await, Some(CloseCode::Away), "the client's answer reaches the upstream");
    logged(&gateway, r#"{"status":101,"request_bytes""#).await;
}

#[tokio::test]
async fn a_drain_tells_clients_that_the_gateway_goes_away_and_waits_for_their_answer() {
    let mut upstream = Echo::start().await;
    let settings = "timeouts: { drain: 60s, idle: 1h, upgrade-idle: 1h }";
    let mut gateway = start(&Authority::new(), upstream.address, settings, ALLOWED).await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let (mut socket, _) = open(&gateway, "/").await.expect("a WebSocket");
        socket.send(Message::text("hello")).await.expect("taken");
        assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
        sockets.push(socket);
    }
    let drained = gateway.drain();
    for socket in &mut sockets {
        assert_eq!(closed(socket).await, Some(CloseCode::Away));
        assert_eq!(upstream.ended().await, Some(CloseCode::Away));
    }
    in_time("the drain", drained).await.expect("no panic");
}

#[tokio::test]
async fn who_leaves_without_a_word_takes_the_other_side_along() {
    let mut upstream = Echo::start().await;
    let gateway = start(&Authority::new(), upstream.address, "", ALLOWED).await;
    let (socket, _) = open(&gateway, "/").await.expect("a WebSocket");
    drop(socket);
    assert_eq!(upstream.ended().await, None);
    let (mut socket, _) = open(&gateway, "/").await.expect("a WebSocket");
    drop(upstream);
    // The server's task is gone, its connections are not: they end when their client says so.
    socket.close(None).await.expect("taken");
    closed(&mut socket).await;
    eventually("all are gone", async || {
        metric(&gateway, "gateway_upgraded_connections{route=\"sockets\"}").await == 0
            && metric(&gateway, "gateway_connections").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_client_that_asks_for_another_protocol_gets_a_proper_end() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = start(&authority, upstream.address(), "", ALLOWED).await;
    for protocol in ["h2c", "websocket, h2c"] {
        let mut stream = handshake(gateway.addresses()[1], NAME, authority.client(&["http/1.1"])).await.unwrap();
        let ask =
            format!("GET / HTTP/1.1\r\nhost: a\r\nupgrade: {protocol}\r\nconnection: upgrade, close\r\n{KEY}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await;
        read.expect("an end").expect("close_notify before the end");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn websocket_yaml_allows_them_on_one_route() {
    let upstream = Echo::start().await;
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/websocket.yaml")).unwrap();
    let text = text.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9001", &upstream.address.to_string());
    let gateway = TestGateway::start(&text).await;
    let (mut socket, response) = open(&gateway, "/chat").await.expect("a WebSocket");
    assert!(response.headers().contains_key("ratelimit"));
    converse(&mut socket).await;
    assert!(open(&gateway, "/other").await.is_err());
}

/// Where Debian's `chromium` is installed; elsewhere the other end is tungstenite's alone.
#[tokio::test]
async fn a_browser_talks_to_the_service_behind_the_gateway() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(chromium) = std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|file| file.is_file())
    else {
        return eprintln!("no `chromium` here: WebSockets are not judged by a browser");
    };
    let (mut upstream, told) = (Echo::start().await, Upstream::echo().await);
    let yaml = format!(
        r#"
upstreams:
  chat: {{ endpoints: ["http://{}"] }}
  told: {{ endpoints: ["http://{}"] }}
routes:
  - {{ name: chat, match: {{ path: /chat }}, upgrades: [websocket], upstream: chat }}
  - {{ name: told, match: {{ path: /heard/hello }}, upstream: told }}
  - name: page
    match: {{ path: / }}
    respond:
      headers: {{ content-type: text/html }}
      body: |
        <!doctype html><title>chat</title><script>
        const socket = new WebSocket(`ws://${{location.host}}/chat`);
        socket.onopen = () => socket.send('hello');
        socket.onmessage = message => {{ fetch(`/heard/${{message.data}}`); socket.close(1000); }};
        </script>
"#,
        upstream.address,
        told.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    let profile = tempfile::tempdir().expect("a folder");
    let _browser = Browser::start(
        tokio::process::Command::new(chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"])
            .args(["--no-proxy-server", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("http://{}/", gateway.address())),
    );
    eventually("the page hearing what it said", async || told.requests() == 1).await;
    assert_eq!(upstream.ended().await, Some(CloseCode::Normal));
}

/// A browser with all the processes that it starts, which outlive it if nobody ends them.
struct Browser(tokio::process::Child);

impl Browser {
    fn start(command: &mut tokio::process::Command) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        Self(command.process_group(0).spawn().expect("it starts"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) = self.0.id() {
            let _ = std::process::Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status();
        }
    }
}
