//! What clients are told about their limits.
//!
//! `RateLimit-Policy` and `RateLimit` are lists (draft-ietf-httpapi-ratelimit-headers, RFC 9651 §3.1), so that
//! several plugins and the upstream can each add their own. The `X-RateLimit-*` that came before them hold one
//! limit: the one with the fewest units left.

use plugin_sdk::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{Policies, Policy, Standing};

/// Which headers clients get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HeaderStyle {
    /// `RateLimit-Policy` and `RateLimit`.
    #[default]
    Standard,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`.
    Legacy,
    /// All of them.
    Both,
    /// None of them.
    None,
}

pub(crate) const POLICY: &str = "ratelimit-policy";
pub(crate) const LIMIT: &str = "ratelimit";
const LEGACY_LIMIT: &str = "x-ratelimit-limit";
const LEGACY_REMAINING: &str = "x-ratelimit-remaining";
const LEGACY_RESET: &str = "x-ratelimit-reset";

type Lines = Vec<(&'static str, String)>;

/// The header lines for a client that stands so. A refusal leaves out the limits after the one that refused.
pub(crate) fn lines(style: HeaderStyle, policies: &Policies, standings: &[Standing]) -> Lines {
    let mut lines = Vec::new();
    if style.standard() {
        lines.extend([(POLICY, policies.described.clone()), (LIMIT, limit(policies, standings))]);
    }
    if style.legacy() {
        lines.extend(legacy(policies, standings));
    }
    lines
}

/// Puts the older headers onto a response, which may have such lines already: from the upstream, or from this plugin in
/// another place of the route. Only one limit has room there: the tighter one.
pub(crate) fn tighten(policies: &Policies, standings: &[Standing], response: &Response) {
    let there = response.header(LEGACY_REMAINING).and_then(|value| value.parse::<u64>().ok());
    let ours = standings.iter().map(|standing| standing.remaining).min().map(u64::from);
    if there.is_none() || ours < there {
        for (name, value) in legacy(policies, standings) {
            // A response may have no room for one more header, which is no reason to fail it.
            if let Err(error) = response.set_header(name, value) {
                plugin_sdk::debug!("no header `{name}`: {error}");
            }
        }
    }
}

/// The value of `RateLimit`.
pub(crate) fn limit(policies: &Policies, standings: &[Standing]) -> String {
    let mut limit = String::with_capacity(32 * policies.len());
    let mut digits = itoa::Buffer::new();
    for (Policy { name, .. }, standing) in policies.iter().zip(standings) {
        limit.push_str(if limit.is_empty() { "\"" } else { ", \"" });
        limit.push_str(name);
        limit.push_str("\";r=");
        limit.push_str(digits.format(standing.remaining));
        limit.push_str(";t=");
        limit.push_str(digits.format(standing.next_s));
    }
    limit
}

fn legacy(policies: &Policies, standings: &[Standing]) -> Lines {
    let tightest = policies.iter().zip(standings).min_by_key(|(_, standing)| standing.remaining);
    let Some((policy, standing)) = tightest else { return Vec::new() };
    vec![
        (LEGACY_LIMIT, policy.quota.burst.to_string()),
        (LEGACY_REMAINING, standing.remaining.to_string()),
        (LEGACY_RESET, standing.reset_s.to_string()),
    ]
}

impl HeaderStyle {
    pub(crate) fn standard(self) -> bool {
        matches!(self, Self::Standard | Self::Both)
    }

    pub(crate) fn legacy(self) -> bool {
        matches!(self, Self::Legacy | Self::Both)
    }
}
