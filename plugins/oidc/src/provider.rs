//! An OpenID provider: what it publishes about itself, and where its endpoints are reached.

use std::{collections::BTreeMap, time::Duration};

use plugin_jose::{Algorithm, RemoteKeys, json, remote::RemoteError};
use plugin_sdk::{
    Pointer, Problems,
    documents::{self, DocumentError, Source},
    error, names,
    secrets::{self, SecretError},
};
use serde_json::{Map, Value};

use crate::{
    config::{ClientAuth, ProviderConfig},
    refusal::{Refusal, Stop},
};

/// Parameters of an authorization request that the plugin sets.
const OWN_PARAMETERS: [&str; 11] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

/// An OpenID provider, as it is configured, and what is known of it.
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<Vec<u8>>,
    pub(crate) client_auth: ClientAuth,
    pub(crate) scopes: Vec<String>,
    pub(crate) parameters: BTreeMap<String, String>,
    /// Of the parameters: how many seconds before a login the user may have been authenticated.
    pub(crate) max_age: Option<i64>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) timeout: Duration,
    upstream: String,
    /// By origin.
    other_upstreams: BTreeMap<String, String>,
    source: Source,
    version: u64,
    metadata: Option<Metadata>,
    keys: Option<RemoteKeys>,
}

/// What a provider publishes (OpenID Connect Discovery 1.0 §3, RFC 8414), as far as it is needed.
#[derive(Clone)]
pub(crate) struct Metadata {
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: Endpoint,
    pub(crate) end_session_endpoint: Option<String>,
    /// RFC 9207 §3: responses to authorization requests have `iss`.
    pub(crate) iss_in_responses: bool,
    keys: Endpoint,
}

/// Where an endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) upstream: String,
    pub(crate) path_with_query: String,
}

impl Provider {
    pub(crate) fn read(config: ProviderConfig, timeout: Duration, at: &Pointer, problems: &mut Problems) -> Self {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if config.name.is_empty() || config.name.len() > 32 || !config.name.bytes().all(is_name) {
            problems.add(at.then("name"), "must be 1 to 32 lower-case letters, digits and `-`");
        }
        let path = match split(&config.issuer) {
            Ok((_, rest)) if !rest.contains('?') => rest.trim_end_matches('/').to_owned(),
            _ => {
                problems.add(at.then("issuer"), "must be an `https` URL without query and fragment");
                String::new()
            }
        };
        if config.issuer.starts_with("http://") && !is_loopback(&config.issuer) {
            problems.add(at.then("issuer"), "must be an `https` URL; `http` is for development on a loopback address");
        }
        let source = Source {
            refresh: Duration::from_secs(3600),
            retry: Duration::from_secs(5),
            timeout,
            ..Source::new(&config.upstream, &format!("{path}/.well-known/openid-configuration"))
        };
        check_upstream(&source, at.then("upstream"), problems);
        let mut other_upstreams = BTreeMap::new();
        for (origin, upstream) in config.other_upstreams {
            let at = at.then("other-upstreams").then(&origin);
            match split(&origin) {
                Ok((origin, "" | "/")) => {
                    other_upstreams.insert(origin, upstream.clone());
                }
                _ => problems.add(&at, "must be scheme and host, such as `https://keys.example.com`"),
            }
            check_upstream(&Source::new(&upstream, "/"), at, problems);
        }
        if config.client_id.is_empty() {
            problems.add(at.then("client-id"), "must not be empty");
        }
        if !config.scopes.iter().any(|scope| scope == "openid") {
            problems.add(at.then("scopes"), "must contain `openid`");
        }
        for (i, scope) in config.scopes.iter().enumerate() {
            problems.note(at.then("scopes").then(i), names::check_scope(scope));
        }
        for name in config.authorization_parameters.keys().filter(|name| OWN_PARAMETERS.contains(&name.as_str())) {
            problems.add(at.then("authorization-parameters").then(name), "is set by the plugin itself");
        }
        let at_parameters = at.then("authorization-parameters");
        let max_age = config.authorization_parameters.get("max_age").and_then(|text| {
            let seconds = text.parse::<u32>().map(i64::from).map_err(|_| "must be a number of seconds");
            problems.note(at_parameters.then("max_age"), seconds)
        });
        if config.authorization_parameters.contains_key("acr_values") {
            let why = "is not enforced: the provider may ignore it, and the plugin does not check `acr`";
            problems.add(at_parameters.then("acr_values"), why);
        }
        let mut algorithms = Vec::new();
        for (i, name) in config.algorithms.iter().enumerate() {
            let algorithm = name.parse::<Algorithm>().ok().filter(|_| !name.starts_with("HS"));
            let unknown = format!("`{name}` is not a signature algorithm with a public key");
            algorithms.extend(problems.note(at.then("algorithms").then(i), algorithm.ok_or(unknown)));
        }
        if config.algorithms.is_empty() {
            problems.add(at.then("algorithms"), "must not be empty");
        }
        let secret = config.client_secret.and_then(|name| {
            let secret = secrets::get(&name).map_err(|error| match error {
                SecretError::Denied(_) => {
                    format!("needs a secret `{name}`, and `grants: {{ secrets: {{ {name}: read }} }}` for the plugin")
                }
                error => error.to_string(),
            });
            problems.note(at.then("client-secret"), secret)
        });
        Self {
            label: config.label.unwrap_or_else(|| config.name.clone()),
            name: config.name,
            issuer: config.issuer,
            client_id: config.client_id,
            client_secret: secret,
            client_auth: config.client_auth,
            scopes: config.scopes,
            parameters: config.authorization_parameters,
            max_age,
            algorithms,
            timeout,
            upstream: config.upstream,
            other_upstreams,
            source,
            version: 0,
            metadata: None,
            keys: None,
        }
    }

    /// What encrypted data of this provider is bound to.
    pub(crate) fn context<'a>(&'a self, purpose: &'a str, name: &'a str) -> [&'a str; 5] {
        [purpose, name, &self.name, &self.issuer, &self.client_id]
    }

    /// What the provider publishes; it is fetched if it is not known or old.
    pub(crate) fn metadata(&mut self) -> Result<&Metadata, Stop> {
        match documents::get(&self.source, self.version, false) {
            Ok(None) => {}
            Ok(Some(document)) => match self.read_metadata(&document.bytes) {
                Ok(metadata) => (self.metadata, self.version) = (Some(metadata), document.version),
                Err(why) => {
                    error!("the provider's metadata is not valid: {why}"; provider = self.name);
                    if self.metadata.is_none() {
                        return Err(Refusal::ProviderError.into());
                    }
                }
            },
            Err(DocumentError::Unavailable(why)) => {
                error!("the provider's metadata is unavailable: {why}"; provider = self.name);
                return Err(Refusal::ProviderUnavailable.into());
            }
            Err(error) => return Err(Stop::Failed(error.into())),
        }
        self.metadata.as_ref().ok_or(Stop::Refused(Refusal::ProviderError))
    }

    /// The keys that sign tokens.
    pub(crate) fn keys(&mut self) -> Result<&mut RemoteKeys, Stop> {
        let Endpoint { upstream, path_with_query } = self.metadata()?.keys.clone();
        let known = self.keys.as_ref().map(RemoteKeys::source);
        if known.is_none_or(|source| source.upstream != upstream || source.path_with_query != path_with_query) {
            let source = Source {
                retry: Duration::from_secs(5),
                timeout: self.timeout,
                ..Source::new(&upstream, &path_with_query)
            };
            self.keys = Some(RemoteKeys::new(source));
        }
        let keys = self.keys.as_mut().ok_or(Stop::Refused(Refusal::ProviderError))?;
        // A key that is no longer published signs nothing.
        keys.look_around();
        Ok(keys)
    }

    /// Fetches the keys, unless they are known.
    pub(crate) fn fetch_keys(&mut self) -> Result<(), Stop> {
        Ok(self.keys()?.fetch()?)
    }

    fn read_metadata(&self, document: &[u8]) -> Result<Metadata, String> {
        let members = json::object(document).ok_or("it is not a JSON object")?;
        // Discovery 1.0 §4.3.
        if members.get("issuer").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(format!("its `issuer` is not `{}`", self.issuer));
        }
        let required = |name: &str| text(&members, name)?.ok_or(format!("it has no `{name}`"));
        let locate = |name: &str| self.locate(&required(name)?).map_err(|why| format!("`{name}` {why}"));
        Ok(Metadata {
            authorization_endpoint: self.page(&required("authorization_endpoint")?)?,
            token_endpoint: locate("token_endpoint")?,
            end_session_endpoint: text(&members, "end_session_endpoint")?.map(|url| self.page(&url)).transpose()?,
            iss_in_responses: members.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
            keys: locate("jwks_uri")?,
        })
    }

    /// A URL for the browser.
    fn page(&self, url: &str) -> Result<String, String> {
        let (origin, _) = split(url).map_err(|why| format!("`{url}` {why}"))?;
        if origin.starts_with("http:") && self.issuer.starts_with("https:") {
            return Err(format!("`{url}` is not an `https` URL"));
        }
        Ok(url.to_owned())
    }

    /// The upstream that reaches a URL: an endpoint leads nowhere that the operator has not granted.
    fn locate(&self, url: &str) -> Result<Endpoint, String> {
        let (origin, rest) = split(url)?;
        let upstream = match split(&self.issuer) {
            Ok((own, _)) if own == origin => Some(&self.upstream),
            _ => self.other_upstreams.get(&origin),
        };
        let upstream = upstream.ok_or_else(|| format!("is at {origin}, which has no entry in `other-upstreams`"))?;
        let slash = if rest.starts_with('/') { "" } else { "/" };
        Ok(Endpoint { upstream: upstream.clone(), path_with_query: format!("{slash}{rest}") })
    }
}

impl From<RemoteError> for Stop {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Unavailable(_) => Self::Refused(Refusal::ProviderUnavailable),
            RemoteError::Document(error) => Self::Failed(error.into()),
            RemoteError::Crypto(error) => error.into(),
        }
    }
}

fn check_upstream(source: &Source, at: Pointer, problems: &mut Problems) {
    // In `configure` nothing is fetched: this only checks the grant and the path.
    match documents::get(source, 0, false) {
        Err(DocumentError::Denied(_)) => {
            let name = &source.upstream;
            let cure = format!("needs an upstream `{name}`, and `grants: {{ upstreams: [{name}] }}` for the plugin");
            problems.add(at, cure);
        }
        Err(DocumentError::Invalid(why)) => problems.add(at, why),
        _ => {}
    }
}

fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("its `{name}` is not a string")),
    }
}

/// Origin, in lower case and without the default port, and the rest of an absolute URL.
pub(crate) fn split(url: &str) -> Result<(String, &str), &'static str> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>')) {
        return Err("is not a URL, or has a fragment");
    }
    let (scheme, port, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => ("https", ":443", rest),
        (_, Some(rest)) => ("http", ":80", rest),
        _ => return Err("is not an `https` URL"),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.is_empty() || authority.contains('@') {
        return Err("has no host, or a user");
    }
    let authority = authority.to_ascii_lowercase();
    Ok((format!("{scheme}://{}", authority.strip_suffix(port).unwrap_or(&authority)), rest))
}

fn is_loopback(url: &str) -> bool {
    let Ok((origin, _)) = split(url) else { return false };
    let host = origin.trim_start_matches("http://");
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::{is_loopback, split};

    #[test]
    fn a_url_is_split_into_origin_and_rest() {
        for (url, origin, rest) in [
            ("https://Id.Example.com", "https://id.example.com", ""),
            ("https://id.example.com:443/a?b", "https://id.example.com", "/a?b"),
            ("http://127.0.0.1:80?b", "http://127.0.0.1", "?b"),
            ("https://[::1]:8443/", "https://[::1]:8443", "/"),
        ] {
            assert_eq!(split(url), Ok((origin.to_owned(), rest)), "{url}");
        }
        for wrong in [
            "",
            "id.example.com",
            "ftp://a",
            "https://",
            "https:///a",
            "https://a@b/",
            "https://a/#f",
            "https://a\\b",
            "https://a b",
        ] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn http_is_for_loopback_addresses() {
        assert!(
            is_loopback("http://127.0.0.1:4000/x") && is_loopback("http://localhost") && is_loopback("http://[::1]:1")
        );
        assert!(!is_loopback("http://id.example.com") && !is_loopback("http://127.0.0.1.example.com"));
    }
}
