//! Messages of WebSockets and events of event streams.
//!
//! A plugin asks for them in the response phase with [`ResponseDecision::StreamMessages`](crate::ResponseDecision::StreamMessages),
//! and is called with each message. A connection for which no plugin does so is not looked into.
//!
//! ```
//! use plugin_sdk::{Error, MessageFilter, NoConfig, Plugin, Problems, Request, Response, ResponseDecision, ResponseFilter};
//! use plugin_sdk::messages::{Message, MessageResult, Sender};
//! use plugin_sdk::testkit::{TestExchange, TestHost, TestRequest, TestResponse};
//! use serde_json::json;
//!
//! /// Answers `time` itself, and lets no more than ten messages of the client pass.
//! struct Limit;
//!
//! impl Plugin for Limit {
//!     type Config = NoConfig;
//!     fn new(_: NoConfig) -> Result<Self, Problems> {
//!         Ok(Self)
//!     }
//! }
//!
//! impl ResponseFilter for Limit {
//!     fn on_response(&mut self, _: &Request, response: &Response) -> Result<ResponseDecision, Error> {
//!         let is_websocket = response.status() == 101;
//!         Ok(if is_websocket { ResponseDecision::StreamMessages(vec![0]) } else { ResponseDecision::Next })
//!     }
//! }
//!
//! impl MessageFilter for Limit {
//!     fn on_message(&mut self, sender: Sender, message: Message, state: &[u8]) -> Result<MessageResult, Error> {
//!         if sender == Sender::Upstream {
//!             return Ok(MessageResult::pass());
//!         }
//!         if message == Message::text("time") {
//!             return Ok(MessageResult::drop().with_reply(Message::text("noon")));
//!         }
//!         Ok(match state {
//!             [count @ 0..10] => MessageResult::pass().with_state([count + 1]),
//!             _ => MessageResult::drop().with_close(1008, "too many messages"),
//!         })
//!     }
//! }
//!
//! let mut plugin = TestHost::new().plugin::<Limit>(json!({})).unwrap();
//! let mut exchange = TestExchange::new(TestRequest::get("/chat"));
//! plugin.response(&mut exchange, TestResponse::websocket());
//! assert_eq!(plugin.message(&mut exchange, Sender::Client, "time").to_client, [Message::text("noon")]);
//! assert_eq!(plugin.message(&mut exchange, Sender::Client, "hello").to_upstream, [Message::text("hello")]);
//! ```

/// The side that a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The upstream. All events come from it.
    Upstream,
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text message of a WebSocket.
    Text(String),
    /// A binary message of a WebSocket.
    Binary(Vec<u8>),
    /// An event of an event stream (`text/event-stream`).
    Event(ServerSentEvent),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Binary(bytes.into())
    }

    /// An event without name and identifier.
    pub fn event(data: impl Into<String>) -> Self {
        Self::Event(ServerSentEvent { data: data.into(), ..ServerSentEvent::default() })
    }

    /// The text of a text message, or the data of an event.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Event(event) => Some(&event.data),
            Self::Binary(_) => None,
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

impl From<ServerSentEvent> for Message {
    fn from(event: ServerSentEvent) -> Self {
        Self::Event(event)
    }
}

/// An event of an event stream. Bytes that are not UTF-8 arrive as U+FFFD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSentEvent {
    /// The field `id`; `None` if the event has none. Without line ends and NUL.
    pub id: Option<String>,
    /// The field `event`: the type of the event, `None` if it is `message`. Without line ends.
    pub name: Option<String>,
    /// The fields `data`, with LF between them.
    pub data: String,
}

/// Why a WebSocket is closed (RFC 6455 §7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// 1000 to 1003, 1007 to 1014, or 3000 to 4999.
    pub code: u16,
    /// Up to 123 bytes.
    pub reason: String,
}

/// The result of a call with a message. The default passes the message on unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageResult {
    /// What goes on in place of the message: nothing if the list is empty, the message itself if there is no list.
    pub output: Option<Vec<Message>>,
    /// Messages to the sender. The upstream of an event stream takes none.
    pub replies: Vec<Message>,
    /// Closes the WebSocket to both sides, or ends the event stream, after output and replies.
    pub close: Option<Close>,
    /// The new state, up to 64 KiB; `None` keeps the present one.
    pub state: Option<Vec<u8>>,
}

impl MessageResult {
    /// Passes the message on as it is.
    pub fn pass() -> Self {
        Self::default()
    }

    /// Passes nothing on.
    pub fn drop() -> Self {
        Self { output: Some(Vec::new()), ..Self::default() }
    }

    /// Passes another message on. [`with_output`](Self::with_output) adds more.
    pub fn replace(message: impl Into<Message>) -> Self {
        Self::drop().with_output(message)
    }

    /// Adds a message that goes on, behind those that have been added before, in place of the one that came.
    #[must_use]
    pub fn with_output(mut self, message: impl Into<Message>) -> Self {
        self.output.get_or_insert_default().push(message.into());
        self
    }

    /// Adds a message to the sender.
    #[must_use]
    pub fn with_reply(mut self, message: impl Into<Message>) -> Self {
        self.replies.push(message.into());
        self
    }

    /// Closes the connection.
    #[must_use]
    pub fn with_close(mut self, code: u16, reason: impl Into<String>) -> Self {
        self.close = Some(Close { code, reason: reason.into() });
        self
    }

    /// Sets the new state.
    #[must_use]
    pub fn with_state(mut self, state: impl Into<Vec<u8>>) -> Self {
        self.state = Some(state.into());
        self
    }
}
