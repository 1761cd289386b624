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
    Decision, Edit, Edits, Error, Phases, Plugin, Pointer, Problem, Problems, Request, RequestFilter, Response,
    ResponseDecision, ResponseFilter, export_plugin, metrics,
    store::{Bucket, Scope, Step, StoreError, Verdict},
};

pub use config::Config;
use config::{OnStoreFailure, Settings};
use key::Subject;
use policy::{Policies, Standing};

/// The problem type of draft-ietf-httpapi-ratelimit-headers.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// Units that the tightest limit has left.
const REMAINING: &str = "rate-limit.remaining";

/// While the store fails, each instance says so once in this time: every request would be a flood.
const SILENCE_MS: u64 = 10_000;

/// The plugin.
pub struct RateLimit {
    settings: Settings,
    bucket: Bucket,
    /// Where the standings wait for the response phase, which another instance may run. The plugin may be on a
    /// route several times, so this is the configuration's own.
    state_attribute: String,
    /// What a request that passes leaves: its notes, and what the client will be told.
    told: Edits,
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
        let told = Edits::new(&[
            Edit::set_attribute(REMAINING),
            Edit::set_attribute(state_attribute.as_str()),
            Edit::append_response_header(headers::POLICY),
            Edit::append_response_header(headers::LIMIT),
        ]);
        Ok(Self { settings, bucket, state_attribute, told, warned_at: None })
    }

    /// Only the older headers depend on what the response says already.
    fn phases(&self) -> Phases {
        Phases { response: self.settings.headers.legacy(), ..Phases::default() }
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
        let verdicts = match self.bucket.take_all(&key, &steps, Scope::Shared) {
            Ok(verdicts) => verdicts,
            Err(StoreError::Denied(_)) => return Err(Error::new(not_granted(&self.settings.bucket))),
            Err(error) => {
                self.complain(request, &error);
                let decision = match self.settings.on_store_failure {
                    OnStoreFailure::Allow => Decision::Next,
                    OnStoreFailure::Deny => {
                        problem(request, 503).detail("the service is not available, try again later").into()
                    }
                    OnStoreFailure::Local => {
                        let verdicts = self.bucket.take_all(&key, &steps, Scope::Local)?;
                        return Ok(self.conclude(request, self.settings.policies_for(request), &verdicts));
                    }
                };
                note(request, "rate-limit.outcome", "unavailable");
                return Ok(decision);
            }
        };
        Ok(self.conclude(request, policies, &verdicts))
    }
}

impl ResponseFilter for RateLimit {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        // Nothing is there for a request that was not counted.
        let state = request.attribute(&self.state_attribute);
        let policies = self.settings.policies_for(request);
        let Some(standings) = state.and_then(|state| policy::read(&state, policies.len())) else {
            return Ok(ResponseDecision::Next);
        };
        headers::tighten(policies, &standings, response);
        Ok(ResponseDecision::Next)
    }
}

export_plugin!(RateLimit: request, response);

impl RateLimit {
    /// All limits together have allowed the request, or one of them has refused it.
    fn conclude(&self, request: &Request, policies: &Policies, verdicts: &[Verdict]) -> Decision {
        let standings: Vec<Standing> =
            policies.iter().zip(verdicts).map(|(policy, verdict)| policy.standing(verdict)).collect();
        let tightest = standings.iter().map(|standing| standing.remaining).min().unwrap_or_default();
        if standings.iter().any(|standing| standing.retry_s.is_some()) {
            note(request, REMAINING, &tightest.to_string());
            return self.refuse(request, policies, &standings);
        }
        let style = self.settings.headers;
        let state = style.legacy().then(|| policy::write(&standings));
        let limit = style.standard().then(|| headers::limit(policies, &standings));
        let mut digits = itoa::Buffer::new();
        let values = [
            Some(digits.format(tightest).as_bytes()),
            state.as_ref().map(String::as_bytes),
            limit.as_ref().map(|_| policies.described.as_bytes()),
            limit.as_ref().map(String::as_bytes),
        ];
        // The exchange may have no room for it, which is no reason to fail the request: the limit holds without it.
        if let Err(error) = self.told.apply(request, None, values) {
            plugin_sdk::debug!("not everything is told: {error}");
        }
        Decision::Next
    }

    /// Answers 429 (RFC 6585 §4). The plugin's own response phase does not run then.
    fn refuse(&self, request: &Request, policies: &Policies, standings: &[Standing]) -> Decision {
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
    fn policies_for(&self, request: &Request) -> &Policies {
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

/// The exchange may have no room for a note left, which is no reason to fail the request: the limit holds
/// without it.
fn note(request: &Request, key: &str, value: &str) {
    if let Err(error) = request.set_attribute(key, value) {
        plugin_sdk::debug!("no note left in `{key}`: {error}");
    }
}
