//! Signatures, with the keys that were used last kept in their parsed form.

use aws_lc_rs::hmac;

use super::{
    Algorithm, CryptoError, KeyError, MAX_KEY_BYTES, MAX_MESSAGE_BYTES, check, signing::PrivateKey,
    verifying::PublicKey,
};

/// A key as a plugin names it, with its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRef<'a> {
    /// The plugin has the bytes.
    Bytes(&'a [u8]),
    /// The bytes are those of a secret, which the plugin may be unable to read.
    Secret {
        /// The name of the secret.
        name: &'a str,
        /// Its value.
        value: &'a [u8],
    },
}

impl<'a> KeyRef<'a> {
    /// The bytes of the key.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) | Self::Secret { value: bytes, .. } => bytes,
        }
    }

    fn secret(self) -> Option<&'a str> {
        match self {
            Self::Bytes(_) => None,
            Self::Secret { name, .. } => Some(name),
        }
    }
}

/// Signs and verifies. It keeps the asymmetric keys that it used last, parsed: a plugin has few, and uses them for every request.
#[derive(Debug, Default)]
pub struct KeyCache(Vec<CachedKey>);

#[derive(Debug)]
struct CachedKey {
    algorithm: Algorithm,
    /// The name of the secret that it is from. Bytes that a plugin gives are only compared with bytes that it gave before: the time
    /// that the comparison takes would tell it something about a secret that it may not read.
    secret: Option<Box<str>>,
    bytes: Box<[u8]>,
    parsed: ParsedKey,
}

#[derive(Debug)]
enum ParsedKey {
    Public(PublicKey),
    Private(PrivateKey),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Verify,
    Sign,
}

impl KeyCache {
    /// Keys that are kept.
    pub const KEYS: usize = 8;

    /// Whether a signature is one of this key over this message. HMAC is compared in constant time.
    ///
    /// # Errors
    ///
    /// The key is not a secret or a public key of the algorithm's, or the message is too long.
    pub fn verify(
        &mut self,
        algorithm: Algorithm,
        key: KeyRef<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        check_inputs(key, message)?;
        if let Some(hmac) = algorithm.hmac() {
            return Ok(hmac::verify(&hmac::Key::new(hmac, key.bytes()), message, signature).is_ok());
        }
        match self.parsed(algorithm, key, Use::Verify)? {
            ParsedKey::Public(key) => Ok(key.verify(message, signature)),
            ParsedKey::Private(_) => Err(KeyError::NotPublic.into()),
        }
    }

    /// The signature of this key over this message.
    ///
    /// # Errors
    ///
    /// The key is not a secret or a private key of the algorithm's, or the message is too long.
    pub fn sign(&mut self, algorithm: Algorithm, key: KeyRef<'_>, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        check_inputs(key, message)?;
        if let Some(hmac) = algorithm.hmac() {
            return Ok(hmac::sign(&hmac::Key::new(hmac, key.bytes()), message).as_ref().to_vec());
        }
        match self.parsed(algorithm, key, Use::Sign)? {
            ParsedKey::Private(key) => key.sign(message),
            ParsedKey::Public(_) => Err(KeyError::NotPrivate.into()),
        }
    }

    fn parsed(&mut self, algorithm: Algorithm, key: KeyRef<'_>, purpose: Use) -> Result<&ParsedKey, KeyError> {
        let found = self.0.iter().position(|cached| cached.is(algorithm, key, purpose));
        match found {
            Some(index) => self.0[..=index].rotate_right(1),
            None => {
                let parsed = match purpose {
                    Use::Verify => ParsedKey::Public(PublicKey::parse(algorithm, key.bytes())?),
                    Use::Sign => ParsedKey::Private(PrivateKey::parse(algorithm, key.bytes())?),
                };
                self.0.truncate(Self::KEYS - 1);
                let (secret, bytes) = (key.secret().map(Box::from), Box::from(key.bytes()));
                self.0.insert(0, CachedKey { algorithm, secret, bytes, parsed });
            }
        }
        Ok(&self.0[0].parsed)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl CachedKey {
    fn is(&self, algorithm: Algorithm, key: KeyRef<'_>, purpose: Use) -> bool {
        let same_use = matches!(self.parsed, ParsedKey::Public(_)) == (purpose == Use::Verify);
        same_use && self.algorithm == algorithm && self.secret.as_deref() == key.secret() && *self.bytes == *key.bytes()
    }
}

fn check_inputs(key: KeyRef<'_>, message: &[u8]) -> Result<(), CryptoError> {
    if key.bytes().len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLarge.into());
    }
    check(message, MAX_MESSAGE_BYTES)
}
