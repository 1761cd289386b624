//! What edits are undone to.

use std::rc::Rc;

use gateway_http::body::Body;
use gateway_rules::attributes::Attributes;

use super::heads::{RequestHead, ResponseHead};

/// What to go back to when a stage fails under `on-error: skip`; taken at the first edit.
#[derive(Default)]
pub(super) enum Undo {
    #[default]
    Off,
    Armed,
    Taken(Box<Before>),
}

pub(super) struct Before {
    pub(super) request: RequestHead,
    pub(super) response: Option<ResponseHead>,
    pub(super) attributes: Attributes,
    pub(super) upstream: (Option<Rc<str>>, bool),
    /// Bodies that were replaced.
    pub(super) request_body: Option<Body>,
    pub(super) response_body: Option<Body>,
}
