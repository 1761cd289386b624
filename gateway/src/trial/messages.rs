//! A WebSocket between the client and the service behind the route, whose messages the plugin may change.
//!
//! Behind each message its sender sends a ping, which the gateway passes on when it is done with the message, and which the other side
//! answers: what has arrived before the ping, or before the answer, is all that the message has led to.

use std::io;

use base64ct::{Base64, Encoding};
use bytes::{Bytes, BytesMut};
use gateway_proxy::Message;
use gateway_server::websocket::{Decoder, Incoming, encode, opcode};
use http::{HeaderMap, HeaderValue, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::values::ByteString;

/// The largest message, and what is read at a time.
const MESSAGE: usize = 64 * 1024 * 1024;
const PART: usize = 16 * 1024;

/// A message that one side sends, and what becomes of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct MessageStep {
    /// The client sends it.
    client: Option<WrittenMessage>,
    /// The service behind the route sends it.
    upstream: Option<WrittenMessage>,
    /// What the client gets then.
    to_client: Option<Vec<WrittenMessage>>,
    /// What the service gets then.
    to_upstream: Option<Vec<WrittenMessage>>,
    /// The code with which both are closed.
    close: Option<u16>,
}

/// A text is a text message; `{ base64: … }` and its like are a binary one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum WrittenMessage {
    Text(String),
    Binary(ByteString),
}

impl WrittenMessage {
    fn message(&self) -> Message {
        match self {
            Self::Text(text) => Message::Text(text.clone().into()),
            Self::Binary(bytes) => Message::Binary(bytes.0.clone()),
        }
    }
}

impl MessageStep {
    /// What is wrong with it, if something is.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let is_one = self.client.is_some() != self.upstream.is_some();
        (!is_one).then_some("a message has either `client` or `upstream`, which sends it")
    }
}

/// What makes a request the handshake of a WebSocket (RFC 6455 §4.1).
pub(super) fn add_handshake(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
        (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// What was not as expected.
pub(super) async fn misses(messages: &[MessageStep], client: OnUpgrade, service: OnUpgrade) -> io::Result<Vec<String>> {
    let (client, service) = tokio::join!(client, service);
    let mut client = Peer::new(client.map_err(io::Error::other)?, true);
    let mut service = Peer::new(service.map_err(io::Error::other)?, false);
    let mut misses = Vec::new();
    for (number, step) in messages.iter().enumerate() {
        let place = |what: &str| format!("messages[{number}]{what}");
        let (to_client, to_upstream) = match (&step.client, &step.upstream) {
            (Some(message), _) => {
                let (back, onward) = deliver(&message.message(), &mut client, &mut service).await?;
                (back, onward)
            }
            (None, Some(message)) => {
                let (back, onward) = deliver(&message.message(), &mut service, &mut client).await?;
                (onward, back)
            }
            (None, None) => continue,
        };
        for (name, expected, arrived) in
            [(".to-client", &step.to_client, &to_client), (".to-upstream", &step.to_upstream, &to_upstream)]
        {
            let Some(expected) = expected else { continue };
            let expected: Vec<_> = expected.iter().map(WrittenMessage::message).collect();
            if expected != arrived.messages {
                let (expected, found) = (shown(&expected), shown(&arrived.messages));
                misses.push(format!("{}: expected {expected}, was {found}", place(name)));
            }
        }
        let codes = [to_client.closed, to_upstream.closed];
        let is_closed = codes.iter().any(Option::is_some);
        if codes != [step.close; 2] {
            let [client, upstream] = codes.map(|code| code.map_or_else(|| "none".to_owned(), |code| code.to_string()));
            let expected = step.close.map_or_else(|| "none".to_owned(), |code| code.to_string());
            misses.push(format!(
                "{}: expected {expected}, was {client} (client) and {upstream} (upstream)",
                place(".close")
            ));
        }
        if is_closed {
            if number + 1 < messages.len() {
                misses.push(format!("{}: the connection is closed before the next message", place("")));
            }
            return Ok(misses);
        }
    }
    client.send(opcode::CLOSE, &1000_u16.to_be_bytes()).await?;
    Ok(misses)
}

/// What one side has got.
#[derive(Default)]
struct Arrived {
    messages: Vec<Message>,
    closed: Option<u16>,
}

/// Sends a message. Returns what came back to its sender, and what reached the other side.
async fn deliver(message: &Message, from: &mut Peer, to: &mut Peer) -> io::Result<(Arrived, Arrived)> {
    let kind = if matches!(message, Message::Text(_)) { opcode::TEXT } else { opcode::BINARY };
    from.send(kind, message.bytes()).await?;
    from.send(opcode::PING, b"").await?;
    let (back, onward) = tokio::join!(from.arrived(opcode::PONG), to.arrived(opcode::PING));
    Ok((back?, onward?))
}

fn shown(messages: &[Message]) -> String {
    let shown: Vec<String> = messages
        .iter()
        .map(|message| match message {
            Message::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
            Message::Binary(bytes) => format!("{{ base64: {} }}", Base64::encode_string(bytes)),
        })
        .collect();
    format!("[{}]", shown.join(", "))
}

/// One end of the connection.
struct Peer {
    io: TokioIo<Upgraded>,
    decoder: Decoder,
    is_client: bool,
}

impl Peer {
    fn new(io: Upgraded, is_client: bool) -> Self {
        Self { io: TokioIo::new(io), decoder: Decoder::new(!is_client, MESSAGE), is_client }
    }

    async fn send(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = BytesMut::new();
        let key = self.is_client.then(|| fastrand::u32(..).to_ne_bytes());
        encode(kind, payload, key, &mut frame);
        self.io.write_all(&frame).await?;
        self.io.flush().await
    }

    /// What comes before this control frame, or before the end.
    async fn arrived(&mut self, until: u8) -> io::Result<Arrived> {
        let mut arrived = Arrived::default();
        let mut part = vec![0; PART];
        loop {
            match self.decoder.next_frame().map_err(|violation| io::Error::other(violation.reason))? {
                Some(Incoming::Message(message)) => arrived.messages.push(message),
                Some(Incoming::Control(kind, payload)) => {
                    if kind == opcode::PING {
                        self.send(opcode::PONG, &payload).await?;
                    }
                    if kind == until {
                        return Ok(arrived);
                    }
                }
                Some(Incoming::Close(payload)) => {
                    arrived.closed = Some(code(&payload));
                    // The other side may have gone.
                    let _ = self.send(opcode::CLOSE, &payload).await;
                    return Ok(arrived);
                }
                None => match self.io.read(&mut part).await? {
                    0 => return Err(io::Error::other("the connection ended without a close frame")),
                    read => self.decoder.push(&part[..read]),
                },
            }
        }
    }
}

/// RFC 6455 §7.1.5: 1005 stands for no code.
fn code(payload: &Bytes) -> u16 {
    payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))
}
