//! How much plugins may add to what has come.

use http::HeaderMap;

use super::fields::section_bytes;
use crate::config::model::Limits;

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
    pub buffer_bytes: usize,
}

/// What plugins have beside a copy of all that a client may send: as much as one list of edits can have.
const OWN_BYTES: usize = 64 * 1024;
const OWN_FIELDS: usize = 256;
const OWN_URI_BYTES: usize = 8 * 1024;

impl Bounds {
    pub fn new(limits: &Limits, buffer_bytes: usize) -> Self {
        Self {
            added_bytes: limits.header_bytes + OWN_BYTES,
            added_fields: limits.header_count + OWN_FIELDS,
            added_uri_bytes: limits.uri_bytes + OWN_URI_BYTES,
            buffer_bytes,
        }
    }
}

/// What a stage could not put into the request, since there is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// A header or an attribute.
    Head,
    /// Path and query.
    Target,
}

/// What the header section of one message may become by edits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) bytes: usize,
    pub(super) fields: usize,
}

impl Room {
    /// So much beyond what is there now. It is measured before the first edit, so that what a client or an upstream has
    /// sent takes no room away from plugins.
    pub(super) fn beyond(headers: &HeaderMap, bounds: &Bounds) -> Self {
        Self { bytes: section_bytes(headers) + bounds.added_bytes, fields: headers.len() + bounds.added_fields }
    }
}
