//! Conversations, answered by the test.

use crate::tcp::{Answer, Message, TcpError};

type Answering = Box<dyn FnMut(&Message) -> Result<Vec<u8>, TcpError>>;

#[derive(Default)]
pub(super) struct Conversations {
    pub(super) answering: Option<Answering>,
    pub(super) messages: Vec<Message>,
    pub(super) finished: usize,
    current: Option<Conversation>,
    /// The phase has to be called again.
    awaited: bool,
}

struct Conversation {
    memo: Vec<u8>,
    answer: Result<Vec<u8>, TcpError>,
    /// Not a byte more than that comes, which is the hardest for a plugin.
    wants: usize,
}

impl Conversations {
    pub(super) fn send(&mut self, message: Message, answer: Result<Vec<u8>, TcpError>) {
        self.current = Some(Conversation { memo: message.memo.clone(), answer, wants: message.wants });
        self.messages.push(message);
        self.awaited = true;
    }

    pub(super) fn receive(&self) -> Result<Option<Answer>, TcpError> {
        let Some(Conversation { memo, answer, wants }) = &self.current else { return Ok(None) };
        match answer.as_ref().map_err(Clone::clone)?.get(..*wants) {
            Some(bytes) => Ok(Some(Answer { memo: memo.clone(), bytes: bytes.to_vec() })),
            None => Err(TcpError::Closed("by the test".to_owned())),
        }
    }

    pub(super) fn await_more(&mut self, wants: usize) -> Result<(), TcpError> {
        let current = self.current.as_mut().ok_or(TcpError::Unavailable)?;
        current.wants = wants.max(current.wants + 1);
        self.awaited = true;
        Ok(())
    }

    pub(super) fn finish(&mut self) {
        self.finished += usize::from(self.current.take().is_some());
    }

    /// Whether there is news for the phase, which failed.
    pub(super) fn take_awaited(&mut self) -> bool {
        std::mem::take(&mut self.awaited)
    }

    /// The phase is over.
    pub(super) fn end(&mut self) {
        (self.current, self.awaited) = (None, false);
    }
}
