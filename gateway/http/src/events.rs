//! Event streams (WHATWG HTML, "Server-sent events", 9.2.6): from bytes to events, and back.
//!
//! What no client sees as an event (comments, `retry`, unknown fields) passes as it came.

use bytes::{Buf, Bytes, BytesMut};

/// Reads events from the bytes of a stream, however they are cut.
#[derive(Default)]
pub struct EventReader {
    /// From the beginning of the present block, or of the part of it that has not gone on yet.
    buffer: BytesMut,
    /// Up to here there is no line end that has not been dealt with.
    scanned: usize,
    /// Where the present line begins.
    line: usize,
    block: Block,
    /// The first bytes have been looked at, which may be a byte order mark.
    has_begun: bool,
    /// A line has ended with CR. An LF that comes next belongs to it.
    after_cr: bool,
}

#[derive(Default)]
struct Block {
    event: Event,
    /// Fields of an event: if there are none yet, a line can go on at once.
    has_fields: bool,
    has_data: bool,
    /// Lines that are none of an event's.
    rest: BytesMut,
}

/// An event with the bytes that it came as.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    pub name: Option<String>,
    /// The lines, with LF between them.
    pub data: String,
    pub raw: Bytes,
    /// The lines of `raw` that are none of an event's: comments, `retry`.
    pub rest: Bytes,
}

/// What a stream consists of.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes that make no event.
    Other(Bytes),
    Event(Event),
}

/// UTF-8's byte order mark, which is ignored at the beginning.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl EventReader {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait for the end of their event.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next part, as soon as it is complete.
    pub fn next_part(&mut self) -> Option<Part> {
        if !self.has_begun {
            if self.buffer.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.buffer) {
                return None;
            }
            self.has_begun = true;
            if self.buffer.starts_with(BYTE_ORDER_MARK) {
                return Some(Part::Other(self.buffer.split_to(BYTE_ORDER_MARK.len()).freeze()));
            }
        }
        if self.after_cr && self.buffer.len() > self.scanned {
            self.after_cr = false;
            if self.buffer[self.scanned] == b'\n' {
                if self.scanned == 0 {
                    // The line has gone on. To a client both are one line end.
                    return Some(Part::Other(self.take(1)));
                }
                self.scanned += 1;
                self.line += 1;
            }
        }
        loop {
            let rest = &self.buffer[self.scanned..];
            let Some(found) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
                self.scanned = self.buffer.len();
                return None;
            };
            let end = self.scanned + found;
            let is_cr = self.buffer[end] == b'\r';
            let mut next = end + 1;
            match self.buffer.get(next) {
                Some(b'\n') if is_cr => next += 1,
                None if is_cr => self.after_cr = true,
                _ => {}
            }
            let line = self.line..end;
            (self.scanned, self.line) = (next, next);
            if line.is_empty() {
                return Some(self.end_block(next));
            }
            self.block.add(&self.buffer[line.clone()], &self.buffer[line.start..next]);
            if !self.block.has_fields {
                // A comment may be there to keep the connection alive.
                self.block.rest.clear();
                return Some(Part::Other(self.take(next)));
            }
        }
    }

    fn take(&mut self, length: usize) -> Bytes {
        (self.scanned, self.line) = (0, 0);
        self.buffer.split_to(length).freeze()
    }

    fn end_block(&mut self, length: usize) -> Part {
        let raw = self.take(length);
        let Block { mut event, has_data, rest, .. } = std::mem::take(&mut self.block);
        if !has_data {
            return Part::Other(raw);
        }
        event.data.pop();
        event.raw = raw;
        event.rest = rest.freeze();
        Part::Event(event)
    }
}

impl Block {
    fn add(&mut self, line: &[u8], with_end: &[u8]) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, mut value) = line.split_at(colon);
        if value.has_remaining() {
            value.advance(1);
        }
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || String::from_utf8_lossy(value);
        match name {
            b"data" => {
                self.event.data.push_str(&text());
                self.event.data.push('\n');
                self.has_data = true;
            }
            // An empty type is the type `message`, as if there were none.
            b"event" => self.event.name = Some(text().into_owned()).filter(|name| !name.is_empty()),
            b"id" if !value.contains(&0) => self.event.id = Some(text().into_owned()),
            _ => return self.rest.extend_from_slice(with_end),
        }
        self.has_fields = true;
    }
}

/// Writes an event. Identifier and name have no line ends (`gateway_rules::messages::check_event`).
pub fn write(id: Option<&str>, name: Option<&str>, data: &str, to: &mut BytesMut) {
    let mut field = |name: &str, value: &str| {
        for part in [name, ": ", value, "\n"] {
            to.extend_from_slice(part.as_bytes());
        }
    };
    if let Some(id) = id {
        field("id", id);
    }
    if let Some(name) = name {
        field("event", name);
    }
    let mut rest = Some(data);
    while let Some(text) = rest {
        let (line, next) = match text.find(['\r', '\n']) {
            None => (text, None),
            Some(end) => {
                let ends = if text[end..].starts_with("\r\n") { 2 } else { 1 };
                (&text[..end], Some(&text[end + ends..]))
            }
        };
        field("data", line);
        rest = next;
    }
    to.extend_from_slice(b"\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events as text, and the bytes of everything in between.
    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut reader = EventReader::default();
        let mut parts = Vec::new();
        for piece in pieces {
            reader.push(piece);
            while let Some(part) = reader.next_part() {
                parts.push(match part {
                    Part::Other(bytes) => format!("other {:?}", String::from_utf8_lossy(&bytes)),
                    Part::Event(Event { id, name, data, .. }) => format!("{id:?} {name:?} {data:?}"),
                });
            }
        }
        parts
    }

    const STREAM: &[u8] = b"\xef\xbb\xbf: hello\nretry: 7\nid: 1\r\nevent:news\r\ndata: a\r\ndata:  b\r\n\r\ndata\rid\r\rid: 2\n\ndata:x\xff\n: c\n\n";

    #[test]
    fn events_are_those_of_the_specification_however_they_are_cut() {
        let expected = [r#"Some("1") Some("news") "a\n b""#, r#"Some("") None """#, "None None \"x\u{fffd}\""];
        let events = |parts: Vec<String>| -> Vec<String> {
            parts.into_iter().filter(|part| !part.starts_with("other")).collect()
        };
        assert_eq!(events(read(&[STREAM])), expected);
        for end in 1..STREAM.len() {
            assert_eq!(events(read(&[&STREAM[..end], &STREAM[end..]])), expected, "{end}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(events(read(&bytes)), expected);
    }

    #[test]
    fn no_byte_is_lost() {
        for size in 1..STREAM.len() {
            let mut reader = EventReader::default();
            let mut all = BytesMut::new();
            for piece in STREAM.chunks(size) {
                reader.push(piece);
                while let Some(part) = reader.next_part() {
                    match part {
                        Part::Other(bytes) => all.extend_from_slice(&bytes),
                        Part::Event(event) => all.extend_from_slice(&event.raw),
                    }
                }
            }
            assert_eq!(all, STREAM, "{size}");
        }
    }

    #[test]
    fn an_event_is_there_with_its_empty_line_and_a_comment_with_its_own() {
        assert_eq!(read(&[b"data: x\r\r"]), [r#"None None "x""#]);
        assert_eq!(read(&[b"data: x\n\n"]), [r#"None None "x""#]);
        assert_eq!(read(&[b": ping\n"]), [r#"other ": ping\n""#]);
        assert_eq!(read(&[b"data: x\n"]), [""; 0]);
        assert_eq!(read(&[b"id: 3\n\n"]), [r#"other "id: 3\n\n""#]);
        assert_eq!(read(&[b"data\n\n"]), [r#"None None """#]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (id, name, data) in
            [(None, None, "x"), (Some("1"), Some("n"), "a\nb"), (Some(""), None, ""), (None, None, " \n")]
        {
            let mut bytes = BytesMut::new();
            write(id, name, data, &mut bytes);
            let mut reader = EventReader::default();
            reader.push(&bytes);
            let Some(Part::Event(event)) = reader.next_part() else { panic!("{bytes:?}") };
            assert_eq!((event.id.as_deref(), event.name.as_deref(), &*event.data), (id, name, data));
        }
        let mut bytes = BytesMut::new();
        write(None, None, "a\r\nb\rc", &mut bytes);
        assert_eq!(bytes, "data: a\ndata: b\ndata: c\n\n");
    }
}
