//! What a call has open with the outside: it is closed when the call ends.

use tokio::task::JoinHandle;

use crate::{
    bindings::{Reply, http_client},
    services::{CallError, Conversation},
};

/// Things of one kind that a call may have open at a time.
const OPEN: usize = 16;

/// By numbers that are not used again, so that a handle from an earlier call stands for nothing of this one.
pub(crate) struct Handles<T> {
    open: Vec<(u32, T)>,
    next: u32,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self { open: Vec::new(), next: 0 }
    }
}

impl<T> Handles<T> {
    /// Whether there may be one more.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < OPEN
    }

    pub(crate) fn add(&mut self, one: T) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.push((number, one));
        number
    }

    /// Takes one out, to use or to end it.
    pub(crate) fn take(&mut self, number: u32) -> Option<T> {
        let place = self.open.iter().position(|(open, _)| *open == number)?;
        Some(self.open.swap_remove(place).1)
    }

    /// Puts one back that was taken.
    pub(crate) fn put_back(&mut self, number: u32, one: T) {
        self.open.push((number, one));
    }

    pub(crate) fn close(&mut self) {
        self.open.clear();
    }
}

/// A request to an upstream that was started and not waited for yet. Dropped, it is cancelled.
pub(crate) struct PendingCall(JoinHandle<Result<Reply, http_client::CallError>>);

impl PendingCall {
    pub(crate) fn new(task: JoinHandle<Result<Reply, http_client::CallError>>) -> Self {
        Self(task)
    }

    /// Waits for the response.
    pub(crate) async fn wait(mut self) -> Result<Reply, http_client::CallError> {
        let ended = (&mut self.0).await;
        ended.unwrap_or_else(|error| Err(http_client::CallError::Other(format!("the call ended early: {error}"))))
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection to a TCP upstream on which a message was sent.
pub(crate) struct Connection {
    pub(crate) conversation: Box<dyn Conversation>,
    /// How many of the received bytes the guest has.
    pub(crate) returned: usize,
    pub(crate) upstream: String,
    /// The largest answer, in bytes.
    pub(crate) limit: usize,
}

impl Connection {
    /// The bytes that the guest does not have yet.
    fn received(&mut self) -> Vec<u8> {
        let heard = self.conversation.heard();
        let bytes = heard.get(self.returned..).unwrap_or_default().to_vec();
        self.returned = heard.len();
        bytes
    }

    /// Waits for at least `min_bytes` that the guest does not have yet.
    pub(crate) async fn receive(&mut self, min_bytes: usize) -> Result<Vec<u8>, CallError> {
        let wanted = self.returned.saturating_add(min_bytes);
        if min_bytes > 0 && self.conversation.heard().len() < wanted {
            self.conversation.hear(wanted).await?;
        }
        Ok(self.received())
    }
}
