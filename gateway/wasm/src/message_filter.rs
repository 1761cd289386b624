//! A plugin that messages pass: of a WebSocket here, of an event stream in `event_filter`.

use bytes::Bytes;
use gateway_core::{
    error::Failure,
    model::{Data, DataAccess},
};
use gateway_pipeline::{Close, FailureKind, Message, MessageFilter, MessageResult, Side, StageFailure};
use gateway_rules::messages::{MessageStream, check_close, check_event};
use gateway_telemetry::metrics::CallPhase;
use tokio::sync::Mutex;

use super::{
    bindings::message_filter as raw,
    instance::Functions,
    plugin_state::StreamState,
    services::LocalFuture,
    stream_calls::{Caller, StreamCall, StreamFunction, check_state},
};

/// A call with a message.
struct OnMessage;

impl StreamCall for OnMessage {
    const PHASE: CallPhase = CallPhase::Message;
    type Params = (raw::Sender, raw::Message, Vec<u8>);
    type Returned = raw::MessageResult;

    fn function(&self, functions: &Functions) -> Option<StreamFunction<Self>> {
        functions.on_message
    }

    fn missing(&self) -> &'static str {
        "it returned `stream-messages` and exports no `message-filter`"
    }
}

/// A plugin with the state of one stream of messages.
pub(super) struct MessageCalls {
    caller: Caller,
    stream: MessageStream,
    state: StreamState,
    /// Of a WebSocket, both sides send: a call gets the state that the one before it has left.
    turn: Mutex<()>,
}

/// The body, as which messages of this side are granted.
pub(super) fn body(sender: Side) -> Data {
    match sender {
        Side::Client => Data::RequestBody,
        Side::Upstream => Data::ResponseBody,
    }
}

impl MessageCalls {
    pub(super) fn new(caller: Caller, stream: MessageStream, state: StreamState) -> Self {
        Self { caller, stream, state, turn: Mutex::default() }
    }

    /// Whether the plugin gets messages of this side. Others pass without a call.
    fn gets(&self, sender: Side) -> bool {
        let identity = &self.caller.pool.prepared.identity;
        identity.data().is_none_or(|granted| granted.allows(body(sender), DataAccess::Read, ""))
    }

    /// A call, whose result the gateway can act on. A failure has been logged and counted.
    pub(super) async fn call(&self, sender: Side, message: raw::Message) -> Result<raw::MessageResult, Failure> {
        let _turn = self.turn.lock().await;
        let from = match sender {
            Side::Client => raw::Sender::Client,
            Side::Upstream => raw::Sender::Upstream,
        };
        let state = self.state.borrow().clone();
        let returned = self.caller.call(&OnMessage, (from, message, state)).await;
        let checked = returned.and_then(|result| {
            self.check(sender, &result).map_err(|detail| StageFailure { kind: FailureKind::Error, detail })?;
            Ok(result)
        });
        match checked {
            Ok(mut result) => {
                if let Some(state) = result.state.take() {
                    *self.state.borrow_mut() = state;
                }
                Ok(result)
            }
            Err(failure) => {
                self.failed(&failure);
                Err(match failure.kind {
                    FailureKind::Busy => Failure::PluginBusy,
                    FailureKind::CircuitOpen => Failure::PluginCircuitOpen,
                    _ => Failure::PluginFailed,
                })
            }
        }
    }

    fn failed(&self, failure: &StageFailure) {
        self.caller.calls.failed(failure.kind.counted());
        self.caller.report("a message", &failure.detail);
    }

    /// The plugin cannot be called with the next message.
    pub(super) fn refuse(&self, why: &str) {
        self.failed(&StageFailure { kind: FailureKind::Error, detail: why.to_owned() });
    }

    fn check(&self, sender: Side, result: &raw::MessageResult) -> Result<(), String> {
        let raw::MessageResult { output, replies, close, state } = result;
        check_state(state.as_deref().unwrap_or_default())?;
        if let Some(raw::Close { code, reason }) = close {
            check_close(*code, reason)?;
        }
        if output.is_some() {
            self.may_write(sender)?;
        }
        if !replies.is_empty() {
            if self.stream == MessageStream::Events {
                return Err("it replies to an event, and the upstream of an event stream takes no messages".to_owned());
            }
            self.may_write(sender.other())?;
        }
        output.iter().flatten().chain(replies).try_for_each(|message| self.check_message(message))
    }

    fn may_write(&self, sender: Side) -> Result<(), String> {
        let pool = &self.caller.pool;
        match pool.prepared.identity.may(body(sender), DataAccess::Write, "", &pool.metrics) {
            true => Ok(()),
            false => {
                let side = if sender == Side::Client { "client" } else { "upstream" };
                Err(format!("it is not granted to write messages of the {side}"))
            }
        }
    }

    fn check_message(&self, message: &raw::Message) -> Result<(), String> {
        match (message, self.stream) {
            (raw::Message::Text(_) | raw::Message::Binary(_), MessageStream::WebSocket) => Ok(()),
            (raw::Message::Event(event), MessageStream::Events) => {
                check_event(event.id.as_deref(), event.name.as_deref()).map_err(str::to_owned)
            }
            (raw::Message::Event(_), MessageStream::WebSocket) => {
                Err("it sends an event on a WebSocket, which has text and binary messages".to_owned())
            }
            (_, MessageStream::Events) => {
                Err("it sends a text or binary message on an event stream, which has events".to_owned())
            }
        }
    }
}

impl MessageFilter for MessageCalls {
    fn on_message<'a>(&'a self, sender: Side, message: &'a Message) -> LocalFuture<'a, Result<MessageResult, Failure>> {
        Box::pin(async move {
            if !self.gets(sender) {
                return Ok(MessageResult::default());
            }
            let message = match message {
                // It has been checked, so nothing is replaced.
                Message::Text(text) => raw::Message::Text(String::from_utf8_lossy(text).into_owned()),
                Message::Binary(bytes) => raw::Message::Binary(bytes.to_vec()),
            };
            let raw::MessageResult { output, replies, close, state: _ } = self.call(sender, message).await?;
            let all = |messages: Vec<raw::Message>| messages.into_iter().filter_map(sent).collect();
            let close = close.map(|raw::Close { code, reason }| Close { code, reason });
            Ok(MessageResult { output: output.map(all), replies: all(replies), close })
        })
    }
}

/// A message that has been checked.
fn sent(message: raw::Message) -> Option<Message> {
    match message {
        raw::Message::Text(text) => Some(Message::Text(text.into())),
        raw::Message::Binary(bytes) => Some(Message::Binary(Bytes::from(bytes))),
        raw::Message::Event(_) => None,
    }
}
