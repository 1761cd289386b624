//! Interim responses (RFC 9110 §15.2): sent to a client before its response.

use http::{HeaderMap, StatusCode, header};

/// Where the interim responses to one request go.
pub trait Interim {
    /// Sends one, if that is possible now. It is only a hint, except `100 Continue`, for which the client may
    /// wait.
    fn send(&self, status: StatusCode, fields: &HeaderMap);
}

/// What of an upstream's interim response goes on to the client, if anything. Plugins do not see these, so only what hints are
/// for passes: `Link` of `103 Early Hints` (RFC 8297 §2), and `102 Processing` without fields.
pub fn forwarded(status: StatusCode, fields: &HeaderMap) -> Option<HeaderMap> {
    match status.as_u16() {
        102 => Some(HeaderMap::new()),
        103 => {
            let links = fields.get_all(header::LINK).iter();
            let links: HeaderMap = links.map(|link| (header::LINK, link.clone())).collect();
            (!links.is_empty()).then_some(links)
        }
        _ => None,
    }
}
