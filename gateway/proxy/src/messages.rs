//! Requests on routes whose plugins may ask for messages: the upstream is to send them in a form that can be read.

use gateway_core::model::Upgrade;
use gateway_pipeline::Exchange;
use gateway_upstream::UpstreamResponse;
use http::{HeaderValue, header};

/// Leaves out what the client offers and the gateway could not read: extensions of a WebSocket, such as compression of its messages
/// (RFC 7692), and content codings of an event stream.
pub(super) fn prepare(exchange: &mut Exchange, upgrade: Option<Upgrade>) {
    let headers = &mut exchange.request.headers;
    if upgrade == Some(Upgrade::Websocket) {
        let name = header::SEC_WEBSOCKET_EXTENSIONS;
        headers.map_for(name.as_str()).remove(name);
    }
    let accepts_events = |value: &HeaderValue| {
        let media_types = value.as_bytes().split(|byte| *byte == b',');
        media_types
            .map(|media_type| media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
            .any(|media_type| media_type.eq_ignore_ascii_case(b"text/event-stream"))
    };
    if headers.others().get_all(header::ACCEPT).iter().any(accepts_events)
        && headers.others().contains_key(header::ACCEPT_ENCODING)
    {
        let name = header::ACCEPT_ENCODING;
        headers.map_for(name.as_str()).insert(name, HeaderValue::from_static("identity"));
    }
}

/// Whether the upstream has switched to a WebSocket with extensions.
pub(super) fn has_extensions(sent: &UpstreamResponse) -> bool {
    sent.switched.is_some() && sent.response.headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
}
