//! As much of DER (X.690) as public keys need.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// What follows the algorithm's identifier tells the kinds of keys apart (RFC 8017 §A.1, RFC 5480 §2.1, RFC 8410 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RSA.
    Rsa,
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// P-521.
    P521,
    /// Ed25519.
    Ed25519,
}

const KINDS: [Kind; 5] = [Kind::Rsa, Kind::P256, Kind::P384, Kind::P521, Kind::Ed25519];

impl Kind {
    /// The content of the `AlgorithmIdentifier`.
    fn identifier(self) -> &'static [u8] {
        match self {
            Self::Rsa => &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00],
            Self::P256 => &[
                0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
                0x01, 0x07,
            ],
            Self::P384 => {
                &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]
            }
            Self::P521 => {
                &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]
            }
            Self::Ed25519 => &[0x06, 0x03, 0x2b, 0x65, 0x70],
        }
    }
}

/// SubjectPublicKeyInfo (RFC 5280 §4.1) of a key.
pub fn public_key_info(kind: Kind, key: &[u8]) -> Vec<u8> {
    let algorithm = element(SEQUENCE, kind.identifier());
    let bits = element(BIT_STRING, &[&[0], key].concat());
    element(SEQUENCE, &[algorithm, bits].concat())
}

/// The kind of a SubjectPublicKeyInfo and its key, `Ok(None)` for a kind that is not known.
pub fn read_public_key_info(der: &[u8]) -> Result<Option<(Kind, &[u8])>, Malformed> {
    let mut content = Reader::of_sequence(der)?;
    let algorithm = content.element(SEQUENCE)?;
    let [0, key @ ..] = content.element(BIT_STRING)? else { return Err(Malformed) };
    content.end()?;
    Ok(KINDS.into_iter().find(|kind| kind.identifier() == algorithm).map(|kind| (kind, key)))
}

/// RSAPublicKey (RFC 8017 §A.1.1) of a modulus and an exponent, as big-endian numbers.
pub fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[unsigned(modulus), unsigned(exponent)].concat())
}

/// Modulus and exponent of an RSAPublicKey, without leading zeros.
pub fn read_rsa_public_key(der: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut content = Reader::of_sequence(der)?;
    let numbers = (content.unsigned()?, content.unsigned()?);
    content.end()?;
    Ok(numbers)
}

/// A number without leading zeros.
pub fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Not DER, or not of the shape that was looked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    let length = content.len().to_be_bytes();
    let length = trimmed(&length);
    match length {
        [] => element.push(0),
        [short @ ..=0x7f] => element.push(*short),
        // No content comes near the 127 bytes of length for which this form has room.
        long => {
            element.push(0x80 | long.len() as u8);
            element.extend_from_slice(long);
        }
    }
    element.extend_from_slice(content);
    element
}

fn unsigned(number: &[u8]) -> Vec<u8> {
    let number = trimmed(number);
    // Integers are signed: a set high bit needs a zero before it, and so does zero itself.
    if number.first().is_none_or(|first| *first >= 0x80) {
        element(INTEGER, &[&[0], number].concat())
    } else {
        element(INTEGER, number)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Into the sequence that is all of the input.
    fn of_sequence(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut whole = Reader(der);
        let content = whole.element(SEQUENCE)?;
        whole.end()?;
        Ok(Reader(content))
    }

    fn element(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        let (&[found, first], rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        if found != tag {
            return Err(Malformed);
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // The shortest form is the only one, and longer keys than 64 KiB there are not.
            0x81 => match rest {
                [length @ 0x80..=0xff, rest @ ..] => (usize::from(*length), rest),
                _ => return Err(Malformed),
            },
            0x82 => match rest {
                [high @ 1..=0xff, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
                _ => return Err(Malformed),
            },
            _ => return Err(Malformed),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(content)
    }

    fn unsigned(&mut self) -> Result<&'a [u8], Malformed> {
        match self.element(INTEGER)? {
            [0, rest @ ..] if rest.first().is_none_or(|first| *first >= 0x80) => Ok(rest),
            [0x80..=0xff, ..] | [0, ..] | [] => Err(Malformed),
            number => Ok(number),
        }
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Malformed, element, public_key_info, read_public_key_info, read_rsa_public_key, rsa_public_key};

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 1, 127, 128, 255, 256, 257, 1024] {
            let modulus: Vec<u8> = (0..length).map(|i| (i % 255) as u8 | 0x80).collect();
            let rsa = rsa_public_key(&modulus, &[0, 1, 0, 1]);
            assert_eq!(read_rsa_public_key(&rsa), Ok((&modulus[..], &[1, 0, 1][..])));
            let info = public_key_info(Kind::Rsa, &rsa);
            assert_eq!(read_public_key_info(&info), Ok(Some((Kind::Rsa, &rsa[..]))));
        }
    }

    #[test]
    fn an_unknown_kind_is_told_from_a_malformed_key() {
        let x25519 = [&[0x30, 0x0a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x01, 0x00][..]].concat();
        assert_eq!(read_public_key_info(&x25519), Ok(None));
        assert_eq!(read_public_key_info(&x25519[..11]), Err(Malformed));
        assert_eq!(read_public_key_info(&[&x25519[..], &[0]].concat()), Err(Malformed));
        assert_eq!(read_public_key_info(&[]), Err(Malformed));
    }

    #[test]
    fn lengths_and_numbers_have_one_form() {
        assert_eq!(element(4, &[7; 3]), [4, 3, 7, 7, 7]);
        assert_eq!(element(4, &[7; 200])[..3], [4, 0x81, 200]);
        assert_eq!(element(4, &[7; 300])[..4], [4, 0x82, 1, 44]);
        for malformed in [
            &[0x30, 0x81, 0x06, 2, 1, 5, 2, 1, 3][..],
            &[0x30, 0x80, 2, 1, 5, 2, 1, 3, 0, 0],
            &[0x30, 0x07, 2, 2, 0, 5, 2, 1, 3],
            &[0x30, 0x06, 2, 1, 0x85, 2, 1, 3],
            &[0x30, 0x05, 2, 0, 2, 1, 3],
        ] {
            assert_eq!(read_rsa_public_key(malformed), Err(Malformed), "{malformed:x?}");
        }
        assert_eq!(read_rsa_public_key(&[0x30, 0x06, 2, 1, 5, 2, 1, 3]), Ok((&[5][..], &[3][..])));
    }
}
