//! Lets in who has a known API key.
//!
//! Keys are known by their SHA-256 alone. They are random and long, so that a slow hash, as for passwords, would
//! protect nothing and cost every request.

mod keys;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use plugin_sdk::{
    Decision, EditError, Error, Plugin, Pointer, Problem, Problems, Reply, Request, RequestFilter,
    credentials::{SourceConfig, Sources},
    export_plugin, given, metrics, names,
    secrets::{self, SecretError},
    serde_json,
};
use schemars::JsonSchema;
use serde::Deserialize;

use keys::{KeyConfig, Keys, Owner};

/// Whose requests are let in: `keys`, or `keys-secret`, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "keys": [{
    "id": "shop", "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "tier": "gold",
}] }))]
struct Config {
    /// The keys that are known.
    #[serde(default)]
    keys: Vec<KeyConfig>,
    /// A granted secret with a JSON list of keys, each as an entry of `keys`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    keys_secret: Option<String>,
    /// Where the key is looked for; the header `x-api-key` if left out. Found in more than one place it is refused
    /// with 400.
    #[serde(default = "x_api_key")]
    from: Vec<SourceConfig>,
    /// Whether a request without a key is answered with 401. If not it goes on as anonymous; a key that is not known
    /// is refused all the same.
    #[serde(default = "yes")]
    required: bool,
    /// Whether the key goes on to the upstream.
    #[serde(default)]
    forward: bool,
    /// The protection space in `WWW-Authenticate`.
    #[serde(default = "realm")]
    realm: String,
}

struct ApiKey {
    keys: Keys,
    sources: Sources,
    required: bool,
    forward: bool,
    challenge: String,
}

/// Why a request is turned away. Nothing that the client sent comes back to it.
#[derive(Clone, Copy)]
enum Refusal {
    Missing,
    Ambiguous,
    Unknown,
    NoRoom,
}

impl Plugin for ApiKey {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut keys = Keys::default();
        keys.add(config.keys, &Pointer::from("/keys"), &mut problems);
        if let Some(name) = &config.keys_secret {
            let at = Pointer::from("/keys-secret");
            if let Some(more) = problems.note(&at, read_secret(name)) {
                keys.add(more, &at, &mut problems);
            }
        }
        if keys.is_empty() && problems.is_empty() {
            problems.add(Pointer::root(), "needs a key in `keys` or `keys-secret`; without one nobody would be let in");
        }
        let sources = Sources::read(config.from, &Pointer::from("/from"), &mut problems);
        problems.note("/realm", names::check_quotable(&config.realm));
        // There is no registered scheme for API keys; a challenge there must be (RFC 9110 §15.5.2).
        let challenge = format!("{} realm=\"{}\"", sources.scheme().unwrap_or("ApiKey"), config.realm);
        problems.or(Self { keys, sources, required: config.required, forward: config.forward, challenge })
    }
}

impl RequestFilter for ApiKey {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        match self.identify(request) {
            Ok(Some(owner)) => match announce(&owner, request) {
                Ok(()) => Ok(Decision::Next),
                Err(EditError::TooLarge) => Ok(self.refuse(Refusal::NoRoom, request).into()),
                Err(error) => Err(error.into()),
            },
            Ok(None) => Ok(Decision::Next),
            Err(refusal) => Ok(self.refuse(refusal, request).into()),
        }
    }
}

export_plugin!(ApiKey: request);

impl ApiKey {
    /// Who sends the request, and takes the key away from it. Nobody, if that is allowed.
    fn identify(&self, request: &Request) -> Result<Option<Rc<Owner>>, Refusal> {
        let found = self.sources.find(request).map_err(|_| Refusal::Ambiguous)?;
        let Some(found) = found.filter(|found| !found.credential().is_empty()) else {
            return if self.required { Err(Refusal::Missing) } else { Ok(None) };
        };
        let owner = self.keys.owner(found.credential()).ok_or(Refusal::Unknown)?;
        if !self.forward {
            // What is left is shorter than what there was.
            self.sources.remove(&found, request).map_err(|_| Refusal::NoRoom)?;
        }
        Ok(Some(owner))
    }

    fn refuse(&self, refusal: Refusal, request: &Request) -> Reply {
        let (status, code, detail) = match refusal {
            Refusal::Missing => (401, "missing", "an API key is required"),
            Refusal::Ambiguous => (400, "ambiguous", "the request carries more than one API key"),
            Refusal::Unknown => (401, "unknown", "the API key is not known"),
            Refusal::NoRoom => (431, "no-room", "the request's headers are too large"),
        };
        metrics::add("api_key_denied", 1, &[("route", &request.route()), ("reason", code)]);
        // For the access log only; where there is no room for it, the answer is still the right one.
        let _ = request.set_attribute("api-key.error", code);
        let problem = Problem::new(status).detail(detail).member("request-id", request.id());
        if status == 401 { problem.with_header("www-authenticate", &self.challenge).into() } else { problem.into() }
    }
}

/// Tells later plugins who the client is.
fn announce(owner: &Owner, request: &Request) -> Result<(), EditError> {
    request.set_attribute("api-key.id", &owner.id)?;
    if let Some(tier) = &owner.tier {
        request.set_attribute("api-key.tier", tier)?;
    }
    if let Some(groups) = &owner.groups {
        request.set_attribute("api-key.groups", groups)?;
    }
    for (name, value) in &owner.attributes {
        request.set_attribute(name, value)?;
    }
    Ok(())
}

/// The keys in a secret. What is wrong is said by its place; the text stays secret.
fn read_secret(name: &str) -> Result<Vec<KeyConfig>, String> {
    let text = secrets::get(name).map_err(|error| match error {
        SecretError::Denied(_) => format!(
            "the secret `{name}` is not granted; add it to `secrets`, and to the plugin's `grants: {{ secrets: [{name}] }}`"
        ),
        SecretError::Missing => format!("the secret `{name}` has no value"),
        error => format!("the secret `{name}`: {error}"),
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("the secret is not a JSON list of keys, each with `id` and `sha256`: line {line}, column {column}")
    })
}

fn x_api_key() -> Vec<SourceConfig> {
    vec![SourceConfig { header: Some("x-api-key".into()), ..SourceConfig::default() }]
}

fn yes() -> bool {
    true
}

fn realm() -> String {
    "gateway".into()
}
