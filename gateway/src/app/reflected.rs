//! Descriptors that services tell of themselves, with what was told last.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use crate::{
    config::model::{Dns, Upstream},
    upstream::reflection,
};

/// One for the process.
#[derive(Default)]
pub(super) struct Reflected(Mutex<HashMap<String, Bytes>>);

impl Reflected {
    /// What the upstream tells now; what it told last, if it cannot be asked: a reload is not for the worse because a service is
    /// away for the moment.
    pub(super) fn ask(&self, upstream: &Upstream, dns: &Dns) -> Result<Bytes, String> {
        let name = &*upstream.name;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reflection::descriptors(upstream, dns) {
            Ok(descriptors) => {
                known.insert(name.to_owned(), descriptors.clone());
                Ok(descriptors)
            }
            Err(why) => match known.get(name) {
                Some(last) => {
                    tracing::warn!(upstream = name, "its descriptors cannot be had, those from before stay: {why}");
                    Ok(last.clone())
                }
                None => Err(format!("upstream `{name}` does not tell its descriptors: {why}")),
            },
        }
    }
}
