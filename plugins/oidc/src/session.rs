//! Sessions: in encrypted cookies, or in the store.

use std::time::Duration;

use plugin_sdk::store::{Operation, OperationResult, SwapResult};
use serde::{Deserialize, Serialize};

use crate::{
    Oidc,
    config::Sessions,
    id_token::{Claims, text, verified_claims},
    jar::Jar,
    refusal::{Refusal, Stop},
    seal::{digest, random},
};

/// What is kept of a login. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Random; it tells the sessions of a user apart and is no credential.
    #[serde(rename = "s")]
    pub(crate) id: String,
    #[serde(rename = "i")]
    pub(crate) id_token: String,
    /// Of the login's ID token. A refreshed one need not have it, and must not have another (Core §12.2).
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<String>,
    /// The provider's session of the login. A refreshed ID token need not have it, and may have another.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<String>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
    /// Only if it is passed on.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) access_token: Option<String>,
    #[serde(rename = "b")]
    pub(crate) begun: i64,
    /// When the tokens expire.
    #[serde(rename = "x")]
    pub(crate) expires: i64,
    /// When the tokens are to be refreshed.
    #[serde(rename = "f")]
    pub(crate) refresh_at: i64,
}

impl Session {
    /// Whether its tokens are to be refreshed.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        self.refresh_token.is_some() && now >= self.refresh_at
    }
}

/// The session of a request.
pub(crate) struct Found {
    /// Position of its provider.
    pub(crate) provider: usize,
    pub(crate) session: Session,
    pub(crate) claims: Claims,
    /// If the session is in the store.
    pub(crate) stored: Option<Stored>,
    /// It is encrypted with another key than the one that encrypts.
    pub(crate) by_old_key: bool,
}

/// A session in the store, as it was read.
pub(crate) struct Stored {
    /// What the cookie has.
    pub(crate) handle: String,
    pub(crate) sealed: Vec<u8>,
}

/// The result of keeping a session.
pub(crate) enum Kept {
    /// It is written, with the cookies to set; none if the browser's is still the right one.
    Written(Vec<String>),
    /// The stored session was deleted since it was read, by a logout. It stays so.
    Gone,
    /// Another request has written the stored session since it was read. That one stays.
    Changed,
}

impl Oidc {
    /// The session of a request, if it has a valid one. What is not valid is as good as nothing: the user logs in again.
    pub(crate) fn find_session(&self, jar: &Jar, now: i64) -> Result<Option<Found>, Stop> {
        let Some(value) = jar.session(&self.names) else { return Ok(None) };
        let Some((name, secret)) = value.split_once('.') else { return Ok(None) };
        let Some(provider) = self.providers.iter().position(|provider| provider.name == name) else { return Ok(None) };
        let (sealed, purpose, place) = match self.settings.sessions {
            Sessions::Cookie => {
                let sealed = plugin_jose::base64::decode_url(secret.as_bytes());
                (sealed, "session", self.names.session().to_owned())
            }
            Sessions::Store if !is_handle(secret) => return Ok(None),
            Sessions::Store => {
                let key = store_key(secret)?;
                (self.bucket.get(&key)?, "stored", key)
            }
        };
        let Some(sealed) = sealed else { return Ok(None) };
        let context = self.providers[provider].context(purpose, &place);
        let Some(opened) = self.seal.open(&sealed, &context)? else { return Ok(None) };
        let Ok(session) = serde_json::from_slice::<Session>(&opened.bytes) else { return Ok(None) };
        let Some(claims) = verified_claims(&session.id_token) else { return Ok(None) };
        // Set again by a response that came after the one to a logout (`jar`).
        let is_stale =
            self.settings.sessions == Sessions::Cookie && jar.get(&self.names.id()) != Some(session.id.as_str());
        let is_over = is_stale
            || now >= session.begun.saturating_add(self.settings.lifetime)
            || session.begun > now.saturating_add(self.settings.leeway);
        if is_over || self.is_logged_out(provider, &session, &claims)? {
            return Ok(None);
        }
        let stored = match self.settings.sessions {
            Sessions::Cookie => None,
            Sessions::Store => Some(Stored { handle: secret.to_owned(), sealed }),
        };
        Ok(Some(Found { provider, session, claims, stored, by_old_key: opened.by_old_key }))
    }

    /// Keeps a session. A stored one is only written over what was read: a logout, or another request that was faster, stays in effect.
    pub(crate) fn keep_session(&self, jar: &Jar, found: &mut Found, now: i64) -> Result<Kept, Stop> {
        let provider = &self.providers[found.provider];
        let end = found.session.begun.saturating_add(self.settings.lifetime);
        let end = if found.session.refresh_token.is_some() { end } else { end.min(found.session.expires) };
        let left = end.saturating_sub(now).max(1000);
        let text = serde_json::to_vec(&found.session).map_err(|error| Stop::Failed(error.into()))?;
        let secret = match self.settings.sessions {
            Sessions::Cookie => {
                let context = provider.context("session", self.names.session());
                plugin_jose::base64::encode_url(&self.seal.seal(&text, &context)?)
            }
            Sessions::Store => {
                let handle = match &found.stored {
                    Some(stored) => stored.handle.clone(),
                    None => random(32)?,
                };
                let key = store_key(&handle)?;
                let sealed = self.seal.seal(&text, &provider.context("stored", &key))?;
                let read = found.stored.as_ref().map(|stored| stored.sealed.as_slice());
                match self.bucket.compare_and_swap(&key, read, Some(&sealed), Some(millis(left)))? {
                    SwapResult::Swapped => {}
                    SwapResult::Different(None) => return Ok(Kept::Gone),
                    SwapResult::Different(Some(_)) => return Ok(Kept::Changed),
                }
                let is_known = found.stored.replace(Stored { handle: handle.clone(), sealed }).is_some();
                if is_known {
                    found.by_old_key = false;
                    return Ok(Kept::Written(Vec::new()));
                }
                handle
            }
        };
        found.by_old_key = false;
        let value = format!("{}.{secret}", provider.name);
        let seconds = u64::try_from(left / 1000).unwrap_or(1);
        let cookies = jar.set_session(&self.names, &value, seconds).ok_or(Refusal::SessionTooLarge)?;
        Ok(Kept::Written(cookies))
    }

    /// Deletes the stored session of the browser's cookie, which a new login replaces.
    pub(crate) fn delete_previous(&self, jar: &Jar) -> Result<(), Stop> {
        let value = jar.session(&self.names).unwrap_or_default();
        match value.split_once('.') {
            Some((_, handle)) if self.settings.sessions == Sessions::Store && is_handle(handle) => {
                Ok(self.bucket.delete(&store_key(handle)?)?)
            }
            _ => Ok(()),
        }
    }

    /// Ends a session for all that have its cookie, as far as that is possible: in the store it is deleted; of a cookie there may be
    /// copies, which are refused from then on where `backchannel-logout` has each request looked up.
    pub(crate) fn end_session(&self, found: &Found, now: i64) -> Result<(), Stop> {
        if let Some(stored) = &found.stored {
            self.bucket.delete(&store_key(&stored.handle)?)?;
        }
        if self.settings.backchannel_logout {
            self.note_logout(found.provider, &[("session", &found.session.id)], now)?;
        }
        Ok(())
    }

    /// Ends a session whose refresh token the provider refused. Returns whether that is so for all requests: if another request has
    /// written the stored session since it was read, that one stays.
    pub(crate) fn end_unrefreshed(&self, found: &Found) -> Result<bool, Stop> {
        let Some(stored) = &found.stored else { return Ok(true) };
        let swapped = self.bucket.compare_and_swap(&store_key(&stored.handle)?, Some(&stored.sealed), None, None)?;
        Ok(!matches!(swapped, SwapResult::Different(Some(_))))
    }

    /// Notes that the sessions until now are over that have one of these.
    pub(crate) fn note_logout(&self, provider: usize, whose: &[(&str, &str)], now: i64) -> Result<(), Stop> {
        let ttl = Some(millis(self.settings.lifetime.saturating_add(self.settings.leeway)));
        for (kind, value) in whose {
            self.bucket.set(&self.logout_key(provider, kind, value)?, now.to_string().as_bytes(), ttl)?;
        }
        Ok(())
    }

    fn is_logged_out(&self, provider: usize, session: &Session, claims: &Claims) -> Result<bool, Stop> {
        if !self.settings.backchannel_logout {
            return Ok(false);
        }
        let whose = [
            ("session", Some(session.id.as_str())),
            ("sub", text(claims, "sub")),
            ("sid", session.sid.as_deref()),
            ("sid", text(claims, "sid").filter(|sid| session.sid.as_deref() != Some(sid))),
        ];
        let mut operations = Vec::new();
        for (kind, value) in whose {
            if let Some(value) = value {
                operations.push(Operation::Get { key: self.logout_key(provider, kind, value)? });
            }
        }
        for result in self.bucket.batch(&operations)? {
            if let OperationResult::Value(Some(time)) = result? {
                let time = std::str::from_utf8(&time).ok().and_then(|time| time.parse::<i64>().ok());
                if time.is_none_or(|time| session.begun <= time) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn logout_key(&self, provider: usize, kind: &str, value: &str) -> Result<String, Stop> {
        let provider = &self.providers[provider];
        Ok(format!("out:{}", digest(&[&provider.name, &provider.issuer, &provider.client_id, kind, value])?))
    }
}

/// Whether this can be the handle of a stored session: 32 bytes as base64url.
fn is_handle(text: &str) -> bool {
    text.len() == 43
}

/// Under a digest: what is read in the store is no cookie.
fn store_key(handle: &str) -> Result<String, Stop> {
    Ok(format!("session:{}", digest(&["session", handle])?))
}

pub(crate) fn millis(time: i64) -> Duration {
    Duration::from_millis(u64::try_from(time).unwrap_or(0))
}
