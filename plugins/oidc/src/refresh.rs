//! Refreshing the tokens of a session (OpenID Connect Core 1.0 §12), once for all requests that need it.
//!
//! Many providers accept a refresh token once and end the session if it comes a second time. So one request of all gateways refreshes:
//! the one that holds a lease of the store. Others go on while their tokens are valid, and otherwise wait until it is released. What
//! the holder got is in the store for them: the stored session itself; or, where sessions are in cookies, the new session, for
//! requests that the browser had sent with the old cookie.
//!
//! A lease ends with its exchange, also if the client has left and nothing is known about the request that was sent to the provider.
//! So there is a mark beside it that a refresh was begun. It goes when the refresh has succeeded; until it ends by itself, no other
//! refresh is tried.

use std::time::Duration;

use plugin_sdk::{
    Request, clock, metrics,
    store::{Acquisition, Scope, StoreError, Wake},
    warn,
};

use crate::{
    Oidc,
    config::Sessions,
    id_token::{Expected, text, time, verified_claims},
    jar::Jar,
    refusal::{Refusal, Stop},
    seal::digest,
    session::{Found, Kept, Session},
    tokens::Grant,
};

/// How long the result is there for requests with the old cookie.
const RESULT_TTL: Duration = Duration::from_secs(300);
/// How often a refreshed session is written over one that another request only encrypted anew.
const MAX_SWAPS: usize = 4;

/// What became of the session.
pub(crate) enum Refreshed {
    /// It is still valid, or was refreshed; with the cookies to set.
    Valid(Box<Found>, Vec<String>),
    Over,
    /// Another request refreshes it: the plugin is to be called again.
    Wait,
}

impl Oidc {
    /// Refreshes the session if it is time.
    pub(crate) fn refresh(&mut self, request: &Request, jar: &Jar, found: Found, now: i64) -> Result<Refreshed, Stop> {
        let expired = now >= found.session.expires;
        let Some(token) = found.session.refresh_token.clone() else {
            return Ok(if expired { Refreshed::Over } else { unchanged(found) });
        };
        if !found.session.is_due(now) {
            return Ok(unchanged(found));
        }
        let key = {
            let own = &self.providers[found.provider];
            digest(&["refresh", &own.issuer, &own.client_id, &token])?
        };
        let found = match self.look(jar, found, &key, false, now) {
            Ok(Ok(refreshed)) => return Ok(refreshed),
            Ok(Err(found)) => found,
            Err(stop) => return Err(stop),
        };
        let lock = format!("refresh:{key}");
        let lease = match self.bucket.acquire(&lock, 1, self.pause(), Scope::Shared) {
            Ok(Acquisition { lease: Some(lease), .. }) => lease,
            Ok(_) if expired => return self.wait(request, &lock),
            Ok(_) => return Ok(unchanged(found)),
            Err(StoreError::Unavailable(_)) if !expired => return Ok(unchanged(found)),
            Err(error) => return Err(error.into()),
        };
        let refreshed = self.refresh_alone(jar, found, &token, &key, now);
        // Those that wait go on now, and not when the upstream has answered. If that fails, the gateway releases it.
        let _ = self.bucket.release(&lock, &lease);
        refreshed
    }

    /// Waits for the request that refreshes, for as long as that may take.
    fn wait(&self, request: &Request, lock: &str) -> Result<Refreshed, Stop> {
        let waited = clock::since_epoch().saturating_sub(Duration::from_millis(request.received_at()));
        let left = self.pause().saturating_sub(waited);
        // All of them need the result alone.
        if !left.is_zero() && self.bucket.wait_for_lease(lock, 1, left, Wake::All, Scope::Shared)? {
            return Ok(Refreshed::Wait);
        }
        Err(Refusal::RefreshFailed.into())
    }

    /// How long a refresh may take, and how long none is tried after one that failed. A refresh fetches metadata, keys and tokens; if
    /// another one began meanwhile, the provider would see the refresh token twice.
    fn pause(&self) -> Duration {
        3 * self.settings.timeout + Duration::from_secs(5)
    }

    fn refresh_alone(&mut self, jar: &Jar, found: Found, token: &str, key: &str, now: i64) -> Result<Refreshed, Stop> {
        let expired = now >= found.session.expires;
        let first = match self.bucket.increment(&mark(key), 1, Some(self.pause())) {
            Ok(count) => count == 1,
            Err(StoreError::Unavailable(_)) if !expired => return Ok(unchanged(found)),
            Err(error) => return Err(error.into()),
        };
        // Another request may have done it after this one looked for its session.
        let found = match self.look(jar, found, key, true, now)? {
            Ok(refreshed) => return Ok(refreshed),
            Err(found) => found,
        };
        if !first {
            return if expired { Err(Refusal::RefreshFailed.into()) } else { Ok(unchanged(found)) };
        }
        let name = self.providers[found.provider].name.clone();
        let count = |result: &str| metrics::add("oidc_refreshes", 1, &[("provider", &name), ("result", result)]);
        match self.exchange(&found, token, now) {
            Ok(Some(session)) => {
                count("refreshed");
                self.share(jar, found, session, key, now)
            }
            Ok(None) => {
                count("refused");
                if found.stored.is_none() {
                    self.bucket.set(&format!("refreshed:{key}"), b"", Some(RESULT_TTL))?;
                } else if !self.end_unrefreshed(&found)? {
                    match self.look(jar, found, key, true, now)? {
                        Ok(refreshed) => return Ok(refreshed),
                        Err(same) => self.end_session(&same, now)?,
                    }
                }
                Ok(Refreshed::Over)
            }
            // The tokens are still valid: that the provider fails is no reason to turn the user away.
            Err(Stop::Refused(_)) if !expired => {
                count("failed");
                Ok(unchanged(found))
            }
            Err(stop) => {
                count("failed");
                Err(stop)
            }
        }
    }

    /// The refreshed session; none if the provider does not accept the refresh token.
    fn exchange(&mut self, found: &Found, token: &str, now: i64) -> Result<Option<Session>, Stop> {
        let own = &mut self.providers[found.provider];
        // The provider may accept the refresh token only once: all that can fail before it is used has to.
        own.fetch_keys()?;
        let tokens = match own.request_tokens(&[("grant_type", "refresh_token"), ("refresh_token", token)])? {
            Grant::Issued(tokens) => tokens,
            Grant::Invalid => return Ok(None),
        };
        let mut session = found.session.clone();
        let mut expires = None;
        if let Some(id_token) = &tokens.id_token {
            let expected = Expected {
                now,
                leeway: self.settings.leeway,
                nonce: session.nonce.as_deref(),
                subject: text(&found.claims, "sub"),
                authenticated_since: None,
                access_token: &tokens.access_token,
            };
            let claims = own.verify_id_token(id_token, &expected)?;
            expires = time(&claims, "exp").map(|expires| expires.saturating_sub(now) / 1000);
            session.id_token.clone_from(id_token);
        }
        // The routes that share a session need not all pass the token on.
        let keeps_access_token = self.settings.forward_access_token || session.access_token.is_some();
        self.take_over(&mut session, tokens, expires, now, keeps_access_token);
        Ok(Some(session))
    }

    /// Keeps the refreshed session, also for the requests that come with the old cookie.
    fn share(&self, jar: &Jar, found: Found, session: Session, key: &str, now: i64) -> Result<Refreshed, Stop> {
        if self.settings.sessions == Sessions::Cookie {
            let text = serde_json::to_vec(&session).map_err(|error| Stop::Failed(error.into()))?;
            let place = format!("refreshed:{key}");
            let sealed = self.seal.seal(&text, &self.providers[found.provider].context("refreshed", &place))?;
            // The browser gets the session in any case.
            if let Err(error) = self.bucket.set(&place, &sealed, Some(RESULT_TTL)) {
                warn!("a refreshed session cannot be shared with requests that are under way: {error}");
                return self.renewed(jar, found, session, now);
            }
        }
        let refreshed = self.renewed(jar, found, session, now)?;
        // The next refresh may have the same refresh token. A mark that stays ends by itself.
        let _ = self.bucket.delete(&mark(key));
        Ok(refreshed)
    }

    /// What another request has got; or else the session as it was.
    fn look(
        &self,
        jar: &Jar,
        found: Found,
        key: &str,
        again: bool,
        now: i64,
    ) -> Result<Result<Refreshed, Found>, Stop> {
        match self.settings.sessions {
            Sessions::Store if !again => Ok(Err(found)),
            Sessions::Store => match self.find_session(jar, now)? {
                Some(newer) if newer.session.expires > found.session.expires => Ok(Ok(unchanged(newer))),
                Some(same) => Ok(Err(same)),
                None => Ok(Ok(Refreshed::Over)),
            },
            Sessions::Cookie => {
                let place = format!("refreshed:{key}");
                let sealed = match self.bucket.get(&place) {
                    Ok(Some(sealed)) => sealed,
                    Ok(None) | Err(StoreError::Unavailable(_)) => return Ok(Err(found)),
                    Err(error) => return Err(error.into()),
                };
                if sealed.is_empty() {
                    return Ok(Ok(Refreshed::Over));
                }
                let opened = self.seal.open(&sealed, &self.providers[found.provider].context("refreshed", &place))?;
                let session = opened.and_then(|opened| serde_json::from_slice::<Session>(&opened.bytes).ok());
                match session {
                    // With a refresh token that stays the same, the result may be the very session of the cookie.
                    Some(session) if session.id == found.session.id && session.expires > found.session.expires => {
                        self.renewed(jar, found, session, now).map(Ok)
                    }
                    _ => Ok(Err(found)),
                }
            }
        }
    }

    fn renewed(&self, jar: &Jar, mut found: Found, session: Session, now: i64) -> Result<Refreshed, Stop> {
        for _ in 0..MAX_SWAPS {
            found.claims = verified_claims(&session.id_token).ok_or(Refusal::IdToken)?;
            found.session = session.clone();
            match self.keep_session(jar, &mut found, now)? {
                Kept::Written(cookies) => return Ok(Refreshed::Valid(Box::new(found), cookies)),
                Kept::Gone => return Ok(Refreshed::Over),
                Kept::Changed => match self.find_session(jar, now)? {
                    None => return Ok(Refreshed::Over),
                    Some(newer) if newer.session.expires >= session.expires => return Ok(unchanged(newer)),
                    Some(older) => found = older,
                },
            }
        }
        Err(Refusal::RefreshFailed.into())
    }
}

/// The key of the mark that a refresh was begun.
fn mark(key: &str) -> String {
    format!("refreshing:{key}")
}

fn unchanged(found: Found) -> Refreshed {
    Refreshed::Valid(Box::new(found), Vec::new())
}
