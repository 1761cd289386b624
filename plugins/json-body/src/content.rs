//! Whether a body is one that can be edited. What cannot be edited must not pass for something that was.

/// What the fields of a message say about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// JSON in UTF-8, or of no stated type: then its reader may take it for JSON.
    Json,
    /// Something else.
    Other,
    /// It may be JSON to its reader, and cannot be read here.
    Unreadable(&'static str),
}

impl Content {
    /// From the values of `content-type` and of `content-encoding`.
    pub(crate) fn of(types: &[Vec<u8>], encodings: &[Vec<u8>]) -> Self {
        let codings = encodings.iter().flat_map(|line| line.split(|byte| *byte == b','));
        if codings.map(<[u8]>::trim_ascii).any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
        {
            return Self::Unreadable("it has a content encoding");
        }
        match types {
            [] => Self::Json,
            [one] => Self::of_type(one),
            _ => Self::Unreadable("it has more than one content type"),
        }
    }

    fn of_type(value: &[u8]) -> Self {
        let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        if essence.is_empty() {
            return Self::Json;
        }
        let is_token = |text: &[u8]| {
            !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
        };
        let mut names = essence.split(|byte| *byte == b'/');
        let (Some(kind), Some(subtype), None) = (names.next(), names.next(), names.next()) else {
            return Self::Unreadable("its content type is malformed");
        };
        if !is_token(kind) || !is_token(subtype) {
            return Self::Unreadable("its content type is malformed");
        }
        if !matches!(subtype, b"json" | b"x-json") && !subtype.ends_with(b"+json") {
            return Self::Other;
        }
        // RFC 8259 §8.1: it is UTF-8, and there is no such parameter; who heeds it all the same would read another text.
        let charset = parts.filter_map(|part| {
            let equals = part.iter().position(|byte| *byte == b'=')?;
            part[..equals].trim_ascii().eq_ignore_ascii_case(b"charset").then(|| part[equals + 1..].trim_ascii())
        });
        let is_utf8 = |charset: &[u8]| {
            let bare = charset.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(charset);
            [&b"utf-8"[..], b"utf8", b"us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(bare))
        };
        if charset.into_iter().all(is_utf8) { Self::Json } else { Self::Unreadable("its charset is not UTF-8") }
    }
}

/// The text without the mark that some writers put before it; readers may ignore that (RFC 8259 §8.1).
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// What a container and what each further value may take in memory, about, and what all of it may take: a plugin has 64 MiB
/// unless it is configured otherwise. To run out of memory would be a failure of the plugin that its client can bring about.
const CONTAINER: usize = 400;
const VALUE: usize = 200;
const MEMORY: usize = 56 * 1024 * 1024;

/// Whether a text of JSON takes more memory than there may be, such as a million empty lists.
pub(crate) fn is_too_large(body: &[u8]) -> bool {
    let mut cost = 3 * body.len();
    let mut rest = body.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'[' | b'{' => cost += CONTAINER,
            b',' => cost += VALUE,
            b'"' => {
                // To the end of the string.
                while let Some(byte) = rest.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => drop(rest.next()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    cost > MEMORY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(types: &[&str], encodings: &[&str]) -> Content {
        let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        Content::of(&bytes(types), &bytes(encodings))
    }

    #[test]
    fn json_is_known_by_all_its_names_and_where_no_type_is_said() {
        for text in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=\"UTF-8\";v=1",
            "text/json",
            "application/problem+json",
            "application/x-json",
            "",
            " ; charset=utf-8",
        ] {
            assert_eq!(of(&[text], &[]), Content::Json, "{text}");
        }
        assert_eq!(of(&[], &["identity", ""]), Content::Json);
        for text in ["text/plain", "application/jsonl", "application/x-ndjson", "multipart/byteranges; boundary=a"] {
            assert_eq!(of(&[text], &[]), Content::Other, "{text}");
        }
    }

    #[test]
    fn what_another_reader_may_understand_otherwise_is_unreadable() {
        let unreadable = |types: &[&str], encodings: &[&str]| matches!(of(types, encodings), Content::Unreadable(_));
        assert!(unreadable(&["application/json"], &["gzip"]));
        assert!(unreadable(&["text/plain"], &["identity, br"]));
        assert!(unreadable(&["text/plain", "application/json"], &[]));
        assert!(unreadable(&["application/json, text/plain"], &[]));
        assert!(unreadable(&["application/json; charset=utf-16"], &[]));
        assert!(unreadable(&["application/json; charset=utf-8; charset=utf-7"], &[]));
    }

    #[test]
    fn a_text_of_very_many_values_is_too_large_and_a_long_string_is_not() {
        let list = |item: &str, times: usize| format!("[{}0]", format!("{item},").repeat(times));
        assert!(is_too_large(list("[1]", 250_000).as_bytes()));
        assert!(!is_too_large(list("{\"key\":\"some value\"}", 25_000).as_bytes()));
        assert!(!is_too_large(format!("[\"{}\\\"\"]", "[,".repeat(500_000)).as_bytes()));
    }
}
