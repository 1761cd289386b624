//! How much plugins may add to what has come.

use http::HeaderMap;

use crate::size::section_bytes;

/// What plugins may add to a message, beyond what has come: what a client or an upstream sends takes nothing of it away, so
/// that neither can make a plugin fail by sending much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Of a header section, as HTTP/1.1 writes it. A plugin's own reply, the edits that wait for a response, and attributes
    /// may have as much.
    pub added_bytes: usize,
    /// Field lines.
    pub added_fields: usize,
    /// Of path and query.
    pub added_uri_bytes: usize,
    /// Of a body that a plugin reads, or puts in the place of one.
    pub buffer_bytes: usize,
}

/// What a message may have of heads when it comes, and of a body that plugins read, unless it is configured otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Names, values, separators of the header section, and the request line.
    pub header_bytes: usize,
    /// Field lines.
    pub header_count: usize,
    /// Path and query.
    pub uri_bytes: usize,
    /// A body that a plugin reads.
    pub buffer_bytes: usize,
}

impl Default for Received {
    fn default() -> Self {
        Self { header_bytes: 64 * 1024, header_count: 100, uri_bytes: 16 * 1024, buffer_bytes: 1024 * 1024 }
    }
}

/// What plugins have beside a copy of all that a client may send: as much as one list of edits can have.
const OWN_BYTES: usize = 64 * 1024;
const OWN_FIELDS: usize = 256;
const OWN_URI_BYTES: usize = 8 * 1024;

impl Bounds {
    /// What plugins may add to a message that may have so much when it comes.
    pub fn new(received: Received) -> Self {
        let Received { header_bytes, header_count, uri_bytes, buffer_bytes } = received;
        Self {
            added_bytes: header_bytes + OWN_BYTES,
            added_fields: header_count + OWN_FIELDS,
            added_uri_bytes: uri_bytes + OWN_URI_BYTES,
            buffer_bytes,
        }
    }

    /// Checks the length of a body that a plugin puts in the place of one.
    ///
    /// # Errors
    ///
    /// It is over the limit, which is returned.
    #[inline]
    pub fn check_body(&self, length: usize) -> Result<(), u64> {
        if length > self.buffer_bytes { Err(self.buffer_bytes as u64) } else { Ok(()) }
    }
}

/// What the header section of one message may become by edits.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

impl Room {
    /// So much beyond what is there now. It is measured before the first edit, so that what a client or an upstream has
    /// sent takes no room away from plugins.
    pub fn beyond(headers: &HeaderMap, bounds: &Bounds) -> Self {
        Self { bytes: section_bytes(headers) + bounds.added_bytes, fields: headers.len() + bounds.added_fields }
    }

    /// With room for fields of this size that are not among those that were measured.
    #[must_use]
    pub fn with(self, (bytes, fields): (usize, usize)) -> Self {
        Self { bytes: self.bytes + bytes, fields: self.fields + fields }
    }

    /// Without the room for fields of this size, which are somewhere else.
    #[must_use]
    pub fn without(self, (bytes, fields): (usize, usize)) -> Self {
        Self { bytes: self.bytes.saturating_sub(bytes), fields: self.fields.saturating_sub(fields) }
    }
}
