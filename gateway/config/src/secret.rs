//! The values of `secrets`: one way to read them, for what is checked and for what runs.

use std::{fs, io, path::Path};

use bytes::Bytes;
use gateway_core::model::SecretSource;

/// The value, or why it cannot be had.
pub fn read(source: &SecretSource) -> io::Result<Bytes> {
    match source {
        SecretSource::Env(variable) => std::env::var_os(variable)
            .map(|value| Bytes::from(value.into_encoded_bytes()))
            .ok_or_else(|| io::Error::other(format!("`{variable}` is not set"))),
        SecretSource::File(path) => whole(path).map(|bytes| without_line_end(bytes).into()),
    }
}

/// A file with its line ends.
pub fn whole(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

/// Editors end a file with a line end that is not part of the secret.
fn without_line_end(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_a_secret() {
        for (file, secret) in [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\nb\n\n", "a\nb\n"), ("", "")] {
            assert_eq!(without_line_end(file.into()), secret.as_bytes());
        }
    }
}
