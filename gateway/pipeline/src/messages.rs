//! The messages of a connection on their way through the stages that asked for them.
//!
//! A message of the client passes the stages in the order of the request phase, one of the upstream in the reverse order, as bodies
//! do. What a stage sends back to the sender passes the stages between the two, as a response of a stage passes the response phase
//! of the stages before it. Two stages could answer each other for ever that way, so the calls that replies lead to are counted.

use std::rc::Rc;

use bytes::Bytes;
use gateway_core::error::Failure;

use super::local_future::LocalFuture;

/// The calls that replies to one message may lead to.
const MAX_REPLY_CALLS: usize = 1024;
/// Of what stages have returned for one message and has not gone on yet.
const MAX_PENDING_BYTES: usize = 16 * 1024 * 1024;

/// What a message in progress takes of that: empty ones take memory too.
fn cost(message: &Message) -> usize {
    message.bytes().len() + size_of::<Pending>()
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Upstream,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }
}

/// A whole message of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// UTF-8.
    Text(Bytes),
    Binary(Bytes),
}

impl Message {
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}

/// Why a stage closes a connection (RFC 6455 §7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: String,
}

/// What a stage makes of a message.
#[derive(Debug, Default)]
pub struct MessageResult {
    /// In its place; the message itself if absent.
    pub output: Option<Vec<Message>>,
    /// To the sender.
    pub replies: Vec<Message>,
    /// After the output and the replies.
    pub close: Option<Close>,
}

/// A stage that messages pass.
pub trait MessageFilter {
    /// A failure has been logged and counted.
    fn on_message<'a>(&'a self, sender: Side, message: &'a Message) -> LocalFuture<'a, Result<MessageResult, Failure>>;
}

/// What a message leads to, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Forwarded {
    Message {
        to: Side,
        message: Message,
    },
    /// The connection is to be closed. Nothing follows.
    Close(Close),
}

/// The stages that the messages of a connection pass, in the order of the request phase.
#[derive(Default)]
pub struct MessageFilters(Vec<(usize, Rc<dyn MessageFilter>)>);

impl MessageFilters {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the stage at this position of the pipeline.
    pub(super) fn add(&mut self, position: usize, filter: Rc<dyn MessageFilter>) {
        let index = self.0.partition_point(|(other, _)| *other < position);
        self.0.insert(index, (position, filter));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A message begins to pass the stages.
    pub fn pass(&self, sender: Side, message: Message) -> Passage<'_> {
        let passed = match sender {
            Side::Client => 0,
            Side::Upstream => self.0.len(),
        };
        let size = cost(&message);
        let pending = vec![Pending::Message(Step { sender, passed, message, is_reply: false })];
        Passage { filters: &self.0, pending, reply_calls: 0, pending_bytes: size }
    }
}

/// A message in progress. Dropping it cancels the call that it waits for.
pub struct Passage<'a> {
    filters: &'a [(usize, Rc<dyn MessageFilter>)],
    /// What comes next is at the end: all that one message has led to goes on before the message behind it is looked at, so only
    /// the results of a few calls are held at a time.
    pending: Vec<Pending>,
    reply_calls: usize,
    pending_bytes: usize,
}

enum Pending {
    Message(Step),
    Close(Close),
}

struct Step {
    sender: Side,
    /// A position among the stages, counted from the client: those before it have seen a message of the client, those after it
    /// one of the upstream.
    passed: usize,
    message: Message,
    /// It is a stage's own, to the sender of another one.
    is_reply: bool,
}

impl Passage<'_> {
    /// What happens next; `None` when all has happened.
    ///
    /// # Errors
    ///
    /// A stage failed: the connection cannot go on.
    pub async fn next(&mut self) -> Option<Result<Forwarded, Failure>> {
        loop {
            let step = match self.pending.pop()? {
                Pending::Message(step) => step,
                Pending::Close(close) => {
                    self.pending.clear();
                    return Some(Ok(Forwarded::Close(close)));
                }
            };
            self.pending_bytes = self.pending_bytes.saturating_sub(cost(&step.message));
            let index = match step.sender {
                Side::Client => Some(step.passed),
                Side::Upstream => step.passed.checked_sub(1),
            };
            let Some((_, filter)) = index.and_then(|index| self.filters.get(index)) else {
                return Some(Ok(Forwarded::Message { to: step.sender.other(), message: step.message }));
            };
            if step.is_reply {
                self.reply_calls += 1;
                if self.reply_calls > MAX_REPLY_CALLS {
                    return Some(Err(too_much("plugins answer each other's messages without end")));
                }
            }
            match filter.on_message(step.sender, &step.message).await {
                Ok(result) => self.add(step, result),
                Err(failure) => return Some(Err(failure)),
            }
            if self.pending_bytes > MAX_PENDING_BYTES {
                return Some(Err(too_much("plugins make too much of one message")));
            }
        }
    }

    /// What a stage has returned, in reverse.
    fn add(&mut self, step: Step, result: MessageResult) {
        let Step { sender, passed, message, is_reply } = step;
        let MessageResult { output, replies, close } = result;
        let (onward, back) = match sender {
            Side::Client => (passed + 1, passed),
            Side::Upstream => (passed - 1, passed),
        };
        self.pending.extend(close.map(Pending::Close));
        let pending_bytes = &mut self.pending_bytes;
        let mut step = |sender: Side, passed: usize, message: Message, is_reply: bool| {
            *pending_bytes += cost(&message);
            Pending::Message(Step { sender, passed, message, is_reply })
        };
        for reply in replies.into_iter().rev() {
            self.pending.push(step(sender.other(), back, reply, true));
        }
        match output {
            None => self.pending.push(step(sender, onward, message, is_reply)),
            Some(output) => {
                for message in output.into_iter().rev() {
                    self.pending.push(step(sender, onward, message, is_reply));
                }
            }
        }
    }
}

fn too_much(what: &str) -> Failure {
    tracing::warn!("{what}; the connection is closed");
    Failure::PluginFailed
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
