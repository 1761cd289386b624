//! The configuration, as it is typed.

use std::{borrow::Cow, fmt, time::Duration};

use plugin_jose::{ClaimNames, algorithm::NAMES};
use plugin_sdk::{Span, credentials::SourceConfig, given};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Which tokens are accepted, where they are looked for, and what becomes of their claims.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The keys that tokens may be signed with.
    #[serde(default)]
    pub(crate) keys: Vec<KeyConfig>,
    /// A JSON Web Key Set (RFC 7517 §5), as an identity provider publishes it. Keys in it that are not for
    /// verifying signatures, or of an unknown kind, are ignored.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Jwks")]
    pub(crate) jwks: Option<Jwks>,
    /// The name of a gateway secret whose value is a JSON Web Key Set; this is the way to a set in a file.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) jwks_secret: Option<String>,
    /// An upstream that publishes a JSON Web Key Set, such as an identity provider; it must be granted to the plugin.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "RemoteConfig")]
    pub(crate) jwks_from: Option<RemoteConfig>,
    /// Several issuers, each with its own keys, which are trusted for its tokens only; instead of the four
    /// options above and of `issuer`.
    #[serde(default)]
    pub(crate) issuers: Vec<IssuerConfig>,

    /// The signature algorithms that are accepted, of those that the keys are for: all if left out. Each must have a key, unless
    /// keys are fetched.
    #[serde(default, deserialize_with = "given")]
    #[schemars(schema_with = "algorithms")]
    pub(crate) algorithms: Option<Vec<String>>,
    /// Who may have issued the token: its `iss` must be one of these. Any issuer if left out, so leave it out
    /// only if the keys sign for no other service.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "OneOrMany")]
    pub(crate) issuer: Option<OneOrMany>,
    /// For whom the token must be: one of these must be in its `aud`. If left out, a token that names an audience
    /// is refused (RFC 7519 §4.1.3).
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "OneOrMany")]
    pub(crate) audience: Option<OneOrMany>,
    /// Accept tokens for whomever they are. A token that the same issuer made for another service is then
    /// accepted here.
    #[serde(default)]
    pub(crate) any_audience: bool,
    /// What the token must say it is, in its `typ`: `at+jwt` for access tokens of RFC 9068. Not looked at if left out.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "OneOrMany")]
    pub(crate) typ: Option<OneOrMany>,
    /// How far the clocks of the issuer and the gateway may be apart, at most `10m`.
    #[serde(default = "no_leeway")]
    pub(crate) leeway: Span,
    /// How long after its `iat` a token is accepted, whatever its `exp` says. The token must then have an `iat`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Span")]
    pub(crate) max_age: Option<Span>,
    /// Whether a token must have an `exp`. One without is valid for ever.
    #[serde(default = "yes")]
    pub(crate) require_expiry: bool,
    /// Scopes that the token must all have, in its `scope` or `scp`. A token without them is answered with 403.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// What else the token must say. One that does not is answered with 403.
    #[serde(default)]
    pub(crate) claims: Vec<ClaimConfig>,

    /// Where the token is looked for. Found in more than one place it is refused with 400.
    #[serde(default = "authorization")]
    pub(crate) from: Vec<SourceConfig>,
    /// Whether a request without a token is answered with 401. If not it goes on as anonymous; a token that is not
    /// valid is refused all the same.
    #[serde(default = "yes")]
    pub(crate) required: bool,
    /// Whether the token goes on to the upstream.
    #[serde(default = "yes")]
    pub(crate) forward: bool,
    /// Request headers and the claims they get, such as `x-user: sub`. What the client sent under these names
    /// is always removed. A claim is named as in `claims`.
    #[serde(default)]
    pub(crate) claims_to_headers: ClaimNames,
    /// Attributes of the exchange and the claims they get, such as `jwt.tenant: /org/id`. `jwt.sub` and `jwt.iss`
    /// are always set. A claim is named as in `claims`.
    #[serde(default)]
    pub(crate) claims_to_attributes: ClaimNames,

    /// The protection space in `WWW-Authenticate`.
    #[serde(default = "realm")]
    pub(crate) realm: String,
    /// The longest token that is looked at, 64 to 65536 bytes.
    #[serde(default = "max_token_bytes")]
    #[schemars(range(min = 64, max = 65536))]
    pub(crate) max_token_bytes: usize,
    /// Number of verified tokens that each instance caches until they expire, at most 100000; 0 disables the
    /// cache.
    #[serde(default = "token_cache_size")]
    #[schemars(range(max = 100_000))]
    pub(crate) token_cache_size: usize,
}

/// Keys of every kind, as they stand in two places.
pub(crate) struct KeysConfig {
    pub(crate) keys: Vec<KeyConfig>,
    pub(crate) jwks: Option<Jwks>,
    pub(crate) jwks_secret: Option<String>,
    pub(crate) jwks_from: Option<RemoteConfig>,
}

impl KeysConfig {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.jwks.is_none() && self.jwks_secret.is_none() && self.jwks_from.is_none()
    }
}

/// An issuer with its keys.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct IssuerConfig {
    /// The `iss` of its tokens.
    pub(crate) issuer: String,
    /// As `audience` beside `issuers`, for the tokens of this one.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "OneOrMany")]
    pub(crate) audience: Option<OneOrMany>,
    /// As `keys` beside `issuers`.
    #[serde(default)]
    pub(crate) keys: Vec<KeyConfig>,
    /// As `jwks` beside `issuers`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Jwks")]
    pub(crate) jwks: Option<Jwks>,
    /// As `jwks-secret` beside `issuers`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) jwks_secret: Option<String>,
    /// As `jwks-from` beside `issuers`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "RemoteConfig")]
    pub(crate) jwks_from: Option<RemoteConfig>,
}

/// Where a key set is fetched, and when.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "upstream": "id", "path": "/.well-known/jwks.json" }))]
pub(crate) struct RemoteConfig {
    /// The name of an upstream that is granted to the plugin.
    pub(crate) upstream: String,
    /// Path and query of the key set there.
    pub(crate) path: String,
    /// How old a set gets before it is fetched again, `10s` to `1d`; no request waits for that.
    #[serde(default = "refresh")]
    pub(crate) refresh: Span,
    /// The least time between two attempts, `1s` to `1h`: after a failure, and when tokens name keys that are not known.
    #[serde(default = "retry")]
    pub(crate) retry: Span,
    /// Maximum age of a key set while the provider is unavailable, `10s` to `30d`.
    #[serde(default = "max_stale")]
    pub(crate) max_stale: Span,
    /// How long one attempt may take, at most `60s`.
    #[serde(default = "timeout")]
    pub(crate) timeout: Span,
}

/// A key: exactly one of `secret`, `secret-name`, `public-key` and `jwk`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct KeyConfig {
    /// The key's identifier: tokens that name another one are not checked against this key. A key without one is
    /// tried for every token whose identifier no other key has.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) kid: Option<String>,
    /// The one algorithm that the key is for. If left out: what the `jwk` says, otherwise HS256 for a secret, all of RS256
    /// to PS512 for RSA, ES256 for P-256, ES384 for P-384, ES512 for P-521, EdDSA for Ed25519.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String", extend("enum" = NAMES))]
    pub(crate) alg: Option<String>,
    /// An HMAC secret: these very characters.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) secret: Option<String>,
    /// The name of a gateway secret whose value is the HMAC secret.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) secret_name: Option<String>,
    /// A public key in PEM: `-----BEGIN PUBLIC KEY-----` or `-----BEGIN RSA PUBLIC KEY-----`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) public_key: Option<String>,
    /// A JSON Web Key (RFC 7517); of kind `oct` for a secret that is not text.
    #[serde(default, deserialize_with = "given")]
    #[schemars(schema_with = "object")]
    pub(crate) jwk: Option<Map<String, Value>>,
}

/// A JSON Web Key Set.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Jwks {
    /// The keys. Members beside `keys` are ignored.
    #[schemars(schema_with = "objects")]
    pub(crate) keys: Vec<Map<String, Value>>,
}

/// What one claim must be: at most one of `equals`, `contains`, `one-of`, `all-of` and `pattern`. With none of them it
/// must be there, and not be null.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ClaimConfig {
    /// The claim's name, or a JSON Pointer (RFC 6901) to a value inside a claim: `/realm_access/roles`.
    pub(crate) claim: String,
    /// The claim is this value.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Value")]
    pub(crate) equals: Option<Value>,
    /// The claim is a list that has this value, or a text that has it among its words, which spaces part.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Value")]
    pub(crate) contains: Option<Value>,
    /// The claim is one of these values, or a list that has one of them.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<Value>")]
    pub(crate) one_of: Option<Vec<Value>>,
    /// The claim is a list that has all of these values.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<Value>")]
    pub(crate) all_of: Option<Vec<Value>>,
    /// The claim is a text that this regular expression matches from end to end, or a list that has one.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) pattern: Option<String>,
}

/// One text, or a list of which each will do.
pub(crate) struct OneOrMany(pub(crate) Vec<String>);

/// By hand, because an untagged enum says only that nothing matched.
impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

// Short forms of schemas for which the general way is long.

fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

fn objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "object" } })
}

fn algorithms(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "enum": NAMES } })
}

fn yes() -> bool {
    true
}

fn authorization() -> Vec<SourceConfig> {
    vec![SourceConfig { header: Some("authorization".into()), ..SourceConfig::default() }]
}

fn no_leeway() -> Span {
    Span(Duration::ZERO)
}

fn refresh() -> Span {
    Span(Duration::from_secs(600))
}

fn retry() -> Span {
    Span(Duration::from_secs(30))
}

fn max_stale() -> Span {
    Span(Duration::from_secs(86_400))
}

fn timeout() -> Span {
    Span(Duration::from_secs(5))
}

fn realm() -> String {
    "gateway".into()
}

fn max_token_bytes() -> usize {
    8 * 1024
}

fn token_cache_size() -> usize {
    1000
}
