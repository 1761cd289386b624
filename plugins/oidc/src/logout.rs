//! Logouts: by the user (RP-Initiated Logout 1.0) and by the provider (Back-Channel Logout 1.0).

use plugin_sdk::{Body, Reply, Request, metrics, query, warn};

use crate::{
    Oidc,
    id_token::{text, time},
    jar::Jar,
    login::{escape, now, page, with_cookies},
    provider::split,
    refusal::{Refusal, Stop},
    session::millis,
};

/// A longer ID token is left out of the URL of the provider's logout; `client_id` is there as well.
const MAX_HINT: usize = 4096;

impl Oidc {
    /// `PATH/logout`: ends the session here, and sends the browser to the provider to end the one there.
    pub(crate) fn logout(&mut self, request: &Request, jar: &Jar) -> Result<Reply, Stop> {
        if !matches!(request.method().as_str(), "GET" | "HEAD" | "POST") {
            return Err(Refusal::Method.into());
        }
        self.check_intent(request)?;
        let now = now(request);
        let found = self.find_session(jar, now)?;
        let mut location = self.settings.after_logout.clone();
        if let Some(found) = &found {
            let after = format!("{}{}", self.origin(request), self.settings.after_logout);
            self.end_session(found, now)?;
            let own = &mut self.providers[found.provider];
            // Without the provider the user is logged out here at least.
            if let Ok(Some(endpoint)) = own.metadata().map(|metadata| metadata.end_session_endpoint.clone()) {
                let mut parameters = vec![("client_id", own.client_id.as_str()), ("post_logout_redirect_uri", &after)];
                if found.session.id_token.len() <= MAX_HINT {
                    parameters.push(("id_token_hint", &found.session.id_token));
                }
                let mark = if endpoint.contains('?') { '&' } else { '?' };
                location = format!("{endpoint}{mark}{}", query::form(parameters));
            }
            metrics::add("oidc_logouts", 1, &[("provider", &own.name), ("by", "user")]);
        }
        Ok(with_cookies(Reply::redirect(303, &location), jar.remove_session(&self.names)))
    }

    /// Another site must not log users out, by a link, an image or a form, and neither must a browser that fetches ahead what the user
    /// may never visit. Browsers say who makes a request and why (W3C Fetch Metadata); older ones at least where it comes from.
    fn check_intent(&self, request: &Request) -> Result<(), Refusal> {
        let is_ahead = |name| {
            request.header(name).is_some_and(|purpose| purpose.to_ascii_lowercase().split([';', ',']).any(is_prefetch))
        };
        if ["sec-purpose", "purpose", "x-moz"].into_iter().any(is_ahead) {
            return Err(Refusal::CrossSite);
        }
        // A script of the same site may log the user out, but by a method that nothing sends unasked.
        let mode = request.header("sec-fetch-mode");
        if request.method() != "POST" && mode.is_some_and(|mode| mode != "navigate") {
            return Err(Refusal::CrossSite);
        }
        if let Some(site) = request.header("sec-fetch-site") {
            let is_own = matches!(site.as_str(), "same-origin" | "none");
            return if is_own { Ok(()) } else { Err(Refusal::CrossSite) };
        }
        let Some(from) = request.header("origin").or_else(|| request.header("referer")) else { return Ok(()) };
        let from = split(from.split('#').next().unwrap_or_default());
        let own = self.origin(request);
        match (from, split(&own)) {
            (Ok((from, _)), Ok((own, _))) if from == own => Ok(()),
            _ => Err(Refusal::CrossSite),
        }
    }

    /// `PATH/logged-out`.
    pub(crate) fn logged_out(&self) -> Reply {
        let link = format!("{}/login", self.settings.path);
        page("Logged out", &format!("<p>You are logged out. <a href=\"{}\">Log in again</a></p>", escape(&link)))
    }

    /// `PATH/backchannel-logout/NAME`: the provider says that a session, or all sessions of a user, are over.
    pub(crate) fn backchannel_logout(&mut self, name: &str, request: &Request, body: &Body) -> Result<Reply, Stop> {
        let provider = self.provider_called(name)?;
        let content_type = request.header("content-type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::InvalidRequest.into());
        }
        let form = std::str::from_utf8(&body.bytes).map_err(|_| Refusal::InvalidRequest)?;
        let mut tokens = query::pairs(form).filter(|(name, _)| query::decode(name) == "logout_token");
        let (Some((_, token)), None) = (tokens.next(), tokens.next()) else {
            return Err(Refusal::InvalidRequest.into());
        };
        let now = now(request);
        let leeway = self.settings.leeway;
        let claims = self.providers[provider].verify_logout_token(&query::decode(token), now, leeway)?;
        // With a `sid` one session is over; without, all of the user's.
        let whose = match (text(&claims, "sid"), text(&claims, "sub")) {
            (Some(sid), _) => ("sid", sid),
            (None, subject) => ("sub", subject.unwrap_or_default()),
        };
        let left = time(&claims, "exp").unwrap_or(now).saturating_add(leeway).saturating_sub(now).max(1000);
        let id = crate::seal::digest(&[name, text(&claims, "jti").unwrap_or_default()])?;
        self.once(&id, left, || self.note_logout(provider, &[whose], now))?;
        metrics::add("oidc_logouts", 1, &[("provider", name), ("by", "provider")]);
        Ok(Reply::new(200).with_header("cache-control", "no-store"))
    }

    /// Does what a logout token says, unless it was used before (§2.6). If that fails, the token counts as unused: the provider sends
    /// it again.
    pub(crate) fn once(&self, id: &str, left: i64, act: impl FnOnce() -> Result<(), Stop>) -> Result<(), Stop> {
        let key = format!("logout-token:{id}");
        if self.bucket.increment(&key, 1, Some(millis(left)))? > 1 {
            return Err(Refusal::LogoutToken.into());
        }
        act().inspect_err(|_| {
            if let Err(error) = self.bucket.delete(&key) {
                warn!("a logout token stays used although its logout failed: {error}");
            }
        })
    }
}

fn is_prefetch(purpose: &str) -> bool {
    matches!(purpose.trim(), "prefetch" | "prerender" | "preview")
}
