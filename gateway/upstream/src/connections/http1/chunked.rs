//! Undoing the chunked transfer coding (RFC 9112 §7.1), strictly: what is read in two ways by two parties is how
//! responses get mixed up.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::{buffer::end_of_fields, fields};

/// The most bytes of one line that says a chunk's size.
const MAX_LINE: usize = 4096;
/// Maximum bytes of extensions in one body; they are ignored.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// The most bytes of a trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Chunked {
    stage: Stage,
    extensions: usize,
}

#[derive(Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// Nothing, until more is here.
    More,
}

impl Chunked {
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The next thing that can be made of what is here.
    pub(super) fn step(&mut self, bytes: &mut BytesMut) -> Result<Step, &'static str> {
        loop {
            match self.stage {
                Stage::Size => {
                    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(MAX_LINE)]) else {
                        return if bytes.len() < MAX_LINE {
                            Ok(Step::More)
                        } else {
                            Err("the size of a chunk is endless")
                        };
                    };
                    let size = self.size(&bytes[..end])?;
                    bytes.advance(end + 1);
                    self.stage = if size == 0 { Stage::Trailers } else { Stage::Data(size) };
                }
                Stage::Data(left) => {
                    if bytes.is_empty() {
                        return Ok(Step::More);
                    }
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let data = bytes.split_to(length).freeze();
                    let left = left - length as u64;
                    self.stage = if left > 0 { Stage::Data(left) } else { Stage::DataEnd };
                    // Most often the end is here as well; the reader need not poll again for it.
                    if left == 0 && bytes.starts_with(b"\r\n0\r\n\r\n") {
                        bytes.advance(7);
                        self.stage = Stage::Done;
                    }
                    return Ok(Step::Data(data));
                }
                Stage::DataEnd => match bytes[..] {
                    [b'\r', b'\n', ..] => {
                        bytes.advance(2);
                        self.stage = Stage::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::More),
                    _ => return Err("a chunk is longer than its size"),
                },
                Stage::Trailers => match bytes[..] {
                    [b'\r', b'\n', ..] => {
                        bytes.advance(2);
                        self.stage = Stage::Done;
                    }
                    [] | [b'\r'] => return Ok(Step::More),
                    _ => {
                        let Some(end) = end_of_fields(&bytes[..bytes.len().min(MAX_TRAILERS)], 0) else {
                            let endless = bytes.len() >= MAX_TRAILERS;
                            return if endless { Err("the trailers are endless") } else { Ok(Step::More) };
                        };
                        let trailers = bytes.split_to(end).freeze();
                        self.stage = Stage::Done;
                        return fields::trailers(&trailers).map(Step::Trailers);
                    }
                },
                Stage::Done => return Ok(Step::End),
            }
        }
    }

    /// From a line without its LF.
    fn size(&mut self, line: &[u8]) -> Result<u64, &'static str> {
        let line = line.strip_suffix(b"\r").ok_or("the size of a chunk ends without CR")?;
        let digits = line.iter().take_while(|octet| octet.is_ascii_hexdigit()).count();
        // Sixteen are 64 bits; more, were they zeros, are nothing that anyone writes.
        if !(1..=16).contains(&digits) {
            return Err("the size of a chunk is no number");
        }
        let (number, extensions) = line.split_at(digits);
        let is_extension = extensions.trim_ascii_start().first().is_none_or(|octet| *octet == b';');
        if !is_extension || extensions.contains(&b'\r') {
            return Err("the size of a chunk is no number");
        }
        self.extensions += extensions.len();
        if self.extensions > MAX_EXTENSIONS {
            return Err("too many extensions of chunks");
        }
        let digit = |octet: &u8| u64::from(char::from(*octet).to_digit(16).unwrap_or(0));
        Ok(number.iter().fold(0, |number, octet| number << 4 | digit(octet)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of a body that comes in parts: its data, its trailers, and what is left over.
    fn decode<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), &'static str> {
        let mut chunked = Chunked::default();
        let mut bytes = BytesMut::new();
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        let mut done = false;
        for part in parts {
            bytes.extend_from_slice(part);
            loop {
                match chunked.step(&mut bytes)? {
                    Step::Data(part) => data.extend_from_slice(&part),
                    Step::Trailers(fields) => trailers = fields,
                    Step::End => {
                        done = true;
                        break;
                    }
                    Step::More => break,
                }
            }
        }
        if done { Ok((data, trailers, bytes.to_vec())) } else { Err("more") }
    }

    #[test]
    fn it_makes_no_difference_where_a_body_is_cut() {
        let body =
            b"5\r\nhello\r\n6;a=b;c=\"d\"\r\n world\r\n0A \r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-more: 2\r\n\r\nrest";
        for cut in 0..=body.len() {
            let (data, trailers, rest) = decode([&body[..cut], &body[cut..]]).expect("a body");
            assert_eq!(data, b"hello world0123456789");
            assert_eq!(
                (trailers.len(), &trailers["x-sum"], &trailers["x-more"]),
                (2, &"1".parse().unwrap(), &"2".parse().unwrap())
            );
            assert_eq!(rest, b"rest");
        }
        let (data, trailers, _) = decode(body.chunks(1)).expect("a body");
        assert_eq!((data.len(), trailers.len()), (21, 2));
    }

    #[test]
    fn the_end_is_known_with_the_last_data() {
        let mut chunked = Chunked::default();
        let mut bytes = BytesMut::from(&b"2\r\nhi\r\n0\r\n\r\n"[..]);
        assert_eq!(chunked.step(&mut bytes), Ok(Step::Data("hi".into())));
        assert!(chunked.is_done() && bytes.is_empty());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for body in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"\r\nhello",
            b" 5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"5 5\r\nhello\r\n",
            b"5,\r\nhello\r\n",
            b"00000000000000005\r\nhello\r\n",
            b"10000000000000000\r\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\nx : 1\r\n\r\n",
        ] {
            let result = decode([body]);
            assert!(result.as_ref().is_err_and(|error| *error != "more"), "{} {result:?}", body.escape_ascii());
        }
    }

    #[test]
    fn what_is_endless_is_refused() {
        let line = [b"5;".to_vec(), vec![b'x'; MAX_LINE]].concat();
        let extensions = [b"1;".to_vec(), vec![b'x'; 1000], b"\r\na\r\n".to_vec()].concat().repeat(17);
        let trailers = [b"0\r\nx: ".to_vec(), vec![b'x'; MAX_TRAILERS]].concat();
        let many = [b"0\r\n".to_vec(), b"x:\r\n".repeat(4097), b"\r\n".to_vec()].concat();
        for body in [line, extensions, trailers, many] {
            let result = decode([&body[..]]);
            assert!(result.as_ref().is_err_and(|error| *error != "more"), "{result:?}");
        }
    }

    #[test]
    fn octets_at_random_are_decoded_the_same_however_they_are_cut() {
        let mut random = fastrand::Rng::with_seed(1);
        let alphabet = b"0123aF\r\n\r\n;= x:";
        for _ in 0..20_000 {
            let body: Vec<u8> = (0..random.usize(..40)).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            let whole = decode([&body[..]]);
            assert_eq!(whole, decode(body.chunks(1)), "{}", body.escape_ascii());
        }
    }
}
