//! Limits how many requests each client may make in a time, by the generic cell rate algorithm that the
//! gateway's store computes. What a client is, is configured: an address, a header, an attribute, a route.
//!
//! This page is the story of one request; `config` is what the operator writes, `key` finds who is counted,
//! `policy` is one limit, `headers` tells clients about it.

mod config;
mod headers;
mod key;
mod policy;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};

use plugin_sdk::{
    Decision, Error, Phases, Plugin, Pointer, Problem, Problems, Request, RequestFilter, Response, ResponseFilter,
    export_plugin, metrics,
    store::{Bucket, Place, Step, StoreError, Verdict},
};

pub use config::Config;
use config::{OnStoreFailure, Settings};
use headers::HeaderStyle;
use key::Subject;
use policy::{Policy, Standing};

/// The problem type of draft-ietf-httpapi-ratelimit-headers.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// While the store fails, each instance says so once in this time: every request would be a flood.
const SILENCE_MS: u64 = 10_000;

/// The plugin.
pub struct RateLimit {
    settings: Settings,
    bucket: Bucket,
    /// Where the standings wait for the response phase, which another instance may run. The plugin may be on a
    /// route several times, so this is the configuration's own.
    state_attribute: String,
    warned_at: Option<u64>,
}

impl Plugin for RateLimit {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut hasher = DefaultHasher::new();
        config.hash(&mut hasher);
        let settings = config.check()?;
        let bucket = Bucket::new(settings.bucket.clone());
        // A missing grant should stop the gateway, not the first request. Another failure may pass.
        if let Err(StoreError::Denied(_)) = bucket.get("") {
            return Err(Problems::one(Pointer::root().then("bucket"), not_granted(&settings.bucket)));
        }
        let state_attribute = format!("rate-limit.state.{:016x}", hasher.finish());
        Ok(Self { settings, bucket, state_attribute, warned_at: None })
    }

    fn phases(&self) -> Phases {
        Phases { response: self.settings.headers != HeaderStyle::None, ..Phases::default() }
    }
}

impl RequestFilter for RateLimit {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let key = match self.settings.key.subject(request) {
            Subject::Known(key) => key,
            Subject::Skipped => {
                note(request, "rate-limit.outcome", "skipped");
                return Ok(Decision::Next);
            }
            Subject::Rejected(what) => {
                note(request, "rate-limit.outcome", "rejected");
                return Ok(problem(request, 400).detail(&format!("the request needs {what}")).into());
            }
        };
        let policies = self.settings.policies_for(request);
        let steps: Vec<Step> = policies.iter().map(|policy| policy.step(self.settings.cost)).collect();
        let verdicts = match self.bucket.take_all(&key, &steps, Place::Shared) {
            Ok(verdicts) => verdicts,
            Err(StoreError::Denied(_)) => return Err(Error::new(not_granted(&self.settings.bucket))),
            Err(StoreError::Later) => return Err(StoreError::Later.into()),
            Err(error) => {
                self.complain(request, &error);
                let decision = match self.settings.on_store_failure {
                    OnStoreFailure::Allow => Decision::Next,
                    OnStoreFailure::Deny => {
                        problem(request, 503).detail("the service is not available, try again later").into()
                    }
                    OnStoreFailure::Local => {
                        let verdicts = self.bucket.take_all(&key, &steps, Place::Local)?;
                        return Ok(self.conclude(request, &verdicts));
                    }
                };
                note(request, "rate-limit.outcome", "unavailable");
                return Ok(decision);
            }
        };
        Ok(self.conclude(request, &verdicts))
    }
}

impl ResponseFilter for RateLimit {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<(), Error> {
        if self.settings.headers == HeaderStyle::None {
            return Ok(());
        }
        // Nothing is there for a request that was not counted.
        let state = request.attribute(&self.state_attribute);
        let policies = self.settings.policies_for(request);
        let Some(standings) = state.and_then(|state| policy::read(&state, policies.len())) else {
            return Ok(());
        };
        headers::add(self.settings.headers, policies, &standings, response);
        Ok(())
    }
}

export_plugin!(RateLimit: request, response);

impl RateLimit {
    /// All limits together have allowed the request, or one of them has refused it.
    fn conclude(&self, request: &Request, verdicts: &[Verdict]) -> Decision {
        let policies = self.settings.policies_for(request);
        let standings: Vec<Standing> =
            policies.iter().zip(verdicts).map(|(policy, verdict)| policy.standing(verdict)).collect();
        note_remaining(request, &standings);
        if standings.iter().any(|standing| standing.retry_s.is_some()) {
            return self.refuse(request, policies, &standings);
        }
        if self.settings.headers != HeaderStyle::None {
            note(request, &self.state_attribute, &policy::write(&standings));
        }
        Decision::Next
    }

    /// Answers 429 (RFC 6585 §4). The plugin's own response phase does not run then.
    fn refuse(&self, request: &Request, policies: &[Policy], standings: &[Standing]) -> Decision {
        let refused = policies.iter().zip(standings).filter(|(_, standing)| standing.retry_s.is_some());
        let names: Vec<&str> = refused.map(|(policy, _)| policy.name.as_str()).collect();
        // When the last of them allows it again.
        let retry_s = standings.iter().filter_map(|standing| standing.retry_s).max().unwrap_or(1);
        let first = names.first().copied().unwrap_or_default();
        metrics::add("rate_limit_denied", 1, &[("route", &request.route()), ("policy", first)]);
        note(request, "rate-limit.outcome", "denied");
        note(request, "rate-limit.denied-by", first);
        let problem = problem(request, 429)
            .kind(QUOTA_EXCEEDED)
            .detail("too many requests, try again later")
            .member("violated-policies", names)
            .with_header("retry-after", retry_s.to_string());
        let lines = headers::lines(self.settings.headers, policies, standings);
        lines.into_iter().fold(problem, |problem, (name, value)| problem.with_header(name, value)).into()
    }

    /// Counts that the store has failed, and says it once in a while.
    fn complain(&mut self, request: &Request, error: &StoreError) {
        metrics::add("rate_limit_store_failures", 1, &[("route", &request.route())]);
        let now = request.received_at();
        if self.warned_at.is_none_or(|then| now.saturating_sub(then) >= SILENCE_MS) {
            self.warned_at = Some(now);
            let fate = match self.settings.on_store_failure {
                OnStoreFailure::Allow => "allowed uncounted",
                OnStoreFailure::Deny => "refused with 503",
                OnStoreFailure::Local => "counted by this gateway alone",
            };
            plugin_sdk::error!("requests are {fate}: {error}"; bucket = self.settings.bucket);
        }
    }
}

impl Settings {
    /// Those of the client's tier, if it has one.
    fn policies_for(&self, request: &Request) -> &[Policy] {
        if self.tiers.is_empty() {
            return &self.policies;
        }
        let tier = request.attribute(&self.tier_attribute);
        tier.and_then(|tier| self.tiers.get(&tier)).unwrap_or(&self.policies)
    }
}

fn not_granted(bucket: &str) -> String {
    format!("the bucket `{bucket}` is not granted; add it to the plugin's `grants: {{ store: [{bucket}] }}`")
}

/// A problem with the request's identifier, as the gateway's own answers have it.
fn problem(request: &Request, status: u16) -> Problem {
    Problem::new(status).member("request-id", request.id())
}

fn note_remaining(request: &Request, standings: &[Standing]) {
    if let Some(remaining) = standings.iter().map(|standing| standing.remaining).min() {
        note(request, "rate-limit.remaining", &remaining.to_string());
    }
}

/// The exchange may have no room for a note left, which is no reason to fail the request: the limit holds
/// without it.
fn note(request: &Request, key: &str, value: &str) {
    if let Err(error) = request.set_attribute(key, value) {
        plugin_sdk::debug!("no note left in `{key}`: {error}");
    }
}
