//! One test for each defect that was found by reading; its name says what is right.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    basics::everything_to,
    support::{
        Authority, Client, Process, RawUpstream, TestGateway, Upstream, certs, client::Request, eventually, guests,
        in_time, process, raw, upstream::full,
    },
};

/// A gateway with one use of a guest on every route; more of the configuration may go before.
async fn with_guest(upstream: std::net::SocketAddr, guest: &str, plugin: &str, before: &str) -> TestGateway {
    let yaml = format!(
        "{before}
{}
plugins: {{ {guest} }}
global-plugins: [{plugin}]
{}",
        guests::OWN,
        everything_to(upstream)
    );
    TestGateway::start_in(guests::folder(), &yaml).await
}

#[tokio::test]
async fn whether_a_response_has_a_body_depends_on_the_clients_method_and_not_on_a_plugins() {
    let upstream = Upstream::serving(|_| async { http::Response::new(full("hello")) }).await;
    for (theirs, plugins, body) in [("GET", "HEAD", ""), ("HEAD", "GET", "")] {
        let plugin = format!("{{ name: naughty, config: {{ do: method, with: {plugins} }} }}");
        let gateway = with_guest(upstream.address(), &guests::naughty(""), &plugin, "").await;
        for mut client in [Client::connect(gateway.address()).await, Client::connect_http2(gateway.address()).await] {
            for _ in 0..2 {
                let response = client.send(Request::new(theirs.parse().unwrap(), "/")).await;
                assert_eq!((response.status.as_u16(), response.text().as_str()), (200, body), "{theirs}");
            }
        }
        let metrics = gateway.metrics().await;
        assert!(metrics.contains("gateway_failures_total{reason=\"client-closed\"} 0"), "{theirs}: {metrics}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_whole_when_its_time_is_over_is_the_clients_fault() {
    let upstream = Upstream::echo().await;
    let yaml = format!("timeouts: {{ body: 300ms }}\n{}", everything_to(upstream.address()));
    let gateway = TestGateway::start(&yaml).await;
    let half = gateway.raw(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert!(half.starts_with("HTTP/1.1 408 "), "{half}");
}

/// HTTP/2 by hand (RFC 9113 §4.1): a preface, settings, and `GET /` on stream 1. What comes is left unread.
async fn get_over_http2(gateway: &TestGateway, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    let length = u8::try_from(settings.len()).expect("few settings");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, length, 4, 0, 0, 0, 0, 0]);
    bytes.extend(settings);
    // `:method: GET`, `:scheme: http`, `:path: /` and `:authority: a` (RFC 7541 appendix A).
    bytes.extend([0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x01, 1, b'a']);
    stream.write_all(&bytes).await.expect("the bytes are taken");
    stream
}

#[tokio::test]
async fn an_http2_stream_whose_window_stays_closed_does_not_hold_its_upstream_for_ever() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbeginning").await;
    let yaml = format!("timeouts: {{ body: 300ms }}\n{}", everything_to(upstream.address()));
    let gateway = TestGateway::start(&yaml).await;
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut stream = get_over_http2(&gateway, &[0, 4, 0, 0, 0, 0]).await;
    let mut seen = Vec::new();
    in_time("a reset", async {
        // RST_STREAM on stream 1.
        while !seen.windows(9).any(|frame| frame == [0, 0, 4, 3, 0, 0, 0, 0, 1]) {
            assert!(stream.read_buf(&mut seen).await.expect("the connection stays open") > 0);
        }
    })
    .await;
    upstream.closed().await;
}

#[tokio::test]
async fn an_upstream_that_answers_early_and_reads_no_further_cannot_keep_the_connection() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.expect("the answer is taken");
        // It neither reads nor closes; when the gateway does, there is an error on the socket.
        in_time("the gateway giving up", async {
            while stream.take_error().expect("a socket").is_none() && stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        None
    })
    .await;
    let yaml = format!(
        "upstreams:
  echo: {{ endpoints: ['http://{}'], timeouts: {{ idle: 100ms }} }}
routes: [{{ name: all, upstream: echo }}]
",
        upstream.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n").await.expect("it is taken");
    let (mut reader, mut writer) = client.split();
    let (_, head) = tokio::join!(
        async {
            // More than any socket keeps; ends with an error when the gateway gives up.
            let _ = writer.write_all(&vec![b'x'; 9_000_000]).await;
        },
        async {
            let mut head = [0; 12];
            in_time("the answer", reader.read_exact(&mut head)).await.map(|_| head)
        }
    );
    assert_eq!(&head.expect("an answer"), b"HTTP/1.1 403");
    upstream.closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_request_has_left_and_sent_nothing_malformed() {
    let upstream = RawUpstream::on_head(|stream| async { Some(stream) }).await;
    let gateway = TestGateway::start(&everything_to(upstream.address())).await;
    let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await.expect("it is taken");
    eventually("the request reaching the upstream", async || upstream.received().contains("half")).await;
    drop(client);
    upstream.closed().await;
    eventually("the failure", async || {
        gateway.metrics().await.contains("gateway_failures_total{reason=\"client-closed\"} 1")
    })
    .await;
}

#[tokio::test]
async fn a_body_that_an_http2_client_takes_back_does_not_reach_the_upstream_as_if_it_were_whole() {
    let upstream = RawUpstream::on_head(|stream| async { Some(stream) }).await;
    let gateway = TestGateway::start(&everything_to(upstream.address())).await;
    let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // `:method: POST`, and no END_STREAM; then DATA.
    bytes.extend([0, 0, 6, 1, 4, 0, 0, 0, 1, 0x83, 0x86, 0x84, 0x01, 1, b'a']);
    bytes.extend([0, 0, 4, 0, 0, 0, 0, 0, 1]);
    bytes.extend(b"half");
    client.write_all(&bytes).await.expect("the bytes are taken");
    eventually("the request reaching the upstream", async || upstream.received().contains("half")).await;
    // RST_STREAM with NO_ERROR.
    client.write_all(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0]).await.expect("the bytes are taken");
    upstream.closed().await;
    assert!(!upstream.received().ends_with("0\r\n\r\n"), "{}", upstream.received());
}

#[tokio::test]
async fn what_a_drains_deadline_cuts_off_is_observed_and_is_not_the_clients_doing() {
    let upstream = RawUpstream::on_head(|stream| async { Some(stream) }).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("access.log");
    let yaml = format!(
        "timeouts: {{ drain: 200ms }}
sinks: {{ access: {{ file: access.log }} }}
global-plugins: [{{ name: access-log, config: {{ sink: access, fields: [path, failure] }} }}]
{}",
        everything_to(upstream.address())
    );
    let mut gateway = TestGateway::start_in(folder, &yaml).await;
    let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
    client.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is taken");
    eventually("the request reaching the upstream", async || upstream.received().contains("endless")).await;
    in_time("the drain", gateway.drain()).await.expect("no panic");
    let line = std::fs::read_to_string(log).expect("a log");
    assert_eq!(line, "{\"path\":\"/endless\",\"failure\":\"draining\"}\n");
}

#[tokio::test]
async fn the_rest_of_a_request_that_was_answered_early_is_not_taken_for_the_next_head() {
    let upstream = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").await;
    let yaml = format!("timeouts: {{ header-read: 100ms, idle: 1s }}\n{}", everything_to(upstream.address()));
    let gateway = TestGateway::start(&yaml).await;
    let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n").await.expect("it is taken");
    raw::read_until(&mut client, "early").await;
    client.write_all(b"half").await.expect("it is taken");
    // Nothing more is said: neither 408 nor anything else.
    assert_eq!(raw::read_to_close(&mut client).await, "");
}

#[tokio::test]
async fn a_head_over_the_limits_is_a_problem_with_an_identifier_on_http2_too() {
    let upstream = Upstream::echo().await;
    let yaml = format!("limits: {{ header-bytes: 4KiB, uri-bytes: 1KiB }}\n{}", everything_to(upstream.address()));
    let gateway = TestGateway::start(&yaml).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let response = client.send(Request::get("/").header("x-long", &"x".repeat(5100))).await;
    assert_eq!(response.status, 431);
    assert_eq!(response.json()["request-id"], response.header("x-request-id"));
}

#[tokio::test]
async fn a_command_whose_output_nobody_reads_to_the_end_does_not_panic() {
    let gateway = env!("CARGO_BIN_EXE_gateway");
    let command = format!("{{ {gateway} schema; echo \"code $?\" >&2; }} | head -c 1");
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .envs(process::standard_plugins())
        .output()
        .expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "code 0\n");
}

#[tokio::test]
async fn a_plugin_that_waits_waits_no_longer_than_the_request_may_take() {
    let upstream = Upstream::echo().await;
    let guest = guests::waiter("upstreams: [echo]", "");
    let time = "timeouts: { request: 300ms, body: 300ms }";
    let reads = with_guest(upstream.address(), &guest, "{ name: waiter, config: { do: read-request } }", time).await;
    let half = reads.raw(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert!(half.starts_with("HTTP/1.1 408 "), "{half}");
    let sleep = "{ name: waiter, config: { do: sleep, timeout-ms: 1000000 } }";
    let sleeps = with_guest(upstream.address(), &guest, sleep, time).await;
    assert_eq!(sleeps.get("/").await.status, 500);
}

#[tokio::test]
async fn whom_a_reload_no_longer_trusts_is_not_trusted_on_an_open_connection_either() {
    let upstream = Upstream::echo().await;
    let trusting = format!("trusted-proxies: [127.0.0.0/8]\n{}", everything_to(upstream.address()));
    let mut gateway = TestGateway::start(&trusting).await;
    let mut client = Client::connect(gateway.address()).await;
    let request = || Request::get("/").header("x-forwarded-for", "192.0.2.7");
    assert_eq!(client.send(request()).await.upstream_saw("x-forwarded-for"), ["192.0.2.7, 127.0.0.1"]);
    gateway.reload(&everything_to(upstream.address())).await.expect("a valid configuration");
    assert_eq!(client.send(request()).await.upstream_saw("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn a_tls_client_that_leaves_the_last_bytes_of_its_response_is_not_waited_for() {
    let body = bytes::Bytes::from(vec![b'x'; 4 << 20]);
    let upstream = Upstream::serving(move |request| {
        let length: usize = request.uri().path()[1..].parse().expect("a length");
        let part = body.slice(..length);
        async move { http::Response::new(full(part)) }
    })
    .await;
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.issue(folder.path(), "a", &["a.example"]);
    let yaml = format!(
        "listeners: [{{ address: '127.0.0.1:0', tls: {{ certificates: [{{ cert: a.pem, key: a.key }}] }} }}]
admin: {{ address: '127.0.0.1:0' }}
timeouts: {{ body: 300ms, idle: 300ms }}
{}",
        everything_to(upstream.address())
    );
    let gateway = TestGateway::start_in(folder, &yaml).await;
    // What sockets keep differs from machine to machine; TLS keeps up to 64 KiB more, so one of these lengths ends
    // in there.
    let mut clients = Vec::new();
    for length in (1..=100).map(|n| n * 40_000) {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = socket.connect(gateway.address()).await.expect("a connection");
        let mut client = certs::handshake_on(stream, "a.example", authority.client(&["http/1.1"])).await.expect("TLS");
        let request = format!("GET /{length} HTTP/1.1\r\nhost: a.example\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("it is taken");
        client.flush().await.expect("it is taken");
        clients.push(client);
    }
    eventually("the connections ending", async || gateway.metrics().await.contains("gateway_connections 0\n")).await;
}

#[tokio::test]
async fn gateway_route_knows_the_methods_that_are_not_forwarded_and_what_is_no_request_at_all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let yaml = format!("listeners: [{{ address: '127.0.0.1:0' }}]\n{}", everything_to("127.0.0.1:9".parse().unwrap()));
    std::fs::write(folder.path().join("all.yaml"), yaml).expect("a file");
    let route = |method, url| process::run(folder.path(), ["route", "-c", "all.yaml", method, url]);
    let trace = route("TRACE", "/").await;
    assert_eq!(
        (trace.code, trace.stdout.as_str()),
        (4, "TRACE / is answered by no route: 501, the method is not forwarded")
    );
    assert_eq!(route("GET", "http://[/").await.code, 2);
    assert_eq!(route("G E T", "/").await.code, 2);
}

#[tokio::test]
async fn cookies_that_http2_sent_apart_reach_the_upstream_as_one() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&everything_to(upstream.address())).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let response = client.send(Request::get("/").header("cookie", "a=1").header("cookie", "b=2")).await;
    assert_eq!(response.upstream_saw("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn who_was_connected_before_a_drain_and_had_asked_is_answered() {
    let upstream = Upstream::named("answered").await;
    // The loop keeps the only worker busy, so that the next client and the drain come at the same time for it.
    let guest = guests::naughty("limits: { time: 700ms }");
    let plugin = "{ name: naughty, config: { do: loop, when: x-loop }, on-error: skip }";
    let mut gateway = with_guest(
        upstream.address(),
        &guest,
        plugin,
        "workers: 1\nlisteners: [{ address: '127.0.0.1:0' }]\nadmin: { address: '127.0.0.1:0' }",
    )
    .await;
    let mut busy = TcpStream::connect(gateway.address()).await.expect("a connection");
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-loop: 1\r\n\r\n").await.expect("it is taken");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let mut waiting = TcpStream::connect(gateway.address()).await.expect("a connection");
    waiting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is taken");
    let drained = gateway.drain();
    for mut client in [busy, waiting] {
        let response = raw::read_to_close(&mut client).await;
        assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("answered"), "{response}");
    }
    in_time("the drain", drained).await.expect("no panic");
}

/// What hyper had read into stayed alive, empty, for as long as the connection slept.
#[tokio::test]
async fn connections_that_have_fallen_silent_keep_no_buffers() {
    const CONNECTIONS: u64 = 500;
    // A connection's own state, of a build that is not optimised; the buffer alone has 16 KiB.
    const EACH: u64 = 12 << 10;
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = "workers: 1
listeners: [{ address: '127.0.0.1:0' }]
routes: [{ name: hello, respond: { body: hello } }]
";
    std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml", "--no-watch"]);
    let address = process.addresses().await[0];
    let ask = async || {
        let mut client = Client::connect(address).await;
        assert_eq!(client.send(Request::get("/")).await.text(), "hello");
        client
    };
    // So that what everybody costs is there before.
    let mut clients = vec![ask().await];
    let before = process.memory("VmRSS");
    for _ in 0..CONNECTIONS {
        clients.push(ask().await);
    }
    eventually("what they had is given back", async || process.memory("VmRSS") < before + CONNECTIONS * EACH).await;
    // They are still served.
    for mut client in clients {
        assert_eq!(client.send(Request::get("/")).await.text(), "hello");
    }
}
