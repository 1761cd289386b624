//! Canonical encodings of values whose identity is compared: between calls, between configurations, and between gateways.
//!
//! A derived `Debug` text is no identity. It changes with a renamed field, a new field or another version of the compiler, and then
//! gateways of different versions no longer agree on a key that they share. An encoding names its format and version, and writes
//! every field with its length:
//!
//! - tag, then the fields in a fixed order, each as length (8 bytes, big-endian) and bytes;
//! - a number as 8 bytes, big-endian;
//! - a list as the number of its items, then each item;
//! - an optional value as a list of none or one item.
//!
//! So no field runs into the next one, and values of different formats never have the same encoding. **A change of the fields of an
//! encoding or of their order needs a new version in its tag.** Bytes that leave the process are hashed with SHA-256 first.

/// Takes the bytes of an encoding: a hash, or a buffer.
pub type Sink<'a> = dyn FnMut(&[u8]) + 'a;

/// Writes the fields of one value.
pub struct Encoder<'a, 'b>(&'a mut Sink<'b>);

impl<'a, 'b> Encoder<'a, 'b> {
    /// Begins an encoding. The tag is the format with its version, such as `upstream/1`.
    pub fn new(tag: &str, sink: &'a mut Sink<'b>) -> Self {
        let mut encoder = Self(sink);
        encoder.text(tag);
        encoder
    }

    /// A field of bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        (self.0)(&(bytes.len() as u64).to_be_bytes());
        (self.0)(bytes);
        self
    }

    /// A field of text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// A number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.bytes(&number.to_be_bytes())
    }

    /// True or false.
    pub fn flag(&mut self, flag: bool) -> &mut Self {
        self.number(flag.into())
    }

    /// A list; `each` writes one item.
    pub fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.number(items.len() as u64);
        for item in items {
            each(self, item);
        }
        self
    }

    /// A value that may be missing; `write` writes it.
    pub fn optional<T>(&mut self, value: Option<T>, write: impl FnMut(&mut Self, T)) -> &mut Self {
        self.list(value.into_iter(), write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(write: impl FnOnce(&mut Encoder<'_, '_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut sink = |part: &[u8]| bytes.extend_from_slice(part);
        write(&mut Encoder::new("t/1", &mut sink));
        bytes
    }

    #[test]
    fn every_field_is_written_with_its_length() {
        let expected = b"\0\0\0\0\0\0\0\x03t/1\
            \0\0\0\0\0\0\0\x02ab\
            \0\0\0\0\0\0\0\x08\0\0\0\0\0\0\x01\x02\
            \0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x01\
            \0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0";
        let bytes = encoded(|to| {
            to.text("ab").number(258).flag(true).optional(None::<u64>, |to, number| {
                to.number(number);
            });
        });
        assert_eq!(bytes, expected);
    }

    #[test]
    fn fields_and_lists_do_not_run_into_each_other() {
        let list = |to: &mut Encoder<'_, '_>, items: &[&str]| {
            to.list(items.iter(), |to, item| {
                to.text(item);
            });
        };
        let different = [
            encoded(|to| _ = to.text("ab").text("c")),
            encoded(|to| _ = to.text("a").text("bc")),
            encoded(|to| _ = to.text("abc")),
            encoded(|to| _ = to.text("abc").text("")),
            encoded(|to| {
                list(to, &["a"]);
                list(to, &["b", "c"]);
            }),
            encoded(|to| {
                list(to, &["a", "b"]);
                list(to, &["c"]);
            }),
            encoded(|to| {
                list(to, &[]);
                list(to, &["a", "b", "c"]);
            }),
        ];
        for (i, one) in different.iter().enumerate() {
            assert!(different[..i].iter().all(|other| other != one), "{i}");
        }
    }
}
