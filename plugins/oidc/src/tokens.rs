//! Requests to the token endpoint (RFC 6749 §4.1.3 and §6, OpenID Connect Core 1.0 §3.1.3).

use plugin_jose::{base64, json};
use plugin_sdk::{
    http_client::{Call, CallError},
    query, warn,
};
use serde_json::Value;

use crate::{
    config::ClientAuth,
    provider::Provider,
    refusal::{Refusal, Stop},
};

/// What the provider issued.
pub(crate) struct Tokens {
    pub(crate) id_token: Option<String>,
    pub(crate) access_token: String,
    pub(crate) refresh_token: Option<String>,
    /// Seconds.
    pub(crate) expires_in: Option<i64>,
}

/// What became of the request.
pub(crate) enum Grant {
    Issued(Tokens),
    /// `invalid_grant`: the code or the refresh token is not valid, has expired, was used or revoked.
    Invalid,
}

impl Provider {
    /// Sends a grant to the token endpoint.
    pub(crate) fn request_tokens(&mut self, grant: &[(&str, &str)]) -> Result<Grant, Stop> {
        let endpoint = self.metadata()?.token_endpoint.clone();
        let mut form = grant.to_vec();
        let secret = self.client_secret.as_deref().map(String::from_utf8_lossy);
        let mut authorization = None;
        match (&secret, self.client_auth) {
            (Some(secret), ClientAuth::Basic) => {
                // RFC 6749 §2.3.1: both are form-encoded before they are joined.
                let pair = format!("{}:{}", query::encode(&self.client_id), query::encode(secret));
                authorization = Some(format!("Basic {}", base64::encode(pair.as_bytes())));
            }
            (Some(secret), ClientAuth::Post) => {
                form.extend([("client_id", self.client_id.as_str()), ("client_secret", secret)]);
            }
            (None, _) => form.push(("client_id", &self.client_id)),
        }
        let mut call = Call::post(&endpoint.upstream, &endpoint.path_with_query)
            .with_header("accept", "application/json")
            .with_body("application/x-www-form-urlencoded", query::form(form))
            .with_timeout(self.timeout);
        if let Some(authorization) = authorization {
            call = call.with_header("authorization", authorization);
        }
        let reply = match call.send() {
            Ok(reply) => reply,
            Err(CallError::Denied(why) | CallError::Invalid(why)) => {
                return Err(Stop::Failed(plugin_sdk::Error::new(format!(
                    "the token endpoint cannot be called: {why}"
                ))));
            }
            Err(error) => {
                warn!("the provider's token endpoint is unavailable: {error}"; provider = self.name);
                return Err(Refusal::ProviderUnavailable.into());
            }
        };
        if reply.status >= 500 || reply.status == 429 {
            warn!("the provider's token endpoint responded with {}", reply.status; provider = self.name);
            return Err(Refusal::ProviderUnavailable.into());
        }
        let members = json::object(&reply.body);
        let text = |name: &str| members.as_ref()?.get(name)?.as_str().map(str::to_owned);
        if reply.status != 200 {
            let error = text("error").filter(|error| is_error_code(error)).unwrap_or_default();
            if error == "invalid_grant" {
                return Ok(Grant::Invalid);
            }
            warn!("the provider's token endpoint responded with {} {error}", reply.status; provider = self.name);
            return Err(Refusal::ProviderError.into());
        }
        let is_bearer = text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        let expires_in = members.as_ref().and_then(|members| members.get("expires_in")).and_then(Value::as_i64);
        match text("access_token") {
            Some(access_token) if is_bearer && is_token(&access_token) => Ok(Grant::Issued(Tokens {
                id_token: text("id_token"),
                access_token,
                refresh_token: text("refresh_token"),
                expires_in,
            })),
            _ => {
                warn!("the provider's token response has no bearer token"; provider = self.name);
                Err(Refusal::ProviderError.into())
            }
        }
    }
}

/// `b64token` of RFC 6750 §2.1, and other printable characters that providers use: it becomes part of a header.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// RFC 6749 §5.2, as far as it is fit for a log.
pub(crate) fn is_error_code(error: &str) -> bool {
    !error.is_empty()
        && error.len() <= 64
        && error.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}
