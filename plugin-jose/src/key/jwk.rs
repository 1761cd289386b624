//! JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use serde_json::{Map, Value};

use super::{der::Kind, material::Material};
use crate::{algorithm::Algorithm, base64};

/// A key with what it says about itself.
pub struct Jwk {
    /// `kid`.
    pub kid: Option<String>,
    /// `alg`.
    pub algorithm: Option<Algorithm>,
    /// The key itself.
    pub material: Material,
}

impl Jwk {
    /// A key that says nothing about itself.
    pub fn new(material: Material) -> Self {
        Self { kid: None, algorithm: None, material }
    }
}

/// What is wrong with a key, and with which member.
pub struct JwkError {
    /// Empty for the whole key.
    pub member: &'static str,
    /// For the operator.
    pub message: String,
    /// The key may be a good one, but for another purpose than verifying tokens here. RFC 7517 §5 has
    /// those ignored in a set.
    pub foreign: bool,
}

type Read<T> = Result<T, JwkError>;

/// Reads a key.
///
/// # Errors
///
/// See [`JwkError`].
pub fn read(jwk: &Map<String, Value>) -> Read<Jwk> {
    let kty = required(jwk, "kty")?;
    if !matches!(kty, "RSA" | "EC" | "OKP" | "oct") {
        return Err(foreign("kty", "is not known, needs RSA, EC, OKP or oct"));
    }
    if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(foreign("use", "is not `sig`: the key is not for signatures"));
    }
    if let Some(operations) = jwk.get("key_ops") {
        let operations = operations.as_array().ok_or_else(|| wrong("key_ops", "must be a list"))?;
        if !operations.iter().any(|operation| operation == "verify") {
            return Err(foreign("key_ops", "has no `verify`: the key is not for verifying"));
        }
    }
    let algorithm = match text(jwk, "alg")? {
        Some(name) => Some(name.parse().map_err(|_| foreign("alg", "is no known signature algorithm"))?),
        None => None,
    };
    if kty != "oct" && jwk.contains_key("d") {
        return Err(wrong("d", "belongs to a private key, which must not be here: leave the public members only"));
    }
    let material = match kty {
        "RSA" => Material::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?).map_err(|message| wrong("n", message))?,
        "oct" => Material::secret(bytes(jwk, "k")?),
        "EC" => point(jwk)?,
        _ => edwards(jwk)?,
    };
    Ok(Jwk { kid: text(jwk, "kid")?.map(str::to_owned), algorithm, material })
}

fn point(jwk: &Map<String, Value>) -> Read<Material> {
    let (kind, length) = match required(jwk, "crv")? {
        "P-256" => (Kind::P256, 32),
        "P-384" => (Kind::P384, 48),
        "P-521" => (Kind::P521, 66),
        _ => return Err(foreign("crv", "is not supported, needs P-256, P-384 or P-521")),
    };
    let mut point = vec![4];
    for member in ["x", "y"] {
        let coordinate = bytes(jwk, member)?;
        // RFC 7518 §6.2.1.2: the full size of a coordinate, leading zeros included.
        if coordinate.len() != length {
            return Err(wrong(member, format!("is {} bytes long, the curve needs {length}", coordinate.len())));
        }
        point.extend(coordinate);
    }
    Material::curve(kind, &point).map_err(|message| wrong("x", message))
}

fn edwards(jwk: &Map<String, Value>) -> Read<Material> {
    if required(jwk, "crv")? != "Ed25519" {
        return Err(foreign("crv", "is not supported, needs Ed25519"));
    }
    Material::curve(Kind::Ed25519, &bytes(jwk, "x")?).map_err(|message| wrong("x", message))
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Read<Option<&'a str>> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(member, "must be a string")),
    }
}

fn required<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Read<&'a str> {
    text(jwk, member)?.ok_or_else(|| wrong("", format!("needs the member `{member}`")))
}

fn bytes(jwk: &Map<String, Value>, member: &'static str) -> Read<Vec<u8>> {
    base64::decode_url(required(jwk, member)?.as_bytes())
        .ok_or_else(|| wrong(member, "is not base64url without padding"))
}

fn wrong(member: &'static str, message: impl Into<String>) -> JwkError {
    JwkError { member, message: message.into(), foreign: false }
}

fn foreign(member: &'static str, message: &str) -> JwkError {
    JwkError { member, message: message.into(), foreign: true }
}
