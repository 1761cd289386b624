//! Tokens in one line, and what became of a request in another.

use crate::Jwt;
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use plugin_sdk::{
    Reply,
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest},
};
use serde_json::{Value, json};

/// The clock of a fresh [`TestHost`].
pub(crate) const NOW: i64 = 1_767_225_600;

pub(crate) const SECRET: &str = "a secret of no less than 32 bytes";

/// Accepts what [`token`] makes.
pub(crate) fn config() -> Value {
    json!({ "keys": [{ "secret": SECRET }] })
}

/// A configuration with further options.
pub(crate) fn config_with(options: Value) -> Value {
    let mut config = config();
    let Value::Object(options) = options else { panic!("options are an object") };
    config.as_object_mut().unwrap().extend(options);
    config
}

pub(crate) fn plugin(config: Value) -> (TestHost, TestPlugin<Jwt>) {
    let host = TestHost::new();
    let plugin = host.plugin(config).unwrap_or_else(|problems| panic!("{problems}"));
    (host, plugin)
}

/// Claims that are valid for another minute.
pub(crate) fn claims(more: Value) -> Value {
    let mut claims = json!({ "sub": "anna", "exp": NOW + 60 });
    let Value::Object(more) = more else { panic!("claims are an object") };
    claims.as_object_mut().unwrap().extend(more);
    claims
}

/// A token with these claims beside `sub` and `exp`, signed with [`SECRET`].
pub(crate) fn token(more: Value) -> String {
    signed(&json!({ "alg": "HS256", "typ": "JWT" }), &claims(more))
}

/// A token signed with [`SECRET`].
pub(crate) fn signed(header: &Value, claims: &Value) -> String {
    signed_text(&header.to_string(), &claims.to_string())
}

/// A token of whatever texts, signed with [`SECRET`].
pub(crate) fn signed_text(header: &str, claims: &str) -> String {
    sealed(&format!("{}.{}", encode(header), encode(claims)))
}

/// What is already encoded, signed with [`SECRET`].
pub(crate) fn sealed(message: &str) -> String {
    format!("{message}.{}", encode(mac(SECRET.as_bytes(), message)))
}

pub(crate) fn mac(key: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes()).as_ref().to_vec()
}

/// Base64url without padding.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    let standard = encode_padded(bytes.as_ref());
    standard.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn encode_padded(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let sextet = (bits >> (18 - 6 * i)) & 63;
            text.push(if i <= group.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    text
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let lines: Vec<_> =
        encode_padded(der).as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(crate) fn bearer(token: &str) -> TestRequest {
    TestRequest::get("/").header("authorization", format!("Bearer {token}"))
}

/// Asserts that the request goes on.
#[track_caller]
pub(crate) fn accepted(exchange: TestExchange) -> TestExchange {
    assert_eq!(exchange.reply(), None, "refused: {:?}", exchange.attribute("jwt.error"));
    exchange
}

/// Asserts that the request is turned away for this reason, as `jwt.error` has it.
#[track_caller]
pub(crate) fn refused(exchange: TestExchange, status: u16, reason: &str) -> Reply {
    assert_eq!(exchange.attribute("jwt.error"), Some(reason));
    let reply = exchange.reply().expect("refused").clone();
    assert_eq!(reply.status, status);
    assert_eq!(reply.header("content-type").as_deref(), Some("application/problem+json"));
    reply
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A key pair of any kind.
pub(crate) struct Signer {
    pub(crate) alg: &'static str,
    /// SubjectPublicKeyInfo.
    pub(crate) public: Vec<u8>,
    sign: Sign,
}

impl Signer {
    /// One for each algorithm with public keys.
    pub(crate) fn all() -> Vec<Self> {
        vec![
            Self::rsa("RS256", &signature::RSA_PKCS1_SHA256),
            Self::rsa("RS384", &signature::RSA_PKCS1_SHA384),
            Self::rsa("RS512", &signature::RSA_PKCS1_SHA512),
            Self::rsa("PS256", &signature::RSA_PSS_SHA256),
            Self::rsa("PS384", &signature::RSA_PSS_SHA384),
            Self::rsa("PS512", &signature::RSA_PSS_SHA512),
            Self::ec("ES256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Self::ec("ES384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Self::ec("ES512", &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            Self::ed25519(),
        ]
    }

    pub(crate) fn rsa(alg: &'static str, padding: &'static dyn signature::RsaEncoding) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = der(pair.public_key());
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        Self { alg, public, sign: Box::new(sign) }
    }

    pub(crate) fn ec(alg: &'static str, curve: &'static signature::EcdsaSigningAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(curve).unwrap();
        let public = der(pair.public_key());
        let sign = move |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        Self { alg, public, sign: Box::new(sign) }
    }

    pub(crate) fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = der(pair.public_key());
        Self { alg: "EdDSA", public, sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()) }
    }

    /// The same key, which calls its algorithm by another name.
    pub(crate) fn called(self, alg: &'static str) -> Self {
        Self { alg, ..self }
    }

    pub(crate) fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.public)
    }

    /// A token with this header beside `alg`.
    pub(crate) fn token(&self, header: Value) -> String {
        self.token_of(header, &claims(json!({})))
    }

    /// The same with other claims.
    pub(crate) fn token_of(&self, mut header: Value, claims: &Value) -> String {
        header["alg"] = self.alg.into();
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = (self.sign)(message.as_bytes());
        format!("{message}.{}", encode(signature))
    }
}

fn der(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().unwrap().as_ref().to_vec()
}
