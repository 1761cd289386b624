//! Keys that an identity provider publishes, as the gateway has fetched them.
//!
//! The gateway fetches, keeps and renews the set for all instances. An instance asks it for another one when it looks
//! around, now and then, and when a token names a key that it does not know.

use std::time::Duration;

use plugin_sdk::{
    crypto::CryptoError,
    documents::{self, Document, DocumentError, Source},
    warn,
};

use crate::{
    key::{Keys, Verdict},
    token::Token,
};

/// Why nothing can be said about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteError {
    /// There are no keys; worth another try after this time.
    Unavailable(Duration),
    /// The gateway refuses the source.
    Document(DocumentError),
    /// A key that was usable when it was read is not.
    Crypto(CryptoError),
}

impl From<CryptoError> for RemoteError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}

/// A key set of a provider.
pub struct RemoteKeys {
    source: Source,
    keys: Keys,
    /// Of the set that was read last; 0 for none.
    version: u64,
}

impl RemoteKeys {
    /// The set of this source, which is fetched when a token needs it.
    pub fn new(source: Source) -> Self {
        Self { source, keys: Keys::default(), version: 0 }
    }

    /// Where the set is.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Fetches the keys, unless they are known.
    ///
    /// # Errors
    ///
    /// See [`RemoteError`].
    pub fn fetch(&mut self) -> Result<(), RemoteError> {
        if self.keys.is_empty() {
            // A set without a key that can be used is not waited out until it is old.
            self.look(self.version != 0)?;
        }
        if self.keys.is_empty() {
            return Err(RemoteError::Unavailable(self.retry_after()));
        }
        Ok(())
    }

    /// Whether one of the provider's keys has signed the token.
    ///
    /// # Errors
    ///
    /// See [`RemoteError`].
    pub fn verify(&mut self, token: &Token<'_>) -> Result<Verdict, RemoteError> {
        self.fetch()?;
        let verdict = self.keys.verify(token)?;
        if verdict == Verdict::NoKey && self.look(true)? {
            return Ok(self.keys.verify(token)?);
        }
        Ok(verdict)
    }

    /// Takes over another set if there is one. Returns whether the keys have changed.
    pub fn look_around(&mut self) -> bool {
        // A failure is reported to the request that needs a key.
        self.version != 0 && self.look(false).unwrap_or(self.version == 0)
    }

    fn look(&mut self, force_refresh: bool) -> Result<bool, RemoteError> {
        match documents::get(&self.source, self.version, force_refresh) {
            Ok(None) => Ok(false),
            Ok(Some(document)) => Ok(self.take(&document)),
            Err(DocumentError::Unavailable(_)) => {
                (self.keys, self.version) = (Keys::default(), 0);
                Err(RemoteError::Unavailable(self.retry_after()))
            }
            Err(error) => Err(RemoteError::Document(error)),
        }
    }

    fn take(&mut self, document: &Document) -> bool {
        self.version = document.version;
        match Keys::published(&document.bytes) {
            Some(keys) => self.keys = keys,
            None => {
                let Source { upstream, path_with_query: path, .. } = &self.source;
                warn!("the key set has no key for verifying signatures; the keys before it stay"; upstream = upstream, path = path);
                return false;
            }
        }
        true
    }

    fn retry_after(&self) -> Duration {
        self.source.retry.max(Duration::from_secs(1))
    }
}
