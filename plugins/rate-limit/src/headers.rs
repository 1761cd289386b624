//! What clients are told about their limits.
//!
//! `RateLimit-Policy` and `RateLimit` are lists (draft-ietf-httpapi-ratelimit-headers, RFC 9651 §3.1), so that
//! several plugins and the upstream can each add their own. The `X-RateLimit-*` that came before them hold one
//! limit: the one with the fewest units left.

use plugin_sdk::{EditError, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{Policy, Standing};

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

const POLICY: &str = "ratelimit-policy";
const LIMIT: &str = "ratelimit";
const LEGACY_LIMIT: &str = "x-ratelimit-limit";
const LEGACY_REMAINING: &str = "x-ratelimit-remaining";
const LEGACY_RESET: &str = "x-ratelimit-reset";

type Lines = Vec<(&'static str, String)>;

/// The header lines for a client that stands so. A refusal leaves out the limits after the one that refused.
pub(crate) fn lines(style: HeaderStyle, policies: &[Policy], standings: &[Standing]) -> Lines {
    let mut lines = Vec::new();
    if style.standard() {
        lines.extend(standard(policies, standings));
    }
    if style.legacy() {
        lines.extend(legacy(policies, standings));
    }
    lines
}

/// Adds the header lines to a response, which may have such lines already: from the upstream, or from this
/// plugin in another place of the route.
pub(crate) fn add(style: HeaderStyle, policies: &[Policy], standings: &[Standing], response: &Response) {
    if style.standard() {
        for (name, value) in standard(policies, standings) {
            told(name, response.append_header(name, value));
        }
    }
    if style.legacy() {
        let there = response.header(LEGACY_REMAINING).and_then(|value| value.parse::<u64>().ok());
        let ours = standings.iter().map(|standing| standing.remaining).min().map(u64::from);
        // Only one limit has room here: the tighter one.
        if there.is_none() || ours < there {
            for (name, value) in legacy(policies, standings) {
                told(name, response.set_header(name, value));
            }
        }
    }
}

/// A response may have no room for one more header, which is no reason to fail it.
fn told(name: &str, result: Result<(), EditError>) {
    if let Err(error) = result {
        plugin_sdk::debug!("no header `{name}`: {error}");
    }
}

fn standard(policies: &[Policy], standings: &[Standing]) -> Lines {
    let policy: Vec<&str> = policies.iter().map(|policy| policy.described.as_str()).collect();
    let mut limit = String::with_capacity(32 * policies.len());
    for (Policy { name, .. }, standing) in policies.iter().zip(standings) {
        limit.push_str(if limit.is_empty() { "\"" } else { ", \"" });
        limit.push_str(name);
        limit.push_str("\";r=");
        limit.push_str(&standing.remaining.to_string());
        limit.push_str(";t=");
        limit.push_str(&standing.next_s.to_string());
    }
    vec![(POLICY, policy.join(", ")), (LIMIT, limit)]
}

fn legacy(policies: &[Policy], standings: &[Standing]) -> Lines {
    let tightest = policies.iter().zip(standings).min_by_key(|(_, standing)| standing.remaining);
    let Some((policy, standing)) = tightest else { return Vec::new() };
    vec![
        (LEGACY_LIMIT, policy.quota.burst.to_string()),
        (LEGACY_REMAINING, standing.remaining.to_string()),
        (LEGACY_RESET, standing.reset_s.to_string()),
    ]
}

impl HeaderStyle {
    fn standard(self) -> bool {
        matches!(self, Self::Standard | Self::Both)
    }

    fn legacy(self) -> bool {
        matches!(self, Self::Legacy | Self::Both)
    }
}
