//! Making signatures with private keys.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
        RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};

use super::{Algorithm, CryptoError, KeyError, pem, verifying::RSA_BITS};

/// A signature with 4096 bits takes some milliseconds, one with 8192 tens of them, in which the worker does nothing else.
const MAX_RSA_BITS: usize = 4096;

/// A private key, parsed.
#[derive(Debug)]
pub(super) enum PrivateKey {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Takes PKCS#8 (RFC 5958) without encryption.
    pub(super) fn parse(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = &*pem::der(bytes, "PRIVATE KEY").ok_or(KeyError::NotPrivate)?;
        match algorithm {
            Algorithm::Rs256 => rsa(bytes, &RSA_PKCS1_SHA256),
            Algorithm::Rs384 => rsa(bytes, &RSA_PKCS1_SHA384),
            Algorithm::Rs512 => rsa(bytes, &RSA_PKCS1_SHA512),
            Algorithm::Ps256 => rsa(bytes, &RSA_PSS_SHA256),
            Algorithm::Ps384 => rsa(bytes, &RSA_PSS_SHA384),
            Algorithm::Ps512 => rsa(bytes, &RSA_PSS_SHA512),
            Algorithm::Es256 => ecdsa(bytes, &ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::Es384 => ecdsa(bytes, &ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::Es512 => ecdsa(bytes, &ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(bytes).map(Self::Ed25519).map_err(|_| KeyError::NotPrivate),
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => Err(KeyError::NotPrivate),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).map(|()| signature)
            }
            Self::Ecdsa(key) => key.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        };
        signature.map_err(|_| CryptoError::Failed("the key did not sign"))
    }
}

fn rsa(bytes: &[u8], encoding: &'static dyn RsaEncoding) -> Result<PrivateKey, KeyError> {
    let key = RsaKeyPair::from_pkcs8(bytes).map_err(|_| KeyError::NotPrivate)?;
    match key.public_modulus_len() * 8 {
        bits if bits < RSA_BITS => Err(KeyError::Weak { bits, least: RSA_BITS }),
        bits if bits > MAX_RSA_BITS => Err(KeyError::Slow { bits, most: MAX_RSA_BITS }),
        _ => Ok(PrivateKey::Rsa(key, encoding)),
    }
}

fn ecdsa(bytes: &[u8], algorithm: &'static EcdsaSigningAlgorithm) -> Result<PrivateKey, KeyError> {
    EcdsaKeyPair::from_pkcs8(algorithm, bytes).map(PrivateKey::Ecdsa).map_err(|_| KeyError::NotPrivate)
}
