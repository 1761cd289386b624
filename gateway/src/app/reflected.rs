//! Descriptors that services tell of themselves, with what was told last.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use gateway_core::model::{Dns, Upstream};
use gateway_upstream::reflection::{self, ReflectionError};
use thiserror::Error;

/// What upstreams have told, by their names.
pub(super) type Told = HashMap<String, Bytes>;

/// An upstream tells no descriptors, and has told none before.
#[derive(Debug, Error)]
#[error("cannot fetch gRPC descriptors of upstream `{upstream}` by reflection: {source}")]
pub(super) struct NotReflected {
    upstream: Arc<str>,
    source: ReflectionError,
}

/// One for the process: the descriptors of the installed configuration.
#[derive(Default)]
pub(super) struct Reflected(Mutex<Told>);

impl Reflected {
    /// What the upstream tells now; what it told last, if it cannot be asked: a reload is not for the worse because a service is
    /// unavailable for the moment.
    pub(super) fn ask(&self, upstream: &Upstream, dns: &Dns) -> Result<Bytes, NotReflected> {
        let name = &*upstream.name;
        reflection::descriptors(upstream, dns).or_else(|why| match self.lock().get(name) {
            Some(last) => {
                tracing::warn!(
                    upstream = name,
                    "cannot fetch gRPC descriptors by reflection; the previous ones stay in use: {why}"
                );
                Ok(last.clone())
            }
            None => Err(NotReflected { upstream: upstream.name.clone(), source: why }),
        })
    }

    /// A configuration with these is installed. What one that was rejected has been told is forgotten: an upstream of the same
    /// name may have been another service there.
    pub(super) fn install(&self, told: Told) {
        *self.lock() = told;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
