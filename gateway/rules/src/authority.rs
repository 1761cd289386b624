//! What a client, or a plugin in its place, may ask for.

/// What a host's name is made of.
static IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        table[byte] = c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

/// No name has more than 255 bytes (RFC 1035 §3.1); a port may follow. The upstream gets the
/// authority in several headers.
const MAX_AUTHORITY: usize = 255 + ":65535".len();

/// Whether this is `uri-host [ ":" port ]` with a host that is not empty (RFC 9110 §4.2.1, §7.2). Stricter than RFC 3986: no
/// percent-encoding and none of `!$&'()*+,;=` in a name, which no DNS name has and parsers disagree about.
pub fn is_authority(text: &[u8]) -> bool {
    if text.len() > MAX_AUTHORITY {
        return false;
    }
    let (host, port) = match text.strip_prefix(b"[") {
        Some(literal) => {
            let Some(end) = literal.iter().position(|&byte| byte == b']') else { return false };
            let address = std::str::from_utf8(&literal[..end]).ok();
            if address.is_none_or(|address| address.parse::<std::net::Ipv6Addr>().is_err()) {
                return false;
            }
            (&literal[..end], &literal[end + 1..])
        }
        None => {
            let end = text.iter().position(|&byte| !IN_NAME[usize::from(byte)]).unwrap_or(text.len());
            text.split_at(end)
        }
    };
    let port = match port {
        [] => return !host.is_empty(),
        [b':', port @ ..] => port,
        _ => return false,
    };
    // An empty port is allowed (RFC 3986 §3.2.3).
    let is_port = port.is_empty()
        || port.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok());
    !host.is_empty() && is_port
}
