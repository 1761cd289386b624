//! Keys that an identity provider publishes, as the gateway has fetched them.
//!
//! The gateway fetches, keeps and renews the set for all instances. An instance asks it for another one when it looks
//! around, now and then, and when a token names a key that it does not know.

use plugin_sdk::{
    Pointer, Problems, Span,
    documents::{self, Document, DocumentError, Source},
    warn,
};

use crate::{
    Stop,
    config::RemoteConfig,
    key::{Keys, Verdict},
    refusal::Refusal,
    token::Token,
};

/// A key set of a provider.
pub(crate) struct RemoteKeys {
    source: Source,
    keys: Keys,
    /// Of the set that was read last; 0 for none.
    version: u64,
}

impl RemoteKeys {
    pub(crate) fn read(config: RemoteConfig, at: &Pointer, problems: &mut Problems) -> Option<Self> {
        let RemoteConfig { upstream, path, refresh, retry, max_stale, timeout } = config;
        let before = problems.iter().count();
        let mut range = |name: &str, span: Span, least: &str, most: &str, fits: bool| {
            if !fits {
                problems.add(at.then(name), format!("must be from {least} to {most}, is {span}"));
            }
        };
        let seconds = |span: Span, range: std::ops::RangeInclusive<u64>| range.contains(&span.seconds());
        range("refresh", refresh, "10s", "1d", seconds(refresh, 10..=86_400));
        range("retry", retry, "1s", "1h", seconds(retry, 1..=3600));
        range("max-stale", max_stale, "10s", "30d", seconds(max_stale, 10..=30 * 86_400));
        range("timeout", timeout, "1ms", "60s", !timeout.0.is_zero() && timeout.seconds() <= 60);
        if max_stale < refresh {
            problems.add(at.then("max-stale"), "must not be less than `refresh`: there would be no keys in between");
        }
        let source = Source {
            upstream,
            path_with_query: path,
            refresh: refresh.0,
            retry: retry.0,
            max_stale: max_stale.0,
            timeout: timeout.0,
        };
        match documents::get(&source, 0, false) {
            Err(DocumentError::Denied(_)) => {
                let name = &source.upstream;
                let cure =
                    format!("needs an upstream `{name}`, and `grants: {{ upstreams: [{name}] }}` for the plugin");
                problems.add(at.then("upstream"), cure);
            }
            Err(DocumentError::Invalid(why)) => problems.add(at.then("path"), why),
            // Nothing is fetched yet.
            _ => {}
        }
        (before == problems.iter().count()).then(|| Self { source, keys: Keys::default(), version: 0 })
    }

    /// Whether one of the provider's keys has signed the token.
    pub(crate) fn verify(&mut self, token: &Token<'_>) -> Result<Verdict, Stop> {
        if self.keys.is_empty() {
            // A set without a key that can be used is not waited out until it is old.
            self.look(self.version != 0)?;
        }
        if self.keys.is_empty() {
            return Err(Refusal::NoKeys(self.retry_after()).into());
        }
        let verdict = self.keys.verify(token)?;
        if verdict == Verdict::NoKey && self.look(true)? {
            return Ok(self.keys.verify(token)?);
        }
        Ok(verdict)
    }

    /// Takes over another set if there is one. Returns whether the keys have changed.
    pub(crate) fn look_around(&mut self) -> bool {
        // A failure is reported to the request that needs a key.
        self.version != 0 && self.look(false).unwrap_or(self.version == 0)
    }

    fn look(&mut self, force_refresh: bool) -> Result<bool, Stop> {
        match documents::get(&self.source, self.version, force_refresh) {
            Ok(None) => Ok(false),
            Ok(Some(document)) => Ok(self.take(&document)),
            Err(DocumentError::Unavailable(_)) => {
                (self.keys, self.version) = (Keys::default(), 0);
                Err(Refusal::NoKeys(self.retry_after()).into())
            }
            Err(error) => Err(Stop::Failed(error.into())),
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

    fn retry_after(&self) -> u64 {
        self.source.retry.as_secs().max(1)
    }
}
