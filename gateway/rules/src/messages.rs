//! Messages of WebSockets and events of event streams, as plugins may ask for them and return them.

use http::{HeaderMap, StatusCode, header};

/// The longest reason of a close frame: a control frame has up to 125 bytes, of which two are the code (RFC 6455 §5.5).
pub const MAX_REASON_BYTES: usize = 123;

/// What consists of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageStream {
    /// A connection that has switched to the WebSocket protocol.
    WebSocket,
    /// A response with `content-type: text/event-stream`.
    Events,
}

/// What a response is the beginning of, or why a plugin cannot have its messages. A 101 is only ever that of a WebSocket.
///
/// # Errors
///
/// The response is neither, or its events cannot be read.
pub fn stream_of(status: StatusCode, headers: &HeaderMap) -> Result<MessageStream, &'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(MessageStream::WebSocket);
    }
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    if !media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream") {
        return Err("the response is neither a 101 to a WebSocket handshake nor `text/event-stream`");
    }
    let is_plain = |value: &http::HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    match headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        true => Ok(MessageStream::Events),
        false => Err("the event stream has a `content-encoding`"),
    }
}

/// Whether a close frame may have this code (RFC 6455 §7.4, and the registry that it established).
pub fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// What is wrong with the close that a plugin returned.
///
/// # Errors
///
/// The code is none that may be sent, or the reason is too long.
pub fn check_close(code: u16, reason: &str) -> Result<(), String> {
    if !is_close_code(code) {
        return Err(format!("it closes with the code {code}, which must not be sent"));
    }
    if reason.len() > MAX_REASON_BYTES {
        return Err(format!("the reason of its close is over {MAX_REASON_BYTES} bytes"));
    }
    Ok(())
}

/// Whether an event of a plugin's can be written: identifier and name are one line each.
///
/// # Errors
///
/// One of them is not.
pub fn check_event(id: Option<&str>, name: Option<&str>) -> Result<(), &'static str> {
    let is_line = |text: &str| !text.contains(['\r', '\n']);
    if !id.is_none_or(|id| is_line(id) && !id.contains('\0')) {
        return Err("the identifier of its event has a line end or NUL");
    }
    if !name.is_none_or(is_line) {
        return Err("the name of its event has a line end");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, fields: &[(header::HeaderName, &'static str)]) -> Result<MessageStream, &'static str> {
        let fields = fields.iter().map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value)));
        stream_of(StatusCode::from_u16(status).unwrap(), &fields.collect())
    }

    #[test]
    fn only_websockets_and_readable_event_streams_have_messages() {
        let events = |value| (header::CONTENT_TYPE, value);
        assert_eq!(of(101, &[]), Ok(MessageStream::WebSocket));
        for value in ["text/event-stream", "Text/Event-Stream ; charset=utf-8"] {
            assert_eq!(of(200, &[events(value)]), Ok(MessageStream::Events));
        }
        assert!(of(200, &[events("text/event-streams")]).is_err() && of(200, &[]).is_err());
        assert_eq!(
            of(200, &[events("text/event-stream"), (header::CONTENT_ENCODING, "Identity")]),
            Ok(MessageStream::Events)
        );
        assert!(of(200, &[events("text/event-stream"), (header::CONTENT_ENCODING, "gzip")]).is_err());
    }

    #[test]
    fn codes_that_are_never_sent_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert!(check_close(code, "").is_err(), "{code}");
        }
        for code in [1000, 1003, 1007, 1011, 1014, 3000, 4999] {
            assert!(check_close(code, &"r".repeat(123)).is_ok(), "{code}");
        }
        assert!(check_close(1000, &"r".repeat(124)).is_err());
    }

    #[test]
    fn an_event_cannot_smuggle_in_lines() {
        assert!(check_event(Some("1"), Some("news")).is_ok() && check_event(None, None).is_ok());
        assert!(check_event(Some("1\ndata: x"), None).is_err() && check_event(Some("\0"), None).is_err());
        assert!(check_event(None, Some("a\rb")).is_err());
    }
}
