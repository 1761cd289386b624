//! How values that others choose are written, so that none can end its field or its line, or talk to a terminal.

use std::{borrow::Cow, io::Write};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// As the inside of a JSON string. Besides what JSON asks for, this escapes DEL and C1 controls, which terminals
/// obey, and line separators and bidirectional controls, which make a line look like another.
pub fn json(value: &[u8], out: &mut Vec<u8>) {
    // Nearly every value is plain ASCII, and then no character need be decoded.
    if value.iter().all(|&octet| matches!(octet, b' '..=b'~') && octet != b'"' && octet != b'\\') {
        return out.extend_from_slice(value);
    }
    for chunk in value.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| !is_plain(*c)) {
            out.extend_from_slice(&rest.as_bytes()[..at]);
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                // All of them are below U+10000. Writing to memory does not fail.
                _ => drop(write!(out, "\\u{:04x}", u32::from(c))),
            }
            rest = &rest[at + c.len_utf8()..];
        }
        out.extend_from_slice(rest.as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn is_plain(c: char) -> bool {
    match c {
        '"' | '\\' => false,
        ' '..='~' => true,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => !c.is_control(),
    }
}

/// As web servers do in Common Log Format: `\"`, `\\`, and `\xHH` for every byte that is not printable ASCII.
/// Outside quotation marks (`quoted` false) a space would end the field, and is escaped too.
pub fn common(value: &[u8], quoted: bool, out: &mut Vec<u8>) {
    for &octet in value {
        match octet {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', octet]),
            b' ' if quoted => out.push(octet),
            b'!'..=b'~' => out.push(octet),
            _ => out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]),
        }
    }
}

/// At most `max` bytes of a value; not half a character of UTF-8, and with an ellipsis for what is missing.
pub fn cut(value: &[u8], max: usize) -> Cow<'_, [u8]> {
    if value.len() <= max {
        return Cow::Borrowed(value);
    }
    let mut end = max;
    while end > 0 && max - end < 3 && value[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    Cow::Owned([&value[..end], "…".as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::{common, cut, json};

    fn escaped(value: &[u8]) -> String {
        let mut out = Vec::new();
        json(value, &mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    fn in_common(value: &[u8], quoted: bool) -> String {
        let mut out = Vec::new();
        common(value, quoted, &mut out);
        String::from_utf8(out).expect("the format is ASCII")
    }

    #[test]
    fn quotation_marks_controls_and_what_terminals_obey_are_escaped_in_json() {
        assert_eq!(escaped(b"a\"b\\c\r\n\t\x1b[0m\x7f"), r#"a\"b\\c\u000d\u000a\u0009\u001b[0m\u007f"#);
        assert_eq!(escaped("\u{9b}1m \u{2028}\u{202e}\u{2066}".as_bytes()), r"\u009b1m \u2028\u202e\u2066");
        assert_eq!(escaped("grün 日本 😀".as_bytes()), "grün 日本 😀");
    }

    #[test]
    fn octets_that_are_not_text_are_replaced_in_json() {
        assert_eq!(escaped(b"a\xffb\xc3"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn only_printable_ascii_passes_in_common_log_format() {
        assert_eq!(in_common("a \"b\\ü\n\x7f".as_bytes(), true), r#"a \"b\\\xc3\xbc\x0a\x7f"#);
        assert_eq!(in_common(b"a b", false), r"a\x20b");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let value = "aüb".as_bytes();
        assert_eq!(cut(value, 4), value);
        assert_eq!(*cut(value, 2), *"a…".as_bytes());
        assert_eq!(cut(&[0x80; 9], 5).len(), 2 + "…".len());
    }
}
