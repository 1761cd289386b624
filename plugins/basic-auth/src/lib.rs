//! Lets in who has a name and its password (RFC 7617).
//!
//! Passwords are known by slow hashes alone, which the gateway verifies on threads of its own. A pair that was right
//! is remembered for a while, since browsers and programs send it with every request.

#[cfg(test)]
mod tests;
mod users;

use std::{rc::Rc, time::Duration};

use base64ct::{Base64, Base64Unpadded, Encoding};
use plugin_sdk::{
    Decision, Error, Plugin, Pointer, Problem, Problems, Reply, Request, RequestFilter, Span,
    credentials::{SourceConfig, Sources},
    crypto::{self, PasswordError},
    export_plugin, given, metrics, names, serde_json, stop_on_refused_edits,
};
use schemars::JsonSchema;
use serde::Deserialize;

use users::{User, UserConfig, Users};

/// Whose requests are let in: `users`, or `users-secret`, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "users-secret": "htpasswd", "cache-ttl": "5m" }))]
struct Config {
    /// The users that are known.
    #[serde(default)]
    users: Vec<UserConfig>,
    /// A granted secret with more of them, as `htpasswd -B` writes them: a line `NAME:HASH` for each.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    users_secret: Option<String>,
    /// How long each worker caches a verified user name and password, as a keyed hash; at most `1h`, and `0s`
    /// disables the cache.
    #[serde(default = "five_minutes")]
    cache_ttl: Span,
    /// Whether a request without a password is answered with 401. If not it goes on as anonymous; a wrong password is
    /// refused all the same.
    #[serde(default = "yes")]
    required: bool,
    /// Whether the password goes on to the upstream.
    #[serde(default)]
    forward: bool,
    /// What browsers show to their users when they ask for the password.
    #[serde(default = "realm")]
    realm: String,
}

struct BasicAuth {
    users: Users,
    sources: Sources,
    cache_ttl: Duration,
    required: bool,
    forward: bool,
    challenge: String,
}

const MAX_CREDENTIALS: usize = 2048;

/// Why a request is turned away. Nothing that the client sent comes back to it.
#[derive(Clone, Copy)]
enum Refusal {
    Missing,
    Ambiguous,
    Malformed,
    Wrong,
    Busy,
    NoRoom,
}

enum Stop {
    Refused(Refusal),
    Failed(Error),
}

impl Plugin for BasicAuth {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut users = Users::default();
        users.add(config.users, &Pointer::from("/users"), &mut problems);
        if let Some(name) = &config.users_secret {
            users.add_secret(name, &Pointer::from("/users-secret"), &mut problems);
        }
        if users.is_empty() && problems.is_empty() {
            problems.add(Pointer::root(), "needs a user in `users` or `users-secret`; without one nobody is let in");
        }
        if config.cache_ttl.seconds() > 3600 {
            problems.add("/cache-ttl", "must be at most 1h");
        }
        problems.note("/realm", names::check_quotable(&config.realm));
        let header = SourceConfig {
            header: Some("authorization".into()),
            scheme: Some("Basic".into()),
            ..SourceConfig::default()
        };
        let sources = Sources::read(vec![header], &Pointer::root(), &mut problems);
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", config.realm);
        let (cache_ttl, required, forward) = (config.cache_ttl.0, config.required, config.forward);
        problems.or(Self { users, sources, cache_ttl, required, forward, challenge })
    }
}

impl RequestFilter for BasicAuth {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        match self.admit(request) {
            Ok(()) => Ok(Decision::Next),
            Err(Stop::Refused(refusal)) => Ok(self.refuse(refusal, request).into()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

export_plugin!(BasicAuth: request);

impl BasicAuth {
    fn admit(&self, request: &Request) -> Result<(), Stop> {
        let found = self.sources.find(request).map_err(|_| Refusal::Ambiguous)?;
        let Some(found) = found else {
            return if self.required { Err(Refusal::Missing.into()) } else { Ok(()) };
        };
        let (name, password) = pair(found.credential()).ok_or(Refusal::Malformed)?;
        let user = self.user(&name, &password)?;
        if !self.forward {
            self.sources.remove(&found, request)?;
        }
        request.set_attribute("basic-auth.user", &name)?;
        if let Some(groups) = &user.groups {
            request.set_attribute("basic-auth.groups", groups)?;
        }
        Ok(())
    }

    /// The user, if the password is right. One that does not exist takes as long: another's hash is tried, with what
    /// nobody has for a password, so that it is not remembered either.
    fn user(&self, name: &str, password: &str) -> Result<Rc<User>, Stop> {
        if let Some(user) = self.users.get(name) {
            let right = crypto::verify_password(&user.hash, password.as_bytes(), self.cache_ttl)?;
            return if right { Ok(Rc::clone(user)) } else { Err(Refusal::Wrong.into()) };
        }
        if let Some(decoy) = self.users.decoy(name) {
            crypto::verify_password(&decoy.hash, format!("{name}:{password}").as_bytes(), Duration::ZERO)?;
        }
        Err(Refusal::Wrong.into())
    }

    fn refuse(&self, refusal: Refusal, request: &Request) -> Reply {
        let (status, code, detail) = match refusal {
            Refusal::Missing => (401, "missing", "a user name and a password are required"),
            Refusal::Ambiguous => (400, "ambiguous", "the request carries more than one password"),
            Refusal::Malformed => (401, "malformed", "the user name and password are malformed"),
            Refusal::Wrong => (401, "wrong", "the user name or the password is wrong"),
            Refusal::Busy => (503, "busy", "too many passwords are being verified"),
            Refusal::NoRoom => (431, "no-room", "the request's headers are too large"),
        };
        metrics::add("basic_auth_denied", 1, &[("route", &request.route()), ("reason", code)]);
        // For the access log only; where there is no room for it, the answer is still the right one.
        let _ = request.set_attribute("basic-auth.error", code);
        let problem = Problem::new(status).detail(detail).member("request-id", request.id());
        match status {
            401 => problem.with_header("www-authenticate", &self.challenge).into(),
            503 => problem.with_header("retry-after", "1").into(),
            _ => problem.into(),
        }
    }
}

/// Name and password (RFC 7617 §2): no control characters, and the first colon parts them.
fn pair(credentials: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(credentials).ok().filter(|text| text.len() <= MAX_CREDENTIALS)?;
    // Some clients leave the padding out.
    let bytes = Base64::decode_vec(text).or_else(|_| Base64Unpadded::decode_vec(text)).ok()?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

stop_on_refused_edits!(Stop, Refusal::NoRoom);

impl From<PasswordError> for Stop {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Refused(Refusal::Busy),
            error => Self::Failed(error.into()),
        }
    }
}

fn five_minutes() -> Span {
    Span(Duration::from_secs(300))
}

fn yes() -> bool {
    true
}

fn realm() -> String {
    "gateway".into()
}
