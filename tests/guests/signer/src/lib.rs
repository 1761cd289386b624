//! Uses the gateway's cryptography with a secret, and what else a plugin can do that `naughty` does not. What came of it is in
//! the request header `x-out`.

use plugin_sdk::{
    Decision, Edit, Edits, Error, Item, Plugin, Problems, Request, RequestFilter, Response, ResponseDecision,
    ResponseFilter, Selection,
    crypto::{self, Algorithm, Cipher, CryptoError, HashFunction, Key},
    export_plugin, metrics, secrets,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[serde(rename = "do")]
    deed: Deed,
    /// The name of a secret, or a number.
    #[serde(default)]
    with: String,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Signs the path with the secret, by HMAC, and verifies the signature.
    Sign,
    /// Signs the path with the secret, a private key on P-256.
    SignEs256,
    /// Reads the secret.
    Read,
    /// Encrypts the path with a key that is derived from the secret, and decrypts it.
    Seal,
    /// Sets one gauge and adds to another.
    Gauge,
    /// Says to which trace the request belongs.
    Trace,
    /// Sets attributes, and removes them in each way that there is.
    Forget,
    /// Sets `x-status` of the response to its status.
    Status,
}

struct Signer {
    config: Config,
    status: Selection,
    forget: Edits,
}

impl Plugin for Signer {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let forget =
            Edits::new(&[Edit::remove_attribute("b"), Edit::set_header("x-made"), Edit::remove_attribute("c")]);
        Ok(Self { config, status: Selection::new(&[Item::Method, Item::ResponseStatus]), forget })
    }
}

impl RequestFilter for Signer {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let with = &*self.config.with;
        let (key, path) = (Key::Secret(with), request.path());
        let said = match self.config.deed {
            Deed::Sign => crypto::sign(Algorithm::Hs256, key, path.as_bytes()).and_then(|tag| {
                let right = crypto::verify(Algorithm::Hs256, key, path.as_bytes(), &tag)?;
                let wrong = crypto::verify(Algorithm::Hs256, key, b"another", &tag)?;
                Ok(format!("{} {right} {wrong}", hex(&tag)))
            }),
            Deed::SignEs256 => crypto::sign(Algorithm::Es256, key, path.as_bytes()).map(|signature| hex(&signature)),
            Deed::Read => Ok(match secrets::get(with) {
                Ok(secret) => String::from_utf8_lossy(&secret).into_owned(),
                Err(error) => error.to_string(),
            }),
            Deed::Seal => sealed(key, path.as_bytes()),
            Deed::Gauge => {
                metrics::set_gauge("signer_level", with.parse()?, &[("kind", "set")]);
                metrics::add_to_gauge("signer_level", with.parse()?, &[("kind", "added")]);
                Ok(String::new())
            }
            Deed::Trace => Ok(request.trace_parent().unwrap_or_default()),
            Deed::Forget => self.forgotten(request),
            Deed::Status => return Ok(Decision::Next),
        };
        request.set_header("x-out", said.unwrap_or_else(|error| error.to_string()))?;
        Ok(Decision::Next)
    }
}

impl ResponseFilter for Signer {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        if let Deed::Status = self.config.deed {
            let values = self.status.read(request, Some(response));
            let without = self.status.read(request, None);
            let status = values.iter().nth(1).flatten().unwrap_or_default();
            assert_eq!(without.iter().nth(1), Some(None));
            response.set_header("x-status", status)?;
        }
        Ok(ResponseDecision::Next)
    }
}

fn sealed(key: Key<'_>, text: &[u8]) -> Result<String, CryptoError> {
    let key = crypto::derive_key(HashFunction::Sha256, key, b"salt", b"signer", 32)?;
    let sealed = crypto::encrypt(Cipher::ChaCha20Poly1305, &key, text, b"x-out")?;
    let opened = crypto::decrypt(Cipher::ChaCha20Poly1305, &key, &sealed, b"x-out")?;
    let forged = crypto::decrypt(Cipher::ChaCha20Poly1305, &key, &sealed, b"other");
    Ok(format!("{} {}", String::from_utf8_lossy(&opened), forged == Err(CryptoError::NotAuthentic)))
}

impl Signer {
    fn forgotten(&self, request: &Request) -> Result<String, CryptoError> {
        let failed = |error: plugin_sdk::EditError| CryptoError::Other(error.to_string());
        for key in ["a", "b", "c", "d"] {
            request.set_attribute(key, key).map_err(failed)?;
        }
        request.remove_attribute("a").map_err(failed)?;
        request.remove_attribute("never-set").map_err(failed)?;
        let made = self.forget.apply(request, None, [Some("made".as_bytes())]);
        made.map_err(|refused| CryptoError::Other(refused.to_string()))?;
        let left: Vec<_> = ["a", "b", "c", "d"].into_iter().filter_map(|key| request.attribute(key)).collect();
        let reserved =
            request.remove_attribute("gateway.upstream").map_or_else(|error| error.to_string(), |()| "removed".into());
        Ok(format!("{} / {reserved}", left.join(" ")))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

export_plugin!(Signer: request, response);
