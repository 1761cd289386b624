//! Messages of WebSockets.

use std::time::Duration;

use futures_util::SinkExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::frame::coding::CloseCode};

use super::{CALLS, config, gateway, gateway_with, hears, logged, messenger, open, say};
use crate::{
    support::{
        Gate, RawUpstream, TestGateway,
        counted::{failed, metric},
        eventually, guests, in_time, raw,
    },
    websocket::{Echo, KEY, closed, next, open as open_target},
};

/// A client's frame, with a mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 1, 250, 99];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    frame
}

/// A client that sends whatever it wants after the handshake.
async fn raw_client(gateway: &TestGateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let ask = format!("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n{KEY}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    raw::read_until(&mut stream, "\r\n\r\n").await;
    stream
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    in_time("a frame", stream.read_exact(&mut read)).await.expect("no end");
    assert_eq!(read, bytes);
}

#[tokio::test]
async fn a_plugin_changes_drops_adds_and_answers_messages() {
    for isolation in ["", ", isolation: request"] {
        let upstream = Echo::start().await;
        let gateway = gateway(upstream.address, isolation, &messenger("a", ""), "").await;
        let mut socket = open(&gateway).await;
        // Both ways.
        say(&mut socket, "hello ").await;
        hears(&mut socket, "hello aa").await;
        say(&mut socket, "a:drop").await;
        say(&mut socket, "a:reply").await;
        hears(&mut socket, "reply of a").await;
        say(&mut socket, "a:two").await;
        hears(&mut socket, "onea").await;
        hears(&mut socket, "twoa").await;
        say(&mut socket, "a:binary").await;
        assert_eq!(next(&mut socket).await, Some(Message::binary(vec![0, 255])));
        socket.send(Message::binary(vec![9; 200_000])).await.expect("taken");
        assert_eq!(next(&mut socket).await, Some(Message::binary(vec![9; 200_000])));
        // The calls so far, whichever side the messages came from.
        say(&mut socket, "a:count").await;
        hears(&mut socket, "11").await;
        let calls = format!("{CALLS}{{plugin=\"messenger\",route=\"filtered\",phase=\"message\"}}");
        assert_eq!(metric(&gateway, &calls).await, 12);
        socket.close(None).await.expect("taken");
        closed(&mut socket).await;
        logged(&gateway, "messages 12 -").await;
    }
}

#[tokio::test]
async fn messages_of_clients_pass_plugins_in_order_and_those_of_upstreams_in_reverse() {
    let upstream = Echo::start().await;
    let plugins = ["a", "b", "c"].map(|name| messenger(name, "")).join(", ");
    let gateway = gateway(upstream.address, "", &plugins, "").await;
    let mut socket = open(&gateway).await;
    say(&mut socket, "-").await;
    hears(&mut socket, "-abccba").await;
}

#[tokio::test]
async fn a_reply_passes_the_plugins_before_the_one_that_replies() {
    let upstream = Echo::start().await;
    let plugins = ["a", "b", "c"].map(|name| messenger(name, "")).join(", ");
    let gateway = gateway(upstream.address, "", &plugins, "").await;
    let mut socket = open(&gateway).await;
    say(&mut socket, "a:say b:say c:reply").await;
    hears(&mut socket, "reply of cba").await;
}

#[tokio::test]
async fn fragments_are_joined_and_a_ping_between_them_passes_at_once() {
    let upstream = Echo::start().await;
    let gateway = gateway(upstream.address, "", &messenger("a", ""), "").await;
    let mut stream = raw_client(&gateway).await;
    stream.write_all(&frame(0x01, "h\u{e9}".as_bytes())).await.unwrap();
    stream.write_all(&frame(0x89, b"there?")).await.unwrap();
    // The upstream answers, although the message is not whole.
    expect(&mut stream, b"\x8a\x06there?").await;
    for byte in [frame(0x00, b"l"), frame(0x80, b"lo")].concat() {
        stream.write_all(&[byte]).await.unwrap();
    }
    expect(&mut stream, "\u{81}".as_bytes().get(1..).unwrap()).await;
    expect(&mut stream, &[8]).await;
    expect(&mut stream, "h\u{e9}lloaa".as_bytes()).await;
}

#[tokio::test]
async fn what_breaks_the_protocol_or_is_too_large_is_closed_with_its_code() {
    for (bytes, code, failure) in [
        (frame(0x82, &[0; 1025]), 1009, "body-too-large"),
        ([frame(0x02, &[0; 1000]), frame(0x80, &[0; 25])].concat(), 1009, "body-too-large"),
        (frame(0x81, b"\xff"), 1007, "malformed-request"),
        (frame(0xc1, b"compressed"), 1002, "malformed-request"),
        (b"\x81\x05hello".to_vec(), 1002, "malformed-request"),
        (frame(0x80, b"of what?"), 1002, "malformed-request"),
    ] {
        let mut upstream = Echo::start().await;
        let plugin = messenger("a", "");
        let gateway = gateway(upstream.address, "", &plugin, "    limits: { buffer-bytes: 1KiB }").await;
        let mut stream = raw_client(&gateway).await;
        stream.write_all(&bytes).await.unwrap();
        let mut head = [0; 4];
        in_time("a close frame", stream.read_exact(&mut head)).await.expect("no end");
        assert_eq!((head[0], u16::from_be_bytes([head[2], head[3]])), (0x88, code));
        // Then the gateway ends the connection, without waiting for the rest of what the client may send.
        raw::read_to_close(&mut stream).await;
        assert_eq!(upstream.ended().await, Some(CloseCode::Away));
        failed(&gateway, failure, 1).await;
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_the_protocol_is_closed_and_the_client_is_told_that_it_is_no_fault_of_its_own() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(head).await.ok()?;
        stream.read_u8().await.ok()?;
        stream.write_all(b"\x83\x00").await.ok()?;
        Some(stream)
    })
    .await;
    let gateway = gateway(upstream.address(), "", &messenger("a", ""), "").await;
    let mut stream = raw_client(&gateway).await;
    stream.write_all(&frame(0x82, b"x")).await.unwrap();
    expect(&mut stream, b"\x88\x02\x03\xf3").await;
    upstream.closed().await;
    failed(&gateway, "upstream-protocol", 1).await;
}

#[tokio::test]
async fn a_plugin_that_fails_in_a_connection_closes_it() {
    let upstream = Echo::start().await;
    for settings in ["", ", isolation: request"] {
        let plugin = messenger("a", "").replace("} }", "}, on-error: skip }");
        let gateway = gateway(upstream.address, settings, &plugin, "").await;
        for (times, command) in (1..).zip(["fail", "trap", "event", "large-state", "wrong-close"]) {
            let mut socket = open(&gateway).await;
            say(&mut socket, "hello ").await;
            hears(&mut socket, "hello aa").await;
            say(&mut socket, &format!("a:{command}")).await;
            assert_eq!(closed(&mut socket).await, Some(CloseCode::Error), "{command}");
            failed(&gateway, "plugin-failed", times).await;
        }
        // The state is the last one that was valid.
        logged(&gateway, "messages 2 plugin-failed").await;
        let counted =
            |kind| format!("gateway_wasm_failures_total{{plugin=\"messenger\",route=\"filtered\",kind=\"{kind}\"}}");
        assert_eq!(metric(&gateway, &counted("trap")).await, 1);
        assert_eq!(metric(&gateway, &counted("error")).await, 4);
    }
}

#[tokio::test]
async fn a_plugin_that_loops_is_stopped_and_other_connections_go_on() {
    let upstream = Echo::start().await;
    let gateway = gateway(upstream.address, ", limits: { time: 20ms }", &messenger("a", ""), "").await;
    let (mut other, mut socket) = (open(&gateway).await, open(&gateway).await);
    say(&mut socket, "a:loop").await;
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Error));
    say(&mut other, "hello ").await;
    hears(&mut other, "hello aa").await;
}

#[tokio::test]
async fn a_plugin_closes_both_sides_after_its_last_message() {
    let mut upstream = Echo::start().await;
    let gateway = gateway(upstream.address, "", &messenger("a", ""), "").await;
    let mut socket = open(&gateway).await;
    say(&mut socket, "a:close").await;
    hears(&mut socket, "last").await;
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Library(4001)));
    assert_eq!(upstream.ended().await, Some(CloseCode::Library(4001)));
    logged(&gateway, "messages 1 -").await;
    eventually("it is over", async || metric(&gateway, "gateway_upgraded_connections{route=\"filtered\"}").await == 0)
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_during_a_waiting_call_ends_it_and_other_connections_go_on() {
    let (mut upstream, gate) = (Echo::start().await, Gate::answering("from the gate").await);
    let text = config(
        upstream.address,
        "grants: { sinks: [log] }",
        "{ name: waiter, config: { do: call-for-messages, upstream: gate } }",
        "",
    )
    .replace(
        "plugins:\n  messenger",
        "plugins:\n  waiter: { component: waiter.wasm, grants: { upstreams: [gate] } }\n  messenger",
    )
    .replace("upstreams: {", &format!("upstreams: {{ gate: {{ endpoints: ['http://{}'] }},", gate.address()));
    let gateway = TestGateway::start_in(guests::folder(), &text).await;
    let in_progress =
        async || gateway.metric("gateway_wasm_calls_in_progress", &[("plugin", "waiter")]).await.unwrap_or(0);
    let (mut leaves, mut stays) = (open(&gateway).await, open(&gateway).await);
    say(&mut leaves, "hello").await;
    say(&mut stays, "hello").await;
    gate.arrivals(2).await;
    eventually("both calls waiting", async || in_progress().await == 2).await;
    drop(leaves);
    assert_eq!(upstream.ended().await, None);
    eventually("its call ending", async || in_progress().await == 1).await;
    gate.release(2);
    hears(&mut stays, "from the gate").await;
    failed(&gateway, "client-closed", 1).await;
}

#[tokio::test]
async fn what_a_side_sends_before_it_ends_its_connection_reaches_the_other_one() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(head).await.ok()?;
        Some(stream)
    })
    .await;
    let gate = Gate::answering("from the gate").await;
    let text = config(
        upstream.address(),
        "grants: { sinks: [log] }",
        "{ name: waiter, config: { do: call-for-messages, upstream: gate } }",
        "",
    )
    .replace(
        "plugins:\n  messenger",
        "plugins:\n  waiter: { component: waiter.wasm, grants: { upstreams: [gate] } }\n  messenger",
    )
    .replace("upstreams: {", &format!("upstreams: {{ gate: {{ endpoints: ['http://{}'] }},", gate.address()));
    let gateway = TestGateway::start_in(guests::folder(), &text).await;
    // A message, a close frame, and the end of the connection, all of them before the call for the message has ended.
    let mut client = raw_client(&gateway).await;
    client.write_all(&[frame(0x81, b"hello"), frame(0x88, &1000u16.to_be_bytes())].concat()).await.unwrap();
    client.shutdown().await.unwrap();
    gate.arrivals(1).await;
    gate.release(1);
    let both = (2 + 4 + "from the gate".len()) + (2 + 4 + 2);
    eventually("the message and the close frame", async || {
        let bytes = upstream.received_bytes();
        let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        bytes.len() - head == both
    })
    .await;
}

#[tokio::test]
async fn compression_is_negotiated_only_where_no_plugin_may_ask_for_messages() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\xc2\x01x";
        stream.write_all(head).await.ok()?;
        Some(stream)
    })
    .await;
    let more = "  - { name: plain, match: { path: /plain }, upstream: it, upgrades: [websocket] }";
    let gateway = gateway(upstream.address(), "", &messenger("a", ""), more).await;
    let ask = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n{KEY}\r\n\
             sec-websocket-extensions: permessage-deflate\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(ask("/plain").as_bytes()).await.unwrap();
    let head = raw::read_until(&mut stream, "\u{1}x").await;
    assert!(head.contains("sec-websocket-extensions: permessage-deflate"), "{head}");
    assert!(upstream.received().contains("sec-websocket-extensions"), "{}", upstream.received());
    // What was not offered must not be accepted.
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(ask("/").as_bytes()).await.unwrap();
    let head = raw::read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    assert_eq!(upstream.received().matches("sec-websocket-extensions").count(), 1, "{}", upstream.received());
}

#[tokio::test]
async fn messages_to_the_upstream_are_masked_each_with_its_own_key() {
    let upstream = RawUpstream::on_head(|mut stream| async move {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(head).await.ok()?;
        Some(stream)
    })
    .await;
    let gateway = gateway(upstream.address(), "", &messenger("a", ""), "").await;
    let mut stream = raw_client(&gateway).await;
    let sent = "x".repeat(40);
    for _ in 0..2 {
        stream.write_all(&frame(0x81, sent.as_bytes())).await.unwrap();
    }
    let length = 2 + 4 + 41;
    let frames = async || {
        let bytes = upstream.received_bytes();
        let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        bytes[head..].to_vec()
    };
    eventually("both messages", async || frames().await.len() == 2 * length).await;
    let frames = frames().await;
    let keys: Vec<_> = frames
        .chunks(length)
        .map(|frame| {
            assert_eq!(frame[..2], [0x81, 0x80 | 41]);
            let text: Vec<u8> =
                frame[6..].iter().enumerate().map(|(index, byte)| byte ^ frame[2 + index % 4]).collect();
            assert_eq!(text, format!("{sent}a").as_bytes());
            frame[2..6].to_vec()
        })
        .collect();
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn a_plugin_gets_the_messages_that_it_may_read_and_changes_those_that_it_may_write() {
    let upstream = Echo::start().await;
    let granted = |body: &str| format!("grants: {{ sinks: [log], body: {{ {body} }} }}");
    // Those of clients only.
    let gateway =
        gateway_with(upstream.address, &granted("read: [request], write: [request]"), &messenger("a", ""), "").await;
    let mut socket = open(&gateway).await;
    say(&mut socket, "hello ").await;
    hears(&mut socket, "hello a").await;
    // A reply is a message to the client.
    say(&mut socket, "a:reply").await;
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Error));
    let gateway = gateway_with(upstream.address, &granted("read: [request, response]"), &messenger("a", ""), "").await;
    let mut socket = open(&gateway).await;
    say(&mut socket, "a:pass").await;
    hears(&mut socket, "a:pass").await;
    say(&mut socket, "a:drop").await;
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Error));
    assert_eq!(
        gateway
            .metric(
                "gateway_wasm_data_denied_total",
                &[("plugin", "messenger"), ("data", "request-body"), ("access", "write")]
            )
            .await,
        Some(1)
    );
    let nothing = config(upstream.address, &granted("read: []"), &messenger("a", ""), "");
    let refused = TestGateway::try_start_in(guests::folder(), &nothing).await.err().expect("it is refused").to_string();
    assert!(refused.contains("message-filter") && refused.contains("not granted any messages"), "{refused}");
}

#[tokio::test]
async fn only_a_websocket_or_an_event_stream_has_messages() {
    let upstream = crate::support::Upstream::echo().await;
    let gateway = gateway(upstream.address(), "", &messenger("a", ", always: true"), "").await;
    assert_eq!(gateway.get("/").await.status, 500);
    let skipped = messenger("a", ", always: true").replace("} }", "}, on-error: skip }");
    let gateway = super::gateway(upstream.address(), "", &skipped, "").await;
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn a_silent_connection_and_a_drain_are_told_between_messages() {
    let mut upstream = Echo::start().await;
    let gateway = gateway(upstream.address, "", &messenger("a", ""), "    timeouts: { upgrade-idle: 500ms }").await;
    let mut socket = open(&gateway).await;
    say(&mut socket, "hello ").await;
    hears(&mut socket, "hello aa").await;
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Away));
    assert_eq!(upstream.ended().await, Some(CloseCode::Away), "the client's answer reaches the upstream");
    let text = config(upstream.address, "grants: { sinks: [log] }", &messenger("a", ""), "");
    let text = format!("{text}\ntimeouts: {{ drain: 60s, idle: 1h, upgrade-idle: 1h }}\n");
    let mut gateway = TestGateway::start_in(guests::folder(), &text).await;
    let mut socket = open(&gateway).await;
    say(&mut socket, "hello ").await;
    hears(&mut socket, "hello aa").await;
    let drained = gateway.drain();
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Away));
    assert_eq!(upstream.ended().await, Some(CloseCode::Away));
    in_time("the drain", drained).await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from() {
    /// More than all buffers between the two can hold.
    const MESSAGES: usize = 1000;
    const SIZE: usize = 64 << 10;
    let upstream = Echo::start().await;
    let gateway = gateway(upstream.address, "", &messenger("a", ""), "").await;
    let mut stream = raw_client(&gateway).await;
    let message = frame(0x82, &[b'x'; SIZE - 1]);
    let mut sent = 0;
    while let Ok(taken) = tokio::time::timeout(Duration::from_millis(300), stream.write_all(&message)).await {
        taken.expect("the connection goes on");
        sent += 1;
        assert!(sent < MESSAGES, "the gateway takes what it cannot pass on");
    }
}

#[tokio::test]
async fn both_sides_may_send_at_the_same_time() {
    const MESSAGES: usize = 300;
    let upstream = Echo::start().await;
    let gateway = gateway(upstream.address, "", &messenger("a", ""), "").await;
    let socket = open(&gateway).await;
    let (mut to, mut from) = futures_util::StreamExt::split(socket);
    let sending = tokio::spawn(async move {
        for number in 0..MESSAGES {
            to.send(Message::text(format!("{number} {}", "x".repeat(10_000)))).await.expect("taken");
        }
        to
    });
    for number in 0..MESSAGES {
        let message = in_time("a message", futures_util::StreamExt::next(&mut from)).await.expect("no end");
        let text = message.expect("a valid message").into_text().expect("text");
        assert!(text.starts_with(&format!("{number} ")) && text.ends_with("xaa"), "{number}");
    }
    drop(sending.await);
}

#[tokio::test]
async fn plugins_chat_rust_gateway_yaml_replaces_words_answers_and_limits() {
    let upstream = Echo::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("chat.wasm"), test_guests::chat()).unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/plugins/chat-rust/gateway.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let component = text.lines().find_map(|line| line.trim().strip_prefix("component: ")).unwrap().to_owned();
    let text = text.replace(&component, "chat.wasm").replace("127.0.0.1:8080", "127.0.0.1:0");
    let text = text.replace("127.0.0.1:9001", &upstream.address.to_string());
    let gateway = TestGateway::start_in(folder, &text).await;
    let (mut socket, _) = open_target(&gateway, "/chat").await.expect("a WebSocket");
    say(&mut socket, "darn it").await;
    hears(&mut socket, "**** it").await;
    for _ in 0..99 {
        say(&mut socket, "ping").await;
        hears(&mut socket, "pong").await;
    }
    say(&mut socket, "one too many").await;
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Policy));
}

#[tokio::test]
async fn a_handshake_that_is_refused_passes_like_any_response() {
    let upstream = Echo::start().await;
    let gateway = gateway(upstream.address, "", &messenger("a", ""), "").await;
    let Err(Error::Http(response)) = open_target(&gateway, "/refused").await else { panic!("the upstream refuses") };
    assert_eq!(response.status(), 403);
}
