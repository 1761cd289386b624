//! TCP connections, answered by the test.

use std::{cell::Cell, rc::Rc};

use crate::tcp::{Message, TcpError};

/// Of a call.
const MAX_CONNECTIONS: usize = 16;

type Answering = Box<dyn FnMut(&Message) -> Result<Vec<u8>, TcpError>>;

#[derive(Default)]
pub(super) struct Connections {
    pub(super) answering: Option<Answering>,
    pub(super) messages: Vec<Message>,
    pub(super) released: usize,
    /// Each open connection has a clone.
    open: Rc<()>,
}

/// A connection on which a message was sent. Of the answer no byte more arrives than the plugin waits for: so a plugin that reads
/// too little, or expects more than it waited for, fails its test.
pub(crate) struct RawConnection {
    answer: Vec<u8>,
    arrived: Cell<usize>,
    returned: Cell<usize>,
    limit: usize,
    _open: Rc<()>,
}

impl Connections {
    pub(super) fn check(&self, message: &Message, limit: usize) -> Result<(), TcpError> {
        if Rc::strong_count(&self.open) > MAX_CONNECTIONS {
            return Err(TcpError::Unavailable);
        }
        if message.bytes.len() > limit { Err(TcpError::TooLarge(limit as u64)) } else { Ok(()) }
    }

    pub(super) fn connect(
        &mut self,
        message: Message,
        answer: Vec<u8>,
        limit: usize,
    ) -> Result<RawConnection, TcpError> {
        let min_bytes = message.min_bytes;
        self.messages.push(message);
        let _open = Rc::clone(&self.open);
        let connection = RawConnection { answer, arrived: Cell::new(0), returned: Cell::new(0), limit, _open };
        connection.wait(min_bytes)?;
        Ok(connection)
    }
}

impl RawConnection {
    fn wait(&self, bytes: usize) -> Result<(), TcpError> {
        if bytes > self.limit {
            return Err(TcpError::TooLarge(self.limit as u64));
        }
        if bytes > self.answer.len() {
            return Err(TcpError::Closed("by the test".to_owned()));
        }
        self.arrived.set(self.arrived.get().max(bytes));
        Ok(())
    }

    pub(super) fn receive(&self, min_bytes: usize) -> Result<Vec<u8>, TcpError> {
        self.wait(self.returned.get().saturating_add(min_bytes))?;
        let arrived = self.arrived.get();
        Ok(self.answer[self.returned.replace(arrived)..arrived].to_vec())
    }
}
