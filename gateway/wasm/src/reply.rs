//! A guest's whole response, made sound before it meets a client.

use gateway_pipeline::{Bounds, Reply};
use gateway_rules::reply::{self, ReplyError};

use super::bindings;

/// Takes over a reply, or says what is illegal about it.
pub(super) fn checked(made: bindings::Reply, bounds: &Bounds) -> Result<Reply, ReplyError> {
    let (status, headers) = reply::reply(made.status, made.headers.into_iter(), bounds)?;
    Ok(Reply { status, headers, body: made.body.into() })
}
