//! A token in compact serialisation (RFC 7515 §7.1), taken apart but not believed.

use serde_json::{Map, Value};

use crate::{algorithm::Algorithm, base64::decode_url, json};

/// Why a token cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Not a token in compact serialisation.
    Malformed,
    /// It has `crit`.
    Critical,
    /// Its algorithm is not known.
    Algorithm,
    /// Its claims are not one JSON object in which each name occurs once.
    Claims,
}

/// A token whose signature has not been verified.
pub struct Token<'a> {
    /// `alg` of the header.
    pub algorithm: Algorithm,
    /// `kid` of the header.
    pub kid: Option<String>,
    /// `typ` of the header.
    pub typ: Option<String>,
    /// What the signature is over: header and payload as they were sent.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
    payload: &'a [u8],
}

impl<'a> Token<'a> {
    /// Reads the header. Of it only `alg`, `kid` and `typ` are used, and none is trusted: keys and links to keys that
    /// a token brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub fn read(token: &'a [u8]) -> Result<Self, TokenError> {
        let mut parts = token.splitn(4, |byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let signature = decode_url(signature).ok_or(TokenError::Malformed)?;
        let mut header = decode_url(header).and_then(|json| json::object(&json)).ok_or(TokenError::Malformed)?;
        // None is understood here, so any is one too many (RFC 7515 §4.1.11).
        if header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        let algorithm = text(&mut header, "alg")?.ok_or(TokenError::Malformed)?;
        // `none` is no algorithm of ours, in whatever letters.
        let algorithm = algorithm.parse().map_err(|_| TokenError::Algorithm)?;
        let (kid, typ) = (text(&mut header, "kid")?, text(&mut header, "typ")?);
        Ok(Self { algorithm, kid, typ, signed, signature, payload })
    }

    /// Reads the claims; to be called once the signature is known to be good.
    ///
    /// # Errors
    ///
    /// [`TokenError::Claims`].
    pub fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        decode_url(self.payload).and_then(|json| json::object(&json)).ok_or(TokenError::Claims)
    }
}

fn text(header: &mut Map<String, Value>, name: &str) -> Result<Option<String>, TokenError> {
    match header.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Malformed),
    }
}
