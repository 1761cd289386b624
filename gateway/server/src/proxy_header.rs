//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): a load balancer says first of all whose
//! connection it forwards. What follows the header's last byte is the client's, be it TLS or HTTP.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use gateway_core::model::ProxyHeaderMode;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::rewind::Rewind;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const TEXT: &[u8] = b"PROXY ";
/// §2.1: the longest line of version 1, with CR LF.
const MAX_LINE: usize = 107;
/// §2.2: signature, version and command, family, length.
const FIXED: usize = 16;
/// What version 2 may append to its addresses and still be read: a TLS certificate has its place.
const MAX_BINARY: usize = 4096;

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(&'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no valid PROXY protocol header: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
enum ParsedHeader {
    /// Perhaps the beginning of a header.
    More,
    /// None at all.
    Absent,
    /// So long, and whose connection it is; none if it is the balancer's own.
    Header(usize, Option<SocketAddr>),
}

/// Reads the header of a connection. The stream is what follows it.
pub(super) async fn read<S: AsyncRead + Unpin>(
    mut stream: S,
    mode: ProxyHeaderMode,
) -> io::Result<(Rewind<S>, Option<SocketAddr>)> {
    let mut start = Vec::with_capacity(256);
    loop {
        // No more than a header can have: what a client sends after it is not collected here.
        if (&mut stream).take((FIXED + MAX_BINARY - start.len()) as u64).read_buf(&mut start).await? == 0 {
            return match (mode, start.is_empty()) {
                (ProxyHeaderMode::Required, false) => Err(malformed(Malformed("it ends too early"))),
                _ => Ok((Rewind::new(start, stream), None)),
            };
        }
        match find(&start).map_err(malformed)? {
            ParsedHeader::More => {}
            ParsedHeader::Absent if mode == ProxyHeaderMode::Optional => return Ok((Rewind::new(start, stream), None)),
            ParsedHeader::Absent => return Err(malformed(Malformed("there is none"))),
            ParsedHeader::Header(length, source) => return Ok((Rewind::new(start.split_off(length), stream), source)),
        }
    }
}

fn malformed(malformed: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, malformed)
}

fn find(start: &[u8]) -> Result<ParsedHeader, Malformed> {
    if start.starts_with(TEXT) {
        text(start)
    } else if start.starts_with(SIGNATURE) {
        binary(start)
    } else if TEXT.starts_with(start) || SIGNATURE.starts_with(start) {
        Ok(ParsedHeader::More)
    } else {
        Ok(ParsedHeader::Absent)
    }
}

/// §2.1: `PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n`.
fn text(start: &[u8]) -> Result<ParsedHeader, Malformed> {
    let within = &start[..start.len().min(MAX_LINE)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if within.len() < MAX_LINE { Ok(ParsedHeader::More) } else { Err(Malformed("the line is too long")) };
    };
    let line = std::str::from_utf8(&start[TEXT.len()..end]).map_err(|_| Malformed("the line is not ASCII"))?;
    let header = |source| Ok(ParsedHeader::Header(end + 2, source));
    let mut parts = line.split(' ');
    let family = parts.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return header(None);
    }
    let mut part = || parts.next().ok_or(Malformed("an address or a port is missing"));
    let (source, destination) = (part()?, part()?);
    let (source_port, destination_port) = (part()?, part()?);
    if parts.next().is_some() {
        return Err(Malformed("there is something after the ports"));
    }
    let addresses: Option<(IpAddr, IpAddr)> = match family {
        "TCP4" => {
            source.parse::<Ipv4Addr>().ok().zip(destination.parse::<Ipv4Addr>().ok()).map(|(s, d)| (s.into(), d.into()))
        }
        "TCP6" => {
            source.parse::<Ipv6Addr>().ok().zip(destination.parse::<Ipv6Addr>().ok()).map(|(s, d)| (s.into(), d.into()))
        }
        _ => return Err(Malformed("the protocol is neither TCP4 nor TCP6 nor UNKNOWN")),
    };
    let (source, _) = addresses.ok_or(Malformed("an address is none of its family"))?;
    port(destination_port)?;
    header(Some(SocketAddr::new(source, port(source_port)?)))
}

fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text == "0" || text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain).ok_or(Malformed("a port is no number up to 65535"))
}

/// §2.2.
fn binary(start: &[u8]) -> Result<ParsedHeader, Malformed> {
    let Some(fixed) = start.get(SIGNATURE.len()..FIXED) else { return Ok(ParsedHeader::More) };
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if fixed[0] >> 4 != 2 {
        return Err(Malformed("the version is not 2"));
    }
    if length > MAX_BINARY {
        return Err(Malformed("it is over 4096 bytes"));
    }
    let Some(body) = start.get(FIXED..FIXED + length) else { return Ok(ParsedHeader::More) };
    let addresses = |octets: usize| body.get(..octets).ok_or(Malformed("it is too short for its addresses"));
    let source = match (fixed[0] & 0xf, fixed[1]) {
        // LOCAL: a health check of the balancer's own. The rest is to be ignored.
        (0, _) => None,
        // TCP over IPv4, TCP over IPv6: both addresses, both ports.
        (1, 0x11) => {
            let octets = addresses(12)?;
            let source = Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]);
            Some(SocketAddr::new(source.into(), u16::from_be_bytes([octets[8], octets[9]])))
        }
        (1, 0x21) => {
            let octets = addresses(36)?;
            let source = <[u8; 16]>::try_from(&octets[..16]).map_err(|_| Malformed("an address is too short"))?;
            Some(SocketAddr::new(Ipv6Addr::from(source).into(), u16::from_be_bytes([octets[32], octets[33]])))
        }
        // UNSPEC and Unix sockets say nothing that would be an address.
        (1, 0x00 | 0x31) => None,
        (1, _) => return Err(Malformed("the protocol is not TCP")),
        _ => return Err(Malformed("the command is neither LOCAL nor PROXY")),
    };
    Ok(ParsedHeader::Header(FIXED + length, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((body.len() as u16).to_be_bytes());
        header.extend(body);
        header
    }

    fn header(length: usize, source: &str) -> Result<ParsedHeader, Malformed> {
        Ok(ParsedHeader::Header(length, Some(source.parse().unwrap())))
    }

    #[test]
    fn version_1_says_the_source() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
        assert_eq!(find(line), header(line.len(), "192.0.2.7:56324"));
        let more = [&line[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(find(&more), header(line.len(), "192.0.2.7:56324"));
        let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 1 0\r\n";
        assert_eq!(find(line), header(line.len(), "[2001:db8::7]:1"));
        assert_eq!(find(b"PROXY UNKNOWN\r\n"), Ok(ParsedHeader::Header(15, None)));
        assert_eq!(find(b"PROXY UNKNOWN a b c d\r\n"), Ok(ParsedHeader::Header(23, None)));
    }

    #[test]
    fn version_1_is_taken_by_the_letter() {
        for line in [
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 x\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 +2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 \r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY \r\n",
        ] {
            assert!(find(line.as_bytes()).is_err(), "{line:?}");
        }
        assert!(find(format!("PROXY UNKNOWN {}", "x".repeat(200)).as_bytes()).is_err());
        assert!(find(&[b"PROXY TCP4 \xff", &b"x"[..], b"\r\n"].concat()).is_err());
    }

    #[test]
    fn version_2_says_the_source() {
        let v4 = v2(1, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb]);
        assert_eq!(find(&v4), header(28, "192.0.2.7:56324"));
        let mut addresses = [0; 36];
        addresses[..2].copy_from_slice(&[0x20, 1]);
        addresses[15] = 7;
        addresses[33] = 9;
        assert_eq!(find(&v2(1, 0x21, &addresses)), header(52, "[2001::7]:9"));
        // Type-length-values after the addresses are skipped.
        let more = v2(1, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0, 1, 0, 2, 0x04, 0, 1, 0xff]);
        assert_eq!(find(&more), header(32, "192.0.2.7:1"));
        for local in [v2(0, 0, &[]), v2(0, 0x11, &[1; 12]), v2(1, 0, &[]), v2(1, 0x31, &[0; 216])] {
            assert_eq!(find(&local), Ok(ParsedHeader::Header(local.len(), None)));
        }
    }

    #[test]
    fn version_2_is_taken_by_the_letter() {
        for broken in [v2(1, 0x11, &[1; 11]), v2(1, 0x21, &[1; 12]), v2(1, 0x12, &[1; 12]), v2(2, 0x11, &[1; 12])] {
            assert!(find(&broken).is_err(), "{broken:?}");
        }
        let mut version = v2(1, 0x11, &[1; 12]);
        version[12] = 0x31;
        assert!(find(&version).is_err());
        assert!(find(&v2(0, 0, &[0; MAX_BINARY + 1])).is_err());
    }

    #[test]
    fn a_header_may_come_in_parts() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec();
        for whole in [line, v2(1, 0x11, &[1; 12])] {
            for end in 1..whole.len() {
                assert_eq!(find(&whole[..end]), Ok(ParsedHeader::More), "{end}");
            }
        }
    }

    #[test]
    fn everything_else_is_no_header() {
        for start in ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "PROXYX", "\r\n\r\n\r\n", "\x16\x03\x01"] {
            assert_eq!(find(start.as_bytes()), Ok(ParsedHeader::Absent), "{start:?}");
        }
    }
}
