//! Base64 as strict as JOSE wants it: one text for each sequence of bytes, so that nobody can write a token
//! that is known under another spelling.

const INVALID: u8 = 0xff;

/// RFC 4648 §5.
const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [INVALID; 256];
    let mut i = 0;
    while i < alphabet.len() {
        values[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    values
};

/// Decodes base64url without padding (RFC 7515 §2). White space, padding, other characters and bits that belong
/// to no byte (RFC 4648 §3.5) are refused.
pub fn decode_url(text: &[u8]) -> Option<Vec<u8>> {
    let (whole, rest) = text.as_chunks::<4>();
    // Filled in place and looked at once: a token is a few hundred characters, and all of its reading in the sandbox
    // costs about as much as checking its signature outside.
    let mut bytes = vec![0; whole.len() * 3];
    let mut worst = 0;
    for (group, three) in whole.iter().zip(bytes.as_chunks_mut::<3>().0) {
        let [a, b, c, d] = group.map(|character| VALUES[usize::from(character)]);
        worst |= a | b | c | d;
        *three = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
    }
    let value = |character: u8| VALUES[usize::from(character)];
    match *rest {
        [] => {}
        [a, b] => {
            let (a, b) = (value(a), value(b));
            worst |= a | b | spare(b, 4);
            bytes.push(a << 2 | b >> 4);
        }
        [a, b, c] => {
            let (a, b, c) = (value(a), value(b), value(c));
            worst |= a | b | c | spare(c, 2);
            bytes.extend([a << 2 | b >> 4, b << 4 | c >> 2]);
        }
        _ => return None,
    }
    // Only `INVALID` has these bits.
    (worst & 0xc0 == 0).then_some(bytes)
}

/// `INVALID` if any of the last bits of a value, which belong to no byte, is set.
fn spare(value: u8, bits: u32) -> u8 {
    if value & ((1 << bits) - 1) == 0 { 0 } else { INVALID }
}

/// Decodes the padded base64 of PEM (RFC 7468 §2), in which white space may be anywhere.
pub fn decode_pem(text: &str) -> Option<Vec<u8>> {
    let mut url: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if !url.len().is_multiple_of(4) {
        return None;
    }
    for _ in 0..2 {
        url.pop_if(|last| *last == b'=');
    }
    for character in &mut url {
        *character = match *character {
            b'+' => b'-',
            b'/' => b'_',
            b'-' | b'_' => return None,
            other => other,
        };
    }
    decode_url(&url)
}

/// Encodes as base64url without padding (RFC 7515 §2).
pub fn encode_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for i in 0..=group.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * i) & 63) as usize]));
        }
    }
    text
}

/// Encodes as base64 with padding (RFC 4648 §4).
pub fn encode(bytes: &[u8]) -> String {
    let mut text = encode_url(bytes).replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{decode_pem, decode_url, encode_url};

    #[test]
    fn the_examples_of_rfc_4648_decode() {
        let examples: [(&str, &[u8]); 7] = [
            ("", b""),
            ("Zg", b"f"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg", b"foob"),
            ("Zm9vYmE", b"fooba"),
            ("Zm9vYmFy", b"foobar"),
        ];
        for (text, bytes) in examples {
            assert_eq!(decode_url(text.as_bytes()).as_deref(), Some(bytes), "{text}");
            assert_eq!(encode_url(bytes), text);
        }
        assert_eq!(decode_url(b"-_-_"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn there_is_one_spelling_only() {
        for text in ["Z", "Zm9vY", "Zg==", "Zh", "Zm9", "Zm 8", "Zm8\n", "+/+/", "Zm8.", "Zm\u{e9}"] {
            assert_eq!(decode_url(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn pem_is_padded_and_may_be_broken_into_lines() {
        assert_eq!(decode_pem("Zm9v\r\nYg==\n").as_deref(), Some(&b"foob"[..]));
        assert_eq!(decode_pem("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
        for text in ["Zg", "Zg=", "Zg===", "-_-_", "Z===", "===="] {
            assert_eq!(decode_pem(text), None, "{text}");
        }
    }
}
