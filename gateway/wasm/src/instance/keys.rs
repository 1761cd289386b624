//! Public keys, parsed.

use gateway_rules::crypto::{Algorithm, KeyError, PublicKey};

/// The public keys that an instance used last, parsed: a plugin has few, and uses them for every request.
#[derive(Default)]
pub(crate) struct KeyCache(Vec<CachedKey>);

struct CachedKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
    parsed: PublicKey,
}

impl KeyCache {
    const KEYS: usize = 8;

    /// The key, or what is wrong with it.
    pub(crate) fn parsed(&mut self, algorithm: Algorithm, bytes: Vec<u8>) -> Result<&PublicKey, KeyError> {
        let found = self.0.iter().position(|key| key.algorithm == algorithm && key.bytes == bytes);
        match found {
            Some(index) => self.0[..=index].rotate_right(1),
            None => {
                let parsed = PublicKey::parse(algorithm, &bytes)?;
                self.0.truncate(Self::KEYS - 1);
                self.0.insert(0, CachedKey { algorithm, bytes, parsed });
            }
        }
        Ok(&self.0[0].parsed)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer,
        signature::{Ed25519KeyPair, KeyPair},
    };

    use super::*;

    #[test]
    fn the_key_cache_is_bounded() {
        let mut keys = KeyCache::default();
        for _ in 0..20 {
            let key = Ed25519KeyPair::generate().unwrap();
            let der = key.public_key().as_der().unwrap().as_ref().to_vec();
            keys.parsed(Algorithm::EdDsa, der).unwrap();
        }
        assert_eq!(keys.0.len(), KeyCache::KEYS);
    }
}
