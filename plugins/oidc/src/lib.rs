//! Signs users in with OpenID Connect.
//!
//! `README.md` beside this crate says how it is configured and what it guarantees.

mod config;
mod id_token;
mod jar;
mod login;
mod logout;
mod provider;
mod refresh;
mod refusal;
mod seal;
mod session;
mod target;
#[cfg(test)]
mod tests;
mod tokens;

use std::{collections::BTreeSet, time::Duration};

use plugin_jose::Mapping;
use plugin_sdk::{
    Body, BodyError, Decision, Edit, Edits, Error, Plugin, Pointer, Problems, Reply, Request, RequestBodyFilter,
    RequestFilter, Span, export_plugin, metrics, names,
    store::{Bucket, StoreError},
};

pub use config::Config;
use config::Sessions;
use jar::{Jar, MAX_SET, Names};
use login::now;
use provider::Provider;
use refresh::Refreshed;
use refusal::{Refusal, Stop};
use seal::Seal;
use session::{Found, Kept};

/// The attribute with a digest of the ID token.
const TOKEN: &str = "oidc.token";

/// The plugin.
pub struct Oidc {
    settings: Settings,
    providers: Vec<Provider>,
    seal: Seal,
    names: Names,
    mapping: Mapping,
    /// Cookies of responses, and that no cache stores them.
    set_cookies: Edits,
    bucket: Bucket,
}

/// Options as they are used; times in milliseconds.
struct Settings {
    sessions: Sessions,
    path: String,
    origin: Option<String>,
    secure: bool,
    lifetime: i64,
    refresh_ahead: i64,
    login_timeout: i64,
    leeway: i64,
    timeout: Duration,
    required: bool,
    forward_access_token: bool,
    after_logout: String,
    backchannel_logout: bool,
    realm: String,
}

/// One of the plugin's own paths.
enum OwnPath<'a> {
    Login,
    Logout,
    LoggedOut,
    Callback(&'a str),
    BackchannelLogout(&'a str),
    Unknown,
}

impl RequestFilter for Oidc {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let decision = self.handle(request);
        self.answer(request, decision)
    }
}

impl RequestBodyFilter for Oidc {
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        let path = request.path();
        let decision = match (self.own_path(&path), body) {
            (Some(OwnPath::BackchannelLogout(name)), Ok(body)) => {
                self.backchannel_logout(name, request, &body).map(Decision::from)
            }
            _ => Err(Refusal::InvalidRequest.into()),
        };
        self.answer(request, decision)
    }
}

impl Oidc {
    fn answer(&self, request: &Request, decision: Result<Decision, Stop>) -> Result<Decision, Error> {
        match decision {
            Ok(decision) => Ok(decision),
            Err(Stop::Refused(refusal)) => Ok(self.refuse(request, refusal).into()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// The reply to a request that is refused.
    fn refuse(&self, request: &Request, refusal: Refusal) -> Reply {
        metrics::add("oidc_denied", 1, &[("route", &request.route()), ("reason", refusal.code())]);
        // For the access log only; where there is no room for it, the reply is still the right one.
        let _ = request.set_attribute("oidc.error", refusal.code());
        match refusal {
            Refusal::NoSession => {
                let login = format!("{}/login", self.settings.path);
                Refusal::challenge(&request.id(), &self.settings.realm, self.names.session(), &login)
            }
            refusal => refusal.reply(&request.id()),
        }
    }

    fn handle(&mut self, request: &Request) -> Result<Decision, Stop> {
        let jar = Jar::read(&self.names, request);
        let path = request.path();
        let reply = match self.own_path(&path) {
            None => return self.admit(request, &jar),
            Some(OwnPath::Login) => self.login_page(request, &jar)?,
            Some(OwnPath::Callback(name)) => self.callback(name, request, &jar)?,
            Some(OwnPath::Logout) => self.logout(request, &jar)?,
            Some(OwnPath::LoggedOut) => self.logged_out(),
            Some(OwnPath::BackchannelLogout(_)) if !self.settings.backchannel_logout => {
                return Err(Refusal::NotFound.into());
            }
            Some(OwnPath::BackchannelLogout(_)) if request.method() == "POST" => return Ok(Decision::ReadBody),
            Some(OwnPath::BackchannelLogout(_)) => return Err(Refusal::Method.into()),
            Some(OwnPath::Unknown) => return Err(Refusal::NotFound.into()),
        };
        Ok(reply.into())
    }

    fn own_path<'a>(&self, path: &'a str) -> Option<OwnPath<'a>> {
        let rest = path.strip_prefix(&self.settings.path)?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
        Some(match rest {
            "login" => OwnPath::Login,
            "logout" => OwnPath::Logout,
            "logged-out" => OwnPath::LoggedOut,
            rest => match rest.split_once('/') {
                Some(("callback", name)) => OwnPath::Callback(name),
                Some(("backchannel-logout", name)) => OwnPath::BackchannelLogout(name),
                _ => OwnPath::Unknown,
            },
        })
    }

    /// Lets a request with a session pass, and sends a browser without one to a login.
    fn admit(&mut self, request: &Request, jar: &Jar) -> Result<Decision, Stop> {
        let now = now(request);
        let refreshed = match self.find_session(jar, now)? {
            Some(found) => self.refresh(request, jar, found, now)?,
            None => Refreshed::Over,
        };
        let refreshed = match refreshed {
            // It began on a route that does not pass the access token on.
            Refreshed::Valid(found, _)
                if self.settings.forward_access_token && found.session.access_token.is_none() =>
            {
                Refreshed::Over
            }
            // One that is due is encrypted anew when it is refreshed. Another request may be doing that, and must not find its session
            // replaced by the old one.
            Refreshed::Valid(mut found, cookies) if found.by_old_key && !found.session.is_due(now) => {
                match self.keep_session(jar, &mut found, now)? {
                    Kept::Written(cookies) => Refreshed::Valid(found, cookies),
                    Kept::Gone => Refreshed::Over,
                    Kept::Changed => Refreshed::Valid(found, cookies),
                }
            }
            refreshed => refreshed,
        };
        match refreshed {
            Refreshed::Wait => Ok(Decision::AwaitRelease),
            Refreshed::Valid(found, cookies) => {
                self.announce(request, jar, &found, &cookies)?;
                Ok(Decision::Next)
            }
            Refreshed::Over if !self.settings.required => {
                jar.strip(&self.names, request)?;
                self.mapping.announce_anonymous(request)?;
                if self.settings.forward_access_token {
                    // The upstream takes it for the token of a user who logged in here.
                    request.remove_header("authorization")?;
                }
                Ok(Decision::Next)
            }
            Refreshed::Over if target::is_navigation(request) => {
                Ok(self.begin_login(request, jar, &request.original_target())?.into())
            }
            Refreshed::Over => Err(Refusal::NoSession.into()),
        }
    }

    /// Tells later plugins and the upstream who the user is. What the client said about that is removed, and so are the plugin's
    /// cookies.
    fn announce(&self, request: &Request, jar: &Jar, found: &Found, cookies: &[String]) -> Result<(), Stop> {
        let identity = self.mapping.identity(&found.claims, &found.session.id).map_err(|_| Refusal::UnusableClaim)?;
        jar.strip(&self.names, request)?;
        self.mapping.announce(&identity, request)?;
        // Digests of ID tokens, so that responses are not shared between the claims before a refresh and those after it.
        let token = seal::digest(&["id-token", &found.session.id_token])?;
        request.set_attribute(TOKEN, &token[..16])?;
        if self.settings.forward_access_token {
            // Routes with other options share the session, and may have put a token into it or not.
            match &found.session.access_token {
                Some(token) => request.set_header("authorization", format!("Bearer {token}"))?,
                None => request.remove_header("authorization")?,
            }
        }
        if !cookies.is_empty() {
            let values = (0..MAX_SET).map(|i| cookies.get(i).map(String::as_bytes));
            self.set_cookies.apply(request, None, values)?;
        }
        Ok(())
    }
}

impl Plugin for Oidc {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let at = Pointer::from("/providers");
        if config.providers.is_empty() || config.providers.len() > 16 {
            problems.add(&at, "needs 1 to 16 providers");
        }
        let mut providers: Vec<Provider> = Vec::new();
        for (i, provider) in config.providers.into_iter().enumerate() {
            let at = at.then(i);
            let provider = Provider::read(provider, config.timeout.0, &at, &mut problems);
            if providers.iter().any(|other| other.name == provider.name) {
                problems.add(at.then("name"), "is the name of another provider");
            }
            providers.push(provider);
        }
        let seal = Seal::read(config.keys, &mut problems);
        let bucket = Bucket::new(config.bucket.clone());
        // A missing grant should stop the gateway, not the first request. Another failure may pass.
        if let Err(StoreError::Denied(_)) = bucket.get("") {
            let name = &config.bucket;
            let cure =
                format!("the bucket `{name}` is not granted; add it to the plugin's `grants: {{ store: [{name}] }}`");
            problems.add("/bucket", cure);
        }
        check_path(&config.path, "/path", &mut problems);
        if let Some(origin) = &config.origin {
            match provider::split(origin) {
                Ok((own, "")) if own == *origin => {}
                _ => problems.add("/origin", "must be scheme, host and port in lower case: `https://app.example.com`"),
            }
        }
        problems.note("/cookie", names::check_token(&config.cookie));
        problems.note("/realm", names::check_quotable(&config.realm));
        let mut range = |place: &str, span: Span, least: u64, most: u64, text: &str| {
            if !(least..=most).contains(&(span.0.as_millis() as u64)) {
                problems.add(place, format!("must be {text}, is {span}"));
            }
        };
        range("/lifetime", config.lifetime, 60_000, 30 * 86_400_000, "from 1m to 30d");
        range("/login-timeout", config.login_timeout, 60_000, 3_600_000, "from 1m to 1h");
        range("/leeway", config.leeway, 0, 600_000, "at most 10m");
        range("/timeout", config.timeout, 1, 30_000, "from 1ms to 30s");
        let after_logout = match config.after_logout {
            Some(path) => {
                if !target::is_local(&path) {
                    problems.add("/after-logout", "must be a path from the root, such as `/`");
                }
                path
            }
            None => format!("{}/logged-out", config.path),
        };
        let issuers: BTreeSet<&str> = providers.iter().map(|provider| provider.issuer.as_str()).collect();
        let headers = &config.claims_to_headers.0;
        if issuers.len() > 1
            && !headers.is_empty()
            && !headers.values().any(|claim| matches!(claim.as_str(), "iss" | "/iss"))
        {
            let cure = "needs a header with the claim `iss`, such as `x-issuer: iss`: with several issuers, claims such as `sub` of \
                        different users can be the same";
            problems.add("/claims-to-headers", cure);
        }
        if config.claims_to_attributes.0.contains_key(TOKEN) {
            problems.add(Pointer::from("/claims-to-attributes").then(TOKEN), "is set by the plugin itself");
        }
        let mapping =
            Mapping::read("oidc", "oidc.session", config.claims_to_headers, config.claims_to_attributes, &mut problems);
        for name in mapping.header_names().filter(|name| *name == "cookie" || *name == "authorization") {
            problems.add(Pointer::from("/claims-to-headers").then(name), "is set by the plugin or the client");
        }
        let set = (0..MAX_SET).map(|_| Edit::append_response_header("set-cookie"));
        let set_cookies =
            Edits::new(&set.chain([Edit::set_response_header("cache-control").always("no-store")]).collect::<Vec<_>>());
        problems.or(Self {
            settings: Settings {
                sessions: config.sessions,
                path: config.path,
                origin: config.origin,
                secure: !config.insecure_cookies,
                lifetime: millis(config.lifetime),
                refresh_ahead: millis(config.refresh_ahead),
                login_timeout: millis(config.login_timeout),
                leeway: millis(config.leeway),
                timeout: config.timeout.0,
                required: config.required,
                forward_access_token: config.forward_access_token,
                after_logout,
                backchannel_logout: config.backchannel_logout,
                realm: config.realm,
            },
            providers,
            seal,
            names: Names::new(&config.cookie, !config.insecure_cookies),
            mapping,
            set_cookies,
            bucket,
        })
    }
}

/// A path of unreserved characters, which has one spelling.
fn check_path(path: &str, at: &str, problems: &mut Problems) {
    let legal = |segment: &str| {
        !segment.is_empty()
            && !matches!(segment, "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    if !path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(legal)) {
        problems.add(at, "must be a path from the root of letters, digits, `-`, `.`, `_` and `~`, such as `/oidc`");
    }
}

fn millis(span: Span) -> i64 {
    i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX)
}

export_plugin!(Oidc: request, request_body);
