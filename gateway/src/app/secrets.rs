//! Reading what plugins may ask for: once for each configuration, so that a reload reads it anew.

use std::{collections::BTreeMap, io, path::Path};

use bytes::Bytes;
use gateway_config::secret;
use gateway_core::model::SecretSource;
use gateway_wasm::services::Named;

pub(super) use gateway_config::secret::read;

/// All of them, or an error that names the one that cannot be had.
pub(super) fn read_all(secrets: &BTreeMap<String, SecretSource>) -> io::Result<Named> {
    let named = |name: &String, error| io::Error::other(format!("secret `{name}`: {error}"));
    secrets.iter().map(|(name, source)| Ok((name.clone(), read(source).map_err(|error| named(name, error))?))).collect()
}

pub(super) fn read_file(path: &Path) -> io::Result<Bytes> {
    secret::whole(path).map(Bytes::from)
}
