//! The authorization code flow with PKCE (OpenID Connect Core 1.0 §3.1, RFC 7636, RFC 9700).

use plugin_jose::base64;
use plugin_sdk::{
    Reply, Request,
    crypto::{self, HashFunction},
    metrics, query, warn,
};
use serde::{Deserialize, Serialize};

use crate::{
    Oidc,
    config::Sessions,
    id_token::{Expected, text, time},
    jar::Jar,
    refusal::{Refusal, Stop},
    seal::random,
    session::{Found, Kept, Session, millis},
    target,
    tokens::{Grant, Tokens, is_error_code},
};

/// What is remembered of a login until the callback.
#[derive(Serialize, Deserialize)]
struct Login {
    #[serde(rename = "s")]
    state: String,
    #[serde(rename = "n")]
    nonce: String,
    #[serde(rename = "v")]
    verifier: String,
    #[serde(rename = "t")]
    target: String,
    #[serde(rename = "x")]
    expires: i64,
    /// It began on a route that passes the access token on. The callback may be on another route with the same sessions.
    #[serde(rename = "f", default)]
    keeps_access_token: bool,
}

/// If the provider does not say how long its tokens are valid.
const UNKNOWN_LIFETIME: i64 = 300;

impl Oidc {
    /// Sends the browser to a provider, or to the page where the user chooses one.
    pub(crate) fn begin_login(&mut self, request: &Request, jar: &Jar, target: &str) -> Result<Reply, Stop> {
        let target = target::to_return_to(target, &self.settings.path);
        match self.providers.len() {
            1 => self.login_at(0, request, jar, target),
            _ => {
                let page = format!("{}/login?{}", self.settings.path, query::form([("return-to", target.as_str())]));
                Ok(Reply::redirect(302, &page))
            }
        }
    }

    /// `PATH/login?provider=NAME&return-to=TARGET`.
    pub(crate) fn login_page(&mut self, request: &Request, jar: &Jar) -> Result<Reply, Stop> {
        if !matches!(request.method().as_str(), "GET" | "HEAD") {
            return Err(Refusal::Method.into());
        }
        let target = request.query_parameter("return-to").unwrap_or_else(|| "/".to_owned());
        let target = target::to_return_to(&target, &self.settings.path);
        match request.query_parameter("provider") {
            Some(name) => {
                let provider = self.provider_called(&name)?;
                self.login_at(provider, request, jar, target)
            }
            None if self.providers.len() == 1 => self.login_at(0, request, jar, target),
            None => Ok(self.chooser(&target)),
        }
    }

    fn login_at(&mut self, provider: usize, request: &Request, jar: &Jar, target: String) -> Result<Reply, Stop> {
        let origin = self.origin(request);
        if self.settings.secure && !origin.starts_with("https:") {
            // The browser would not store the cookies, and log in without end.
            warn!("a login needs https: set `origin`, trust the proxy that ends TLS, or set `insecure-cookies`");
            return Err(Refusal::NeedsTls.into());
        }
        let now = now(request);
        let redirect_uri = self.redirect_uri(provider, &origin);
        let authorization_endpoint = self.providers[provider].metadata()?.authorization_endpoint.clone();
        let state = format!("{:08x}{}", (now / 1000) as u32, hex(&crypto::random_bytes(20)?));
        let name = self.names.login(&state).ok_or(Stop::Refused(Refusal::InvalidRequest))?;
        let login = Login {
            state,
            nonce: random(16)?,
            verifier: random(32)?,
            target,
            expires: now.saturating_add(self.settings.login_timeout),
            keeps_access_token: self.settings.forward_access_token,
        };
        let bytes = serde_json::to_vec(&login).map_err(|error| Stop::Failed(error.into()))?;
        let own = &self.providers[provider];
        let sealed = self.seal.seal(&bytes, &own.context("login", &name))?;
        let challenge = base64::encode_url(&crypto::digest(HashFunction::Sha256, login.verifier.as_bytes())?);
        let scope = own.scopes.join(" ");
        let parameters = [
            ("response_type", "code"),
            ("client_id", &own.client_id),
            ("redirect_uri", &redirect_uri),
            ("scope", &scope),
            ("state", &login.state),
            ("nonce", &login.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let more = own.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let parameters = query::form(parameters.into_iter().chain(more));
        let mark = if authorization_endpoint.contains('?') { '&' } else { '?' };
        let seconds = u64::try_from(self.settings.login_timeout / 1000).unwrap_or(0);
        let cookies = jar.set_login(&self.names, &name, &base64::encode_url(&sealed), seconds);
        metrics::add("oidc_logins", 1, &[("provider", &own.name), ("result", "begun")]);
        Ok(with_cookies(Reply::redirect(302, &format!("{authorization_endpoint}{mark}{parameters}")), cookies))
    }

    /// `PATH/callback/NAME`: what the provider sends the browser back with.
    pub(crate) fn callback(&mut self, name: &str, request: &Request, jar: &Jar) -> Result<Reply, Stop> {
        if !matches!(request.method().as_str(), "GET" | "HEAD") {
            return Err(Refusal::Method.into());
        }
        let provider = self.provider_called(name)?;
        let parameters = Parameters::read(&request.query().unwrap_or_default())?;
        let state = parameters.state.as_deref().ok_or(Refusal::InvalidRequest)?;
        let cookie = self.names.login(state).ok_or(Refusal::UnknownLogin)?;
        let login = self.login_of(provider, &cookie, state, jar, now(request))?;
        // From here on the login is over, whatever comes of it.
        let removal = Jar::remove_login(&self.names, &cookie);
        let reply = match self.complete(provider, &login, &parameters, request, jar) {
            Ok(reply) => reply,
            Err(Stop::Refused(refusal)) => self.refuse(request, refusal),
            Err(failed) => return Err(failed),
        };
        let result = if reply.status == 302 { "completed" } else { "failed" };
        metrics::add("oidc_logins", 1, &[("provider", name), ("result", result)]);
        Ok(with_cookies(reply, vec![removal]))
    }

    /// The login that this browser began, once.
    fn login_of(&self, provider: usize, cookie: &str, state: &str, jar: &Jar, now: i64) -> Result<Login, Stop> {
        let sealed = jar.get(cookie).and_then(|value| base64::decode_url(value.as_bytes()));
        let sealed = sealed.ok_or(Refusal::UnknownLogin)?;
        let opened = self.seal.open(&sealed, &self.providers[provider].context("login", cookie))?;
        let login = opened.and_then(|opened| serde_json::from_slice::<Login>(&opened.bytes).ok());
        let login = login.filter(|login| login.state == state && now < login.expires).ok_or(Refusal::UnknownLogin)?;
        // A code is for one use as well, but only the provider knows that.
        let ttl = millis(login.expires.saturating_sub(now));
        if self.bucket.increment(&format!("login:{state}"), 1, Some(ttl))? > 1 {
            return Err(Refusal::UnknownLogin.into());
        }
        Ok(login)
    }

    fn complete(
        &mut self,
        provider: usize,
        login: &Login,
        parameters: &Parameters,
        request: &Request,
        jar: &Jar,
    ) -> Result<Reply, Stop> {
        let origin = self.origin(request);
        let own = &mut self.providers[provider];
        // RFC 9207 §2.4. It comes first: nothing of a response of another provider counts.
        let announced = own.metadata()?.iss_in_responses;
        match &parameters.iss {
            Some(issuer) if *issuer != own.issuer => return Err(Refusal::OtherIssuer.into()),
            None if announced => return Err(Refusal::OtherIssuer.into()),
            _ => {}
        }
        if let Some(error) = &parameters.error {
            let error = if is_error_code(error) { error } else { "an error" };
            warn!("the provider responded to a login with {error}"; provider = own.name);
            return Err(match error {
                "access_denied"
                | "login_required"
                | "interaction_required"
                | "consent_required"
                | "account_selection_required" => Refusal::LoginDenied,
                "server_error" | "temporarily_unavailable" => Refusal::ProviderUnavailable,
                _ => Refusal::ProviderError,
            }
            .into());
        }
        let code = parameters.code.as_deref().ok_or(Refusal::InvalidRequest)?;
        let redirect_uri = self.redirect_uri(provider, &origin);
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", &login.verifier),
        ];
        let own = &mut self.providers[provider];
        let tokens = match own.request_tokens(&grant)? {
            Grant::Issued(tokens) => tokens,
            Grant::Invalid => return Err(Refusal::CodeRefused.into()),
        };
        let now = now(request);
        let id_token = tokens.id_token.clone().ok_or(Refusal::IdToken)?;
        let expected = Expected {
            now,
            leeway: self.settings.leeway,
            nonce: Some(&login.nonce),
            subject: None,
            authenticated_since: own.max_age.map(|max_age| {
                // A second more: `auth_time` is in whole seconds.
                let begun = login.expires.saturating_sub(self.settings.login_timeout);
                begun.saturating_sub(max_age.saturating_mul(1000)).saturating_sub(1000)
            }),
            access_token: &tokens.access_token,
        };
        let claims = own.verify_id_token(&id_token, &expected)?;
        let mut session = Session {
            id: random(16)?,
            id_token,
            nonce: Some(login.nonce.clone()),
            sid: text(&claims, "sid").map(str::to_owned),
            refresh_token: None,
            access_token: None,
            begun: now,
            expires: 0,
            refresh_at: 0,
        };
        let expires = time(&claims, "exp").map(|expires| expires.saturating_sub(now) / 1000);
        let keeps_access_token = self.settings.forward_access_token || login.keeps_access_token;
        self.take_over(&mut session, tokens, expires, now, keeps_access_token);
        let mut found = Found { provider, session, claims, stored: None, by_old_key: false };
        let Kept::Written(mut cookies) = self.keep_session(jar, &mut found, now)? else {
            return Err(Refusal::StoreUnavailable.into());
        };
        if self.settings.sessions == Sessions::Cookie {
            let seconds = u64::try_from(self.settings.lifetime / 1000).unwrap_or(1);
            cookies.push(Jar::set_id(&self.names, &found.session.id, seconds));
        }
        // The browser gets the new session in any case; the previous one ends by itself.
        if let Err(Stop::Failed(error)) = self.delete_previous(jar) {
            warn!("the previous session cannot be deleted: {error}");
        }
        Ok(with_cookies(Reply::redirect(302, &login.target), cookies))
    }

    /// Puts tokens that were issued now into a session. `expires` is for how many seconds the ID token is valid.
    pub(crate) fn take_over(
        &self,
        session: &mut Session,
        tokens: Tokens,
        expires: Option<i64>,
        now: i64,
        keeps_access_token: bool,
    ) {
        let seconds = tokens.expires_in.or(expires).unwrap_or(UNKNOWN_LIFETIME);
        let valid = seconds.saturating_mul(1000).clamp(1000, self.settings.lifetime);
        session.expires = now.saturating_add(valid);
        session.refresh_at = session.expires - self.settings.refresh_ahead.min(valid / 2);
        // A provider that issues no new refresh token leaves the old one valid (RFC 6749 §6).
        session.refresh_token = tokens.refresh_token.or(session.refresh_token.take());
        session.access_token = keeps_access_token.then_some(tokens.access_token);
    }

    pub(crate) fn provider_called(&self, name: &str) -> Result<usize, Refusal> {
        self.providers.iter().position(|provider| provider.name == name).ok_or(Refusal::NotFound)
    }

    /// Scheme, host and port by which the browser reaches the gateway.
    pub(crate) fn origin(&self, request: &Request) -> String {
        match &self.settings.origin {
            Some(origin) => origin.clone(),
            None => format!("{}://{}", request.scheme(), request.authority()),
        }
    }

    /// One for each provider, so that a response says which provider it is from (RFC 9700 §4.4.2).
    fn redirect_uri(&self, provider: usize, origin: &str) -> String {
        format!("{origin}{}/callback/{}", self.settings.path, self.providers[provider].name)
    }

    /// The page where users choose a provider.
    fn chooser(&self, target: &str) -> Reply {
        let mut links = String::new();
        for provider in &self.providers {
            let query = query::form([("provider", provider.name.as_str()), ("return-to", target)]);
            let link = format!("{}/login?{query}", self.settings.path);
            links += &format!("<li><a href=\"{}\">{}</a></li>\n", escape(&link), escape(&provider.label));
        }
        page("Log in", &format!("<ul>\n{links}</ul>"))
    }
}

/// The parameters of an authorization response. One that occurs twice makes it invalid (RFC 6749 §3.1).
#[derive(Default)]
struct Parameters {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

impl Parameters {
    fn read(text: &str) -> Result<Self, Refusal> {
        let mut parameters = Self::default();
        for (name, value) in query::pairs(text) {
            let place = match &*query::decode(name) {
                "state" => &mut parameters.state,
                "code" => &mut parameters.code,
                "iss" => &mut parameters.iss,
                "error" => &mut parameters.error,
                _ => continue,
            };
            if place.replace(query::decode(value).into_owned()).is_some() {
                return Err(Refusal::InvalidRequest);
            }
        }
        Ok(parameters)
    }
}

/// When the request arrived, in milliseconds since the Unix epoch.
pub(crate) fn now(request: &Request) -> i64 {
    i64::try_from(request.received_at()).unwrap_or(i64::MAX)
}

pub(crate) fn with_cookies(mut reply: Reply, cookies: Vec<String>) -> Reply {
    for cookie in cookies {
        reply = reply.with_header("set-cookie", cookie);
    }
    reply
}

/// A page without scripts, which no other page can frame.
pub(crate) fn page(title: &str, content: &str) -> Reply {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<h1>{title}</h1>\n{content}\n"
    );
    Reply::new(200)
        .with_header("cache-control", "no-store")
        .with_header("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
        .with_header("referrer-policy", "no-referrer")
        .with_body("text/html; charset=utf-8", html)
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
