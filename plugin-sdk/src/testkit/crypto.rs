//! Signature checks and passwords, as the gateway makes them.

use gateway_rules::crypto::{self, PublicKey, check_password_hash, verify_hmac};

use crate::crypto::{Algorithm, CryptoError, PasswordError};

pub(super) fn verify(algorithm: Algorithm, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    let algorithm = match algorithm {
        Algorithm::Hs256 => crypto::Algorithm::Hs256,
        Algorithm::Hs384 => crypto::Algorithm::Hs384,
        Algorithm::Hs512 => crypto::Algorithm::Hs512,
        Algorithm::Rs256 => crypto::Algorithm::Rs256,
        Algorithm::Rs384 => crypto::Algorithm::Rs384,
        Algorithm::Rs512 => crypto::Algorithm::Rs512,
        Algorithm::Ps256 => crypto::Algorithm::Ps256,
        Algorithm::Ps384 => crypto::Algorithm::Ps384,
        Algorithm::Ps512 => crypto::Algorithm::Ps512,
        Algorithm::Es256 => crypto::Algorithm::Es256,
        Algorithm::Es384 => crypto::Algorithm::Es384,
        Algorithm::EdDsa => crypto::Algorithm::EdDsa,
    };
    if let Some(verified) = verify_hmac(algorithm, key, message, signature) {
        return Ok(verified);
    }
    let key = PublicKey::parse(algorithm, key).map_err(|error| CryptoError::MalformedKey(error.to_string()))?;
    Ok(key.verify(message, signature))
}

pub(super) fn verify_password(hash: &str, password: &[u8]) -> Result<bool, PasswordError> {
    check_password_hash(hash).map_err(|error| PasswordError::MalformedHash(error.to_string()))?;
    Ok(crypto::verify_password(hash, password))
}
