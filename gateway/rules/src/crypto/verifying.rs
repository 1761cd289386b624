//! Verifying signatures.

use aws_lc_rs::{
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
    },
};

use super::{Algorithm, KeyError, pem};

pub(super) const RSA_BITS: usize = 2048;
/// `SubjectPublicKeyInfo` around the 32 bytes of an Ed25519 key (RFC 8410 §4).
const ED25519_SPKI_BYTES: usize = 44;

/// A public key, parsed.
#[derive(Debug)]
pub(super) struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// Takes `SubjectPublicKeyInfo` only: the library would also take bare keys, and then a key for one purpose
    /// might pass as one for another.
    pub(super) fn parse(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = &*pem::der(bytes, "PUBLIC KEY").ok_or(KeyError::NotPublic)?;
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
            Algorithm::Es512 => &ECDSA_P521_SHA512_FIXED,
            Algorithm::EdDsa => &ED25519,
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return Err(KeyError::NotPublic),
        };
        match algorithm {
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 if bytes.first() != Some(&0x30) => {
                return Err(KeyError::NotPublic);
            }
            Algorithm::EdDsa if bytes.len() != ED25519_SPKI_BYTES => return Err(KeyError::NotPublic),
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => {}
            _ => {
                let bits = rsa::PublicEncryptingKey::from_der(bytes).map_err(|_| KeyError::NotPublic)?.key_size_bits();
                if bits < RSA_BITS {
                    return Err(KeyError::Weak { bits, least: RSA_BITS });
                }
            }
        }
        ParsedPublicKey::new(verification, bytes).map(Self).map_err(|_| KeyError::NotPublic)
    }

    /// Whether a signature is one of this key over this message.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}
