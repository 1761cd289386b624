//! Public keys in PEM (RFC 7468).

use super::material::Material;
use crate::base64;

/// Reads the one public key in a text.
///
/// # Errors
///
/// Why it is none.
pub fn read(text: &str) -> Result<Material, String> {
    let (_, rest) = text.split_once("-----BEGIN ").ok_or("is not PEM, needs `-----BEGIN PUBLIC KEY-----`")?;
    let (label, rest) = rest.split_once("-----").ok_or("is not PEM: the first line does not end in `-----`")?;
    let pkcs1 = match label {
        "PUBLIC KEY" => false,
        "RSA PUBLIC KEY" => true,
        "CERTIFICATE" => return Err("is a certificate, needs its key: `openssl x509 -pubkey -noout`".into()),
        label if label.ends_with("PRIVATE KEY") => {
            return Err("is a private key, which must not be here, needs the public one: `openssl pkey -pubout`".into());
        }
        _ => return Err("is not a public key, needs `-----BEGIN PUBLIC KEY-----`".into()),
    };
    let end = if pkcs1 { "-----END RSA PUBLIC KEY-----" } else { "-----END PUBLIC KEY-----" };
    let (body, rest) = rest.split_once(end).ok_or_else(|| format!("is cut off, needs `{end}`"))?;
    if rest.contains("-----BEGIN ") {
        return Err("holds more than one key, needs an entry for each".into());
    }
    let der = base64::decode_pem(body).ok_or("is not base64 between its first and last line")?;
    Material::from_der(&der, pkcs1)
}
