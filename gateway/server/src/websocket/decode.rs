//! From the bytes of one side to whole messages (RFC 6455 §5): unmasked, joined and checked.

use bytes::{Buf, Bytes, BytesMut};
use gateway_proxy::Message;
use gateway_rules::messages::is_close_code;

use super::opcode;

/// Reads the frames of one side, however their bytes are cut.
pub struct Decoder {
    /// A client's frames are masked, and a server's are not (RFC 6455 §5.1).
    masked: bool,
    /// Of a message.
    limit: usize,
    buffer: BytesMut,
    /// The message that is being sent in fragments: its opcode, and what has come of it.
    fragments: Option<(u8, BytesMut)>,
}

/// What one or several frames are.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message.
    Message(Message),
    /// A ping or a pong, by its opcode.
    Control(u8, Bytes),
    /// The payload of a close frame, which has been checked.
    Close(Bytes),
}

/// The sender breaks the protocol, or sends too much.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// With which the connection is closed (RFC 6455 §7.4.1).
    pub code: u16,
    /// What is wrong.
    pub reason: &'static str,
}

const fn protocol_error(reason: &'static str) -> Violation {
    Violation { code: 1002, reason }
}

const INVALID_TEXT: Violation = Violation { code: 1007, reason: "text is not UTF-8" };
const TOO_LARGE: Violation = Violation { code: 1009, reason: "the message is too large" };
/// The payload of a control frame.
const MAX_CONTROL: usize = 125;

struct Head {
    is_final: bool,
    opcode: u8,
    /// Bytes of the head itself.
    length: usize,
    payload: usize,
    mask: Option<[u8; 4]>,
}

impl Decoder {
    /// For frames that are masked or not, and messages of at most `limit` bytes.
    pub fn new(masked: bool, limit: usize) -> Self {
        Self { masked, limit, buffer: BytesMut::new(), fragments: None }
    }

    /// Adds bytes that have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that have come and have not been read.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next message or control frame; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// The sender breaks the protocol. Nothing can be read after that.
    pub fn next_frame(&mut self) -> Result<Option<Incoming>, Violation> {
        loop {
            let Some(head) = self.head()? else {
                if self.buffer.is_empty() {
                    // A silent connection costs no buffer.
                    self.buffer = BytesMut::new();
                }
                return Ok(None);
            };
            let whole = head.length + head.payload;
            if self.buffer.len() < whole {
                return Ok(None);
            }
            self.buffer.advance(head.length);
            let mut payload = self.buffer.split_to(head.payload);
            if let Some(mask) = head.mask {
                super::mask(&mut payload, mask);
            }
            if let Some(incoming) = self.read(&head, payload)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// The head of the next frame, if it is there, as soon as there is something wrong with it.
    fn head(&self) -> Result<Option<Head>, Violation> {
        let [first, second, rest @ ..] = &self.buffer[..] else { return Ok(None) };
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err(protocol_error("a reserved bit is set, and no extension was negotiated"));
        }
        if (second & 0x80 != 0) != self.masked {
            return Err(protocol_error("the mask is that of the other side"));
        }
        let (length, payload) = match second & 0x7f {
            126 => match rest {
                [a, b, ..] => (4, u64::from(u16::from_be_bytes([*a, *b]))),
                _ => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(bytes) => (10, u64::from_be_bytes(*bytes)),
                None => return Ok(None),
            },
            payload => (2, u64::from(payload)),
        };
        // RFC 6455 §5.2: the shortest form, and no more than 63 bits.
        if (length == 4 && payload < 126) || (length == 10 && (payload < 0x1_0000 || payload >> 63 != 0)) {
            return Err(protocol_error("a length is not in its shortest form"));
        }
        match opcode {
            opcode::CLOSE | opcode::PING | opcode::PONG => {
                if !is_final || payload > MAX_CONTROL as u64 {
                    return Err(protocol_error("a control frame is fragmented or over 125 bytes"));
                }
            }
            opcode::CONTINUATION if self.fragments.is_none() => {
                return Err(protocol_error("a fragment continues no message"));
            }
            opcode::TEXT | opcode::BINARY if self.fragments.is_some() => {
                return Err(protocol_error("a message begins within another one"));
            }
            opcode::CONTINUATION | opcode::TEXT | opcode::BINARY => {}
            _ => return Err(protocol_error("an opcode is reserved")),
        }
        let before = self.fragments.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let payload = usize::try_from(payload).map_err(|_| TOO_LARGE)?;
        if opcode < opcode::CLOSE && payload > self.limit.saturating_sub(before) {
            return Err(TOO_LARGE);
        }
        let (mask, length) = match self.masked {
            false => (None, length),
            true => match self.buffer.get(length..).and_then(<[u8]>::first_chunk) {
                Some(mask) => (Some(*mask), length + 4),
                None => return Ok(None),
            },
        };
        Ok(Some(Head { is_final, opcode, length, payload, mask }))
    }

    fn read(&mut self, head: &Head, payload: BytesMut) -> Result<Option<Incoming>, Violation> {
        let (opcode, bytes) = match head.opcode {
            opcode::CLOSE => return close(payload.freeze()).map(|payload| Some(Incoming::Close(payload))),
            opcode @ (opcode::PING | opcode::PONG) => return Ok(Some(Incoming::Control(opcode, payload.freeze()))),
            opcode::CONTINUATION => {
                let Some((opcode, mut bytes)) = self.fragments.take() else { return Ok(None) };
                bytes.extend_from_slice(&payload);
                (opcode, bytes)
            }
            opcode => (opcode, payload),
        };
        if !head.is_final {
            self.fragments = Some((opcode, bytes));
            return Ok(None);
        }
        if opcode == opcode::BINARY {
            return Ok(Some(Incoming::Message(Message::Binary(bytes.freeze()))));
        }
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Some(Incoming::Message(Message::Text(bytes.freeze())))),
            Err(_) => Err(INVALID_TEXT),
        }
    }
}

/// Checks the payload of a close frame (RFC 6455 §5.5.1).
fn close(payload: Bytes) -> Result<Bytes, Violation> {
    match &payload[..] {
        [] => Ok(payload),
        [a, b, reason @ ..] if is_close_code(u16::from_be_bytes([*a, *b])) => match std::str::from_utf8(reason) {
            Ok(_) => Ok(payload),
            Err(_) => Err(INVALID_TEXT),
        },
        _ => Err(protocol_error("a close frame has no valid code")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::encode, *};

    fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        encode(first & 0x0f, payload, mask, &mut bytes);
        bytes[0] = first;
        bytes.to_vec()
    }

    fn all(masked: bool, limit: usize, bytes: &[u8], size: usize) -> Result<Vec<Incoming>, Violation> {
        let mut decoder = Decoder::new(masked, limit);
        let mut found = Vec::new();
        for piece in bytes.chunks(size) {
            decoder.push(piece);
            while let Some(incoming) = decoder.next_frame()? {
                found.push(incoming);
            }
        }
        assert_eq!(decoder.pending(), 0);
        Ok(found)
    }

    #[test]
    fn fragments_are_joined_and_control_frames_come_in_between() {
        let mask = Some([1, 2, 3, 4]);
        let bytes = [
            frame(0x01, "hé".as_bytes(), mask),
            frame(0x89, b"still there?", mask),
            frame(0x00, b"l", mask),
            frame(0x80, b"lo", mask),
            frame(0x82, &[7; 70_000], mask),
            frame(0x88, b"\x03\xe8bye", mask),
        ]
        .concat();
        let expected = [
            Incoming::Control(opcode::PING, "still there?".into()),
            Incoming::Message(Message::Text("héllo".into())),
            Incoming::Message(Message::Binary(vec![7; 70_000].into())),
            Incoming::Close((&b"\x03\xe8bye"[..]).into()),
        ];
        for size in [1, 2, 3, 7, 1000, bytes.len()] {
            assert_eq!(all(true, 70_000, &bytes, size).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn a_character_may_be_cut_by_a_fragment() {
        let bytes = [frame(0x01, b"\xc3", None), frame(0x80, b"\xa9", None)].concat();
        assert_eq!(all(false, 10, &bytes, 9).unwrap(), [Incoming::Message(Message::Text("é".into()))]);
    }

    #[test]
    fn what_the_protocol_forbids_is_refused_with_its_code() {
        let refused = |bytes: &[u8]| all(false, 10, bytes, bytes.len()).unwrap_err().code;
        for bytes in [
            &frame(0xc1, b"x", None)[..],
            &frame(0x81, b"x", Some([0; 4])),
            &frame(0x83, b"x", None),
            &frame(0x80, b"x", None),
            &[frame(0x01, b"x", None), frame(0x81, b"x", None)].concat(),
            &frame(0x09, b"x", None),
            &frame(0x89, &[0; 126], None),
            b"\x81\x7e\x00\x05hello",
            b"\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05hello",
            b"\x82\x7f\x80\x00\x00\x00\x00\x01\x00\x00",
            &frame(0x88, b"\x03", None),
            &frame(0x88, b"\x03\xee", None),
        ] {
            assert_eq!(refused(bytes), 1002, "{bytes:?}");
        }
        assert_eq!(refused(&frame(0x81, b"\xff", None)), 1007);
        assert_eq!(refused(&frame(0x88, b"\x03\xe8\xff", None)), 1007);
        assert_eq!(refused(&frame(0x81, b"12345678901", None)), 1009);
        assert_eq!(refused(&[frame(0x01, b"123456", None), frame(0x80, b"12345", None)].concat()), 1009);
        // Before any of it has come.
        assert_eq!(refused(b"\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00"), 1009);
    }
}
