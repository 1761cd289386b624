//! JSON Web Tokens, signed here.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
        RsaEncoding, RsaKeyPair,
    },
};
use serde_json::{Value, json};

/// Something that signs tokens.
pub enum Key {
    Secret(String),
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P521(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    pub fn secret(text: &str) -> Self {
        Self::Secret(text.to_owned())
    }

    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    pub fn p521() -> Self {
        Self::P521(EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).expect("a key"))
    }

    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().expect("a key"))
    }

    pub fn alg(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::P521(_) => "ES512",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// A token with the claims, and the header that goes with the key.
    pub fn token(&self, kid: &str, claims: &Value) -> String {
        self.signed(&json!({ "alg": self.alg(), "typ": "JWT", "kid": kid }), claims)
    }

    /// A token with any header, signed in this key's way whatever the header says.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        self.signed_text(header, &claims.to_string())
    }

    /// The same with claims as they are written.
    pub fn signed_text(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header.to_string()), base64url(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", base64url(signature))
    }

    /// A token of an RSA key in any of the ways that RSA has.
    pub fn rsa_token(&self, alg: &str, claims: &Value) -> String {
        let Self::Rsa(key) = self else { panic!("no RSA key") };
        let encoding: &'static dyn RsaEncoding = match alg {
            "RS256" => &RSA_PKCS1_SHA256,
            "RS384" => &RSA_PKCS1_SHA384,
            "RS512" => &RSA_PKCS1_SHA512,
            "PS256" => &RSA_PSS_SHA256,
            "PS384" => &RSA_PSS_SHA384,
            "PS512" => &RSA_PSS_SHA512,
            _ => panic!("{alg} is not of RSA"),
        };
        let message = format!("{}.{}", base64url(json!({ "alg": alg }).to_string()), base64url(claims.to_string()));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("a signature");
        format!("{message}.{}", base64url(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(text) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
            Self::P256(key) | Self::P521(key) => key.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// An entry of the `jwt` plugin's `keys`.
    pub fn config(&self, kid: &str) -> Value {
        match self {
            Self::Secret(text) => json!({ "kid": kid, "secret": text }),
            _ => json!({ "kid": kid, "public-key": self.public_pem() }),
        }
    }

    pub fn public_pem(&self) -> String {
        let spki = match self {
            Self::Secret(_) => panic!("a secret is not public"),
            Self::Rsa(key) => key.public_key().as_der().expect("DER").as_ref().to_vec(),
            Self::P256(key) | Self::P521(key) => key.public_key().as_der().expect("DER").as_ref().to_vec(),
            Self::Ed25519(key) => key.public_key().as_der().expect("DER").as_ref().to_vec(),
        };
        let text: Vec<char> = base64(&spki, STANDARD).chars().collect();
        let lines: Vec<String> = text.chunks(64).map(|line| line.iter().collect()).collect();
        let padding = "=".repeat((3 - spki.len() % 3) % 3);
        format!("-----BEGIN PUBLIC KEY-----\n{}{padding}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// The public half as a JSON Web Key (RFC 7517, RFC 8037); of a secret, the whole.
    pub fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Secret(text) => json!({ "kty": "oct", "kid": kid, "alg": "HS256", "k": base64url(text) }),
            Self::Rsa(key) => {
                let n = base64url(key.public_key().modulus().big_endian_without_leading_zero());
                let e = base64url(key.public_key().exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": n, "e": e })
            }
            Self::P256(key) => {
                // Uncompressed: a byte 4, then both coordinates (SEC 1 §2.3.3).
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                json!({ "kty": "EC", "kid": kid, "crv": "P-256", "x": base64url(x), "y": base64url(y) })
            }
            Self::P521(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(66);
                json!({ "kty": "EC", "kid": kid, "crv": "P-521", "x": base64url(x), "y": base64url(y) })
            }
            Self::Ed25519(key) => {
                json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519", "x": base64url(key.public_key()) })
            }
        }
    }
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Without padding (RFC 7515 §2).
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    base64(bytes.as_ref(), URL)
}

fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = u32::from_be_bytes([0, chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)]);
        for digit in 0..=chunk.len() {
            text.push(char::from(alphabet[(group >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}
