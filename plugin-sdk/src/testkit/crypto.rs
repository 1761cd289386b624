//! Signature checks as the gateway makes them.

use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
    },
};

use argon2::{Argon2, PasswordHash, PasswordVerifier};

use crate::crypto::{Algorithm, CryptoError, PasswordError};

/// What a SubjectPublicKeyInfo of P-521 begins with (RFC 5480 §2.1.1).
const P521: [u8; 21] = [
    0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x23,
];

pub(super) fn verify(algorithm: Algorithm, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    let asymmetric: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::Hs256 => return Ok(mac(hmac::HMAC_SHA256, key, message, signature)),
        Algorithm::Hs384 => return Ok(mac(hmac::HMAC_SHA384, key, message, signature)),
        Algorithm::Hs512 => return Ok(mac(hmac::HMAC_SHA512, key, message, signature)),
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 if key.starts_with(&P521) => &ECDSA_P521_SHA512_FIXED,
        Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDsa => &ED25519,
    };
    // Parsing tells a malformed key from a wrong signature.
    let key = ParsedPublicKey::new(asymmetric, key)
        .map_err(|_| CryptoError::MalformedKey(format!("not a SubjectPublicKeyInfo of a key for {algorithm}")))?;
    Ok(key.verify_sig(message, signature).is_ok())
}

/// What the hash costs is the test's affair.
pub(super) fn verify_password(hash: &str, password: &[u8]) -> Result<bool, PasswordError> {
    let malformed = || PasswordError::MalformedHash("neither argon2id (`$argon2id$…`) nor bcrypt (`$2b$…`)".to_owned());
    if hash.starts_with("$2") {
        return bcrypt::verify(password, hash).map_err(|_| malformed());
    }
    let parsed = PasswordHash::new(hash).ok().filter(|_| hash.starts_with("$argon2id$")).ok_or_else(malformed)?;
    Ok(Argon2::default().verify_password(password, &parsed).is_ok())
}

fn mac(algorithm: hmac::Algorithm, key: &[u8], message: &[u8], tag: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(algorithm, key), message, tag).is_ok()
}
