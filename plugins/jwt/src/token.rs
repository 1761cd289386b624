//! A token in compact serialisation (RFC 7515 §7.1), taken apart but not believed.

use serde_json::{Map, Value};

use crate::{algorithm::Algorithm, base64::decode_url, json, refusal::Refusal};

/// A token whose signature nobody has checked.
pub(crate) struct Token<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    /// What the signature is over: header and payload as they were sent.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
    payload: &'a [u8],
}

impl<'a> Token<'a> {
    /// Reads the header. Of it only `alg`, `kid` and `typ` are used, and none is trusted: keys and links to keys that
    /// a token brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
    pub(crate) fn read(token: &'a [u8]) -> Result<Self, Refusal> {
        let mut parts = token.splitn(4, |byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Malformed);
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let signature = decode_url(signature).ok_or(Refusal::Malformed)?;
        let mut header = decode_url(header).and_then(|json| json::object(&json)).ok_or(Refusal::Malformed)?;
        // None is understood here, so any is one too many (RFC 7515 §4.1.11).
        if header.contains_key("crit") {
            return Err(Refusal::Critical);
        }
        let algorithm = text(&mut header, "alg")?.ok_or(Refusal::Malformed)?;
        // `none` is no algorithm of ours, in whatever letters.
        let algorithm = algorithm.parse().map_err(|_| Refusal::Algorithm)?;
        let (kid, typ) = (text(&mut header, "kid")?, text(&mut header, "typ")?);
        Ok(Self { algorithm, kid, typ, signed, signature, payload })
    }

    /// Reads the claims; to be called once the signature is known to be good.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, Refusal> {
        decode_url(self.payload).and_then(|json| json::object(&json)).ok_or(Refusal::Claims)
    }
}

fn text(header: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match header.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::Malformed),
    }
}
