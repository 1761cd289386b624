//! Asks a service of yours whether a request may pass, and tells the upstream what the service said about it.

mod config;
mod consent;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};

use plugin_sdk::{
    Decision, EditError, Error, Plugin, Problem, Problems, Reply, Request, RequestFilter, export_plugin,
    http_client::{Call, CallError},
    metrics,
    store::{Bucket, StoreError},
};
use sha2::{Digest, Sha256};

pub use config::Config;
use config::OnFailure;
use consent::{Announcement, Consent};

/// The plugin.
pub struct ExtAuth {
    config: Config,
    bucket: Bucket,
    /// Of the configuration, so that others that share the bucket find nothing of ours.
    digest: u64,
    announcement: Announcement,
    warned_at: Option<u64>,
}

enum AuthorizerResponse {
    Consent(Consent),
    Refusal(Reply),
}

/// A refusal's body is for people to read.
const BODY_BYTES: usize = 64 * 1024;
/// Without these it could not be read.
const OF_THE_BODY: [&str; 3] = ["content-type", "content-encoding", "content-language"];
/// While the service fails, each instance says so once in this time: every request would be a flood.
const SILENCE_MS: u64 = 10_000;

impl Plugin for ExtAuth {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        config.check(&mut problems);
        let mut hasher = DefaultHasher::new();
        config.hash(&mut hasher);
        let bucket = Bucket::new(config.bucket.clone());
        // A missing grant should stop the gateway, not the first request. Another failure may pass.
        if !config.cache_ttl.0.is_zero() && matches!(bucket.get(""), Err(StoreError::Denied(_))) {
            let name = &config.bucket;
            let cure =
                format!("the bucket `{name}` is not granted; add it to the plugin's `grants: {{ store: [{name}] }}`");
            problems.add("/bucket", cure);
        }
        // No request is sent while the plugin is configured: this only checks the grant.
        if let Err(CallError::Denied(_)) = Call::get(&config.upstream, "/").send() {
            let name = &config.upstream;
            let cure = format!("needs an upstream `{name}`, and `grants: {{ upstreams: [{name}] }}` for the plugin");
            problems.add("/upstream", cure);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let announcement = Announcement::new(&config);
        Ok(Self { config, bucket, digest: hasher.finish(), announcement, warned_at: None })
    }
}

impl RequestFilter for ExtAuth {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let key = (!self.config.cache_ttl.0.is_zero()).then(|| self.key(request));
        if let Some(consent) = key.as_ref().and_then(|key| self.known(key)) {
            self.count(request, "cached");
            return self.admit(&consent, request);
        }
        match self.ask(request) {
            Ok(AuthorizerResponse::Consent(consent)) => {
                self.count(request, "allowed");
                if let (Some(key), Ok(text)) = (&key, plugin_sdk::serde_json::to_vec(&consent)) {
                    // What cannot be kept is asked again.
                    let _ = self.bucket.set(key, &text, Some(self.config.cache_ttl.0));
                }
                self.admit(&consent, request)
            }
            Ok(AuthorizerResponse::Refusal(reply)) => {
                self.count(request, "denied");
                note(request, "denied");
                Ok(reply.into())
            }
            Err(why) => self.without_answer(request, &why),
        }
    }
}

export_plugin!(ExtAuth: request);

impl ExtAuth {
    fn ask(&self, request: &Request) -> Result<AuthorizerResponse, String> {
        let config = &self.config;
        let mut call = Call::new(&config.method, &config.upstream, &config.path).with_timeout(config.timeout.0);
        for name in &config.headers {
            for value in request.header_values(name) {
                call = call.with_header(name, value);
            }
        }
        let facts = [
            ("x-forwarded-method", request.method()),
            ("x-forwarded-uri", request.original_target()),
            ("x-forwarded-host", request.authority()),
            ("x-forwarded-proto", request.scheme()),
            ("x-forwarded-for", request.client_address()),
            ("x-request-id", request.id()),
        ];
        for (name, value) in facts {
            call.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            call = call.with_header(name, value);
        }
        let reply = match call.send() {
            Ok(reply) => reply,
            // More than a question may have: that is the client's doing, and no failure of the service.
            Err(CallError::Invalid(_)) => return Ok(AuthorizerResponse::Refusal(too_large(request))),
            Err(error) => return Err(error.to_string()),
        };
        match reply.status {
            200..=299 => Ok(AuthorizerResponse::Consent(Consent::of(&reply, config))),
            300..=499 => Ok(AuthorizerResponse::Refusal(self.refusal(reply))),
            status => Err(format!("the service answered with {status}")),
        }
    }

    /// As the service said it, less what is between it and us.
    fn refusal(&self, reply: Reply) -> Reply {
        let keeps_body = reply.body.len() <= BODY_BYTES;
        let passed = |name: &str| {
            let is = |other: &str| other.eq_ignore_ascii_case(name);
            self.config.client_headers_on_denial.iter().any(|listed| is(listed))
                || (keeps_body && OF_THE_BODY.into_iter().any(is))
        };
        let headers = reply.headers.into_iter().filter(|(name, _)| passed(name)).collect();
        let body = if keeps_body { reply.body } else { Vec::new() };
        Reply { status: reply.status, headers, body }
    }

    /// Tells the upstream and later plugins what the service said. What the client said under its names is gone.
    fn admit(&self, consent: &Consent, request: &Request) -> Result<Decision, Error> {
        match self.identify(consent, request).and_then(|()| self.announcement.apply(consent, request)) {
            Ok(()) => Ok(Decision::Next),
            Err(EditError::TooLarge) => Ok(too_large(request).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Says who the caller is as far as the service was told or has told: by a digest of the headers that it got, and of what its
    /// consent says. Without it, a client that is known by a session alone would look like an anonymous one.
    fn identify(&self, consent: &Consent, request: &Request) -> Result<(), EditError> {
        let mut digest = Sha256::new();
        let mut known = false;
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        for name in &self.config.headers {
            let values = request.header_values(name);
            known |= !values.is_empty();
            add(&(values.len() as u64).to_be_bytes());
            values.iter().for_each(|value| add(value));
        }
        for values in consent.values() {
            known |= !values.is_empty();
            add(&(values.len() as u64).to_be_bytes());
            values.iter().for_each(|value| add(value.as_bytes()));
        }
        if !known {
            return Ok(());
        }
        let digest: String = digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        request.set_attribute("ext-auth.caller", &digest)
    }

    fn without_answer(&mut self, request: &Request, why: &str) -> Result<Decision, Error> {
        self.count(request, "error");
        note(request, "error");
        let now = request.received_at();
        if self.warned_at.is_none_or(|then| now.saturating_sub(then) >= SILENCE_MS) {
            self.warned_at = Some(now);
            let allowed = self.config.on_failure == OnFailure::Allow;
            let fate = if allowed { "pass unasked" } else { "are refused with 503" };
            plugin_sdk::error!("requests {fate}: {why}"; upstream = self.config.upstream);
        }
        match self.config.on_failure {
            OnFailure::Allow => self.admit(&Consent::default(), request),
            OnFailure::Deny => {
                let problem = Problem::new(503).detail("nobody can say at present whether the request may pass");
                Ok(problem.member("request-id", request.id()).with_header("retry-after", "1").into())
            }
        }
    }

    /// A cached consent. If the store fails, the service is asked.
    fn known(&self, key: &str) -> Option<Consent> {
        let text = self.bucket.get(key).ok()??;
        plugin_sdk::serde_json::from_slice(&text).ok()
    }

    /// All that the service is told, as a digest: credentials are among it. Each part with its length, so that no two
    /// requests are one.
    fn key(&self, request: &Request) -> String {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        add(&self.digest.to_be_bytes());
        for part in [
            request.method(),
            request.scheme(),
            request.authority(),
            request.original_target(),
            request.client_address(),
        ] {
            add(part.as_bytes());
        }
        for name in &self.config.headers {
            let values = request.header_values(name);
            add(&(values.len() as u64).to_be_bytes());
            values.iter().for_each(|value| add(value));
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn count(&self, request: &Request, outcome: &str) {
        metrics::add("ext_auth_requests", 1, &[("route", &request.route()), ("result", outcome)]);
    }
}

fn too_large(request: &Request) -> Reply {
    let problem = Problem::new(431).detail("the request's headers are too large");
    problem.member("request-id", request.id()).into()
}

/// For the access log only; where there is no room for it, the answer is still the right one.
fn note(request: &Request, outcome: &str) {
    let _ = request.set_attribute("ext-auth.outcome", outcome);
}
