//! Messages that pass through a plugin, by the gateway's rules.

use gateway_rules::messages::{MessageStream, check_close, check_event};

use super::{TestExchange, TestPlugin, streams};
use crate::{
    Error, MessageFilter,
    messages::{Close, Message, MessageResult, Sender, ServerSentEvent},
};

/// What became of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestDelivery {
    /// What the client gets.
    pub to_client: Vec<Message>,
    /// What the upstream gets.
    pub to_upstream: Vec<Message>,
    /// Set if the plugin closed the connection.
    pub close: Option<Close>,
}

impl<P: MessageFilter> TestPlugin<P> {
    /// Gives the plugin a message of a connection for which it returned
    /// [`ResponseDecision::StreamMessages`](crate::ResponseDecision::StreamMessages). Otherwise the message passes without a call.
    ///
    /// # Panics
    ///
    /// The plugin failed, or returned what the gateway would refuse.
    #[track_caller]
    pub fn message(
        &mut self,
        exchange: &mut TestExchange,
        sender: Sender,
        message: impl Into<Message>,
    ) -> TestDelivery {
        let delivery = self.try_message(exchange, sender, message);
        delivery.unwrap_or_else(|error| panic!("the plugin failed: {error}"))
    }

    /// Does the same with a plugin that may fail.
    ///
    /// # Errors
    ///
    /// The plugin's own, or a result that the gateway would refuse.
    pub fn try_message(
        &mut self,
        exchange: &mut TestExchange,
        sender: Sender,
        message: impl Into<Message>,
    ) -> Result<TestDelivery, Error> {
        let message = message.into();
        let stream = exchange.message_stream().map_err(Error::new)?;
        let mut delivery = TestDelivery::default();
        let Some(state) = exchange.message_state() else {
            delivery.add(sender.other(), [message]);
            return Ok(delivery);
        };
        check(&message, stream)?;
        let Self { host, plugin } = self;
        let result = host.run(|| plugin.on_message(sender, message.clone(), state))?;
        let MessageResult { output, replies, close, state: new } = result;
        if let Some(new) = new {
            streams::check_state(&new)?;
            *state = new;
        }
        if let Some(Close { code, reason }) = &close {
            check_close(*code, reason).map_err(Error::new)?;
        }
        if !replies.is_empty() && stream == MessageStream::Events {
            return Err(Error::new("it replies to an event, and the upstream of an event stream takes no messages"));
        }
        let output = output.unwrap_or_else(|| vec![message]);
        output.iter().chain(&replies).try_for_each(|message| check(message, stream))?;
        delivery.add(sender.other(), output);
        delivery.add(sender, replies);
        delivery.close = close;
        Ok(delivery)
    }
}

impl TestDelivery {
    fn add(&mut self, to: Sender, messages: impl IntoIterator<Item = Message>) {
        match to {
            Sender::Client => self.to_client.extend(messages),
            Sender::Upstream => self.to_upstream.extend(messages),
        }
    }
}

impl Sender {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }
}

fn check(message: &Message, stream: MessageStream) -> Result<(), Error> {
    match (message, stream) {
        (Message::Text(_) | Message::Binary(_), MessageStream::WebSocket) => Ok(()),
        (Message::Event(ServerSentEvent { id, name, .. }), MessageStream::Events) => {
            check_event(id.as_deref(), name.as_deref()).map_err(Error::new)
        }
        (_, MessageStream::WebSocket) => Err(Error::new("a WebSocket has text and binary messages")),
        (_, MessageStream::Events) => Err(Error::new("an event stream has events")),
    }
}
