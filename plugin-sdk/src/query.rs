//! Queries, as `application/x-www-form-urlencoded` writes them: that is what they are by custom.

use std::borrow::Cow;

/// Names and values of a query, still encoded, in order; a parameter without `=` has an empty value.
///
/// ```
/// let pairs: Vec<_> = plugin_sdk::query::pairs("a=1&b&c=%20").collect();
/// assert_eq!(pairs, [("a", "1"), ("b", ""), ("c", "%20")]);
/// ```
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decodes percent-encoding and reads `+` as a space. A percent sign without two hexadecimal digits stays, and
/// octets that are not UTF-8 in the end are replaced by U+FFFD.
pub fn decode(encoded: &str) -> Cow<'_, str> {
    if !encoded.contains(['%', '+']) {
        return Cow::Borrowed(encoded);
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octet = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        rest = if octet.is_some() { &tail[2..] } else { tail };
        bytes.push(octet.unwrap_or(if first == b'+' { b' ' } else { first }));
    }
    Cow::Owned(crate::request::text(bytes))
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3), which is right for names and values.
pub fn encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            let digits = [octet >> 4, octet & 15].map(|nibble| char::from(HEX[usize::from(nibble)]));
            out.extend(['%'].into_iter().chain(digits));
        }
    }
    out
}

/// Names and values as a query or as the body of a form.
///
/// ```
/// assert_eq!(plugin_sdk::query::form([("a", "1 2"), ("b", "&")]), "a=1%202&b=%26");
/// ```
pub fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.into_iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn a_percent_sign_without_two_digits_stays_as_it_is() {
        assert_eq!(decode("%41+b%4"), "A b%4");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%20"), "%zz ");
    }

    #[test]
    fn octets_that_are_not_text_are_replaced() {
        assert_eq!(decode("%ff"), "\u{fffd}");
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        assert_eq!(encode("a&b=ü /%"), "a%26b%3D%C3%BC%20%2F%25");
        assert_eq!(decode(&encode("a&b=ü /%")), "a&b=ü /%");
    }
}
