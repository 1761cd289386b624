//! Reading what plugins may ask for: once for each configuration, so that a reload reads it anew.

use std::{collections::BTreeMap, fs, io, path::Path};

use bytes::Bytes;

use crate::{config::model::SecretSource, plugin::services::Named};

/// All of them, or an error that names the one that cannot be had.
pub(super) fn read_all(secrets: &BTreeMap<String, SecretSource>) -> io::Result<Named> {
    let named = |name: &String, error| io::Error::other(format!("secret `{name}`: {error}"));
    secrets.iter().map(|(name, source)| Ok((name.clone(), read(source).map_err(|error| named(name, error))?))).collect()
}

pub(super) fn read(source: &SecretSource) -> io::Result<Bytes> {
    match source {
        SecretSource::Env(variable) => std::env::var_os(variable)
            .map(|value| Bytes::from(value.into_encoded_bytes()))
            .ok_or_else(|| io::Error::other(format!("`{variable}` is not set"))),
        SecretSource::File(path) => whole(path).map(|bytes| without_line_end(bytes).into()),
    }
}

pub(super) fn read_file(path: &Path) -> io::Result<Bytes> {
    whole(path).map(Bytes::from)
}

fn whole(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

/// Editors end a file with a line end that nobody means.
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
