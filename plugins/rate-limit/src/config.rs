//! What the operator writes, and what it means once checked.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use plugin_sdk::{Pointer, Problems, Span, names, store::Counting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    headers::HeaderStyle,
    key::{Key, KeyRule, Missing, NAME_EXPECTED, Part, Scope, is_name},
    policy::{Policies, Policy},
};

/// How many requests each client may make in a time: `limit` and `per`, or several `limits`.
#[derive(Debug, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Units that a client gets back in each period; a request takes `cost` of them.
    limit: Option<NonZeroU32>,
    /// The period: `1s`, `1m`, `1h`, `1d`.
    per: Option<Span>,
    /// Units that a client can take at once after a rest; `limit` if left out.
    burst: Option<NonZeroU32>,
    /// The limit's name in headers, attributes and metrics; `default` if left out.
    name: Option<String>,
    /// How units come back.
    algorithm: Option<Algorithm>,
    /// Several limits, which must all allow a request; instead of the five options above.
    #[serde(default)]
    #[schemars(length(max = 8))]
    limits: Vec<Limit>,
    /// Other limits for clients of a tier, by its name; the limits above apply to all other clients.
    #[serde(default)]
    tiers: BTreeMap<String, Tier>,
    /// The attribute in which an earlier plugin has left the client's tier.
    #[serde(default = "tier_of_key")]
    tier_attribute: String,
    /// What tells clients apart; `client-address` if left out.
    #[serde(default = "client_address")]
    key: Key,
    /// Handling of requests without the header, attribute or path parameter of the key.
    #[serde(default)]
    missing: Missing,
    /// Prefix length by which IPv4 clients are grouped.
    #[serde(default = "whole_ipv4")]
    #[schemars(range(min = 1, max = 32))]
    ipv4_prefix: u8,
    /// Prefix length by which IPv6 clients are grouped: one customer has at least a /64.
    #[serde(default = "customer_ipv6")]
    #[schemars(range(min = 1, max = 128))]
    ipv6_prefix: u8,
    /// Which requests share a count, beyond the key.
    #[serde(default)]
    scope: Scope,
    /// Units that a request takes.
    #[serde(default = "one")]
    cost: NonZeroU32,
    /// Which headers tell clients about their limits.
    #[serde(default)]
    headers: HeaderStyle,
    /// The bucket of the store in which the counts are; it must be granted to the plugin.
    #[serde(default = "own_bucket")]
    bucket: String,
    /// Handling of requests while the store is unavailable.
    #[serde(default)]
    on_store_failure: OnStoreFailure,
}

/// One of several limits.
#[derive(Debug, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Limit {
    /// Units that a client gets back in each period; a request takes `cost` of them.
    limit: NonZeroU32,
    /// The period: `1s`, `1m`, `1h`, `1d`.
    per: Span,
    /// Units that a client can take at once after a rest; `limit` if left out.
    burst: Option<NonZeroU32>,
    /// The limit's name in headers, attributes and metrics; such as `10-per-1s` if left out.
    name: Option<String>,
    /// How units come back.
    algorithm: Option<Algorithm>,
}

/// The limits of a tier: `limit` and `per`, or several `limits`.
#[derive(Debug, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Tier {
    /// Units that a client gets back in each period.
    limit: Option<NonZeroU32>,
    /// The period: `1s`, `1m`, `1h`, `1d`.
    per: Option<Span>,
    /// Units that a client can take at once after a rest; `limit` if left out.
    burst: Option<NonZeroU32>,
    /// The limit's name; that of the tier if left out.
    name: Option<String>,
    /// How units come back.
    algorithm: Option<Algorithm>,
    /// Several limits, instead of the five options above.
    #[serde(default)]
    #[schemars(length(max = 8))]
    limits: Vec<Limit>,
}

/// How units come back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Algorithm {
    /// Evenly, one after another; a burst can be taken at once (the generic cell rate algorithm).
    #[default]
    Gcra,
    /// When they are a period old: no more than `limit` in any period, however they come. It has no `burst`.
    SlidingWindow,
}

impl Algorithm {
    fn counting(self) -> Counting {
        match self {
            Self::Gcra => Counting::Steady,
            Self::SlidingWindow => Counting::Sliding,
        }
    }
}

/// Handling of requests while the store is unavailable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnStoreFailure {
    /// They pass without being counted, and the log says so.
    #[default]
    Allow,
    /// They are answered with 503.
    Deny,
    /// Each gateway counts for itself until the store is back.
    Local,
}

/// A configuration that has been checked.
pub(crate) struct Settings {
    pub(crate) policies: Policies,
    /// The same for each tier.
    pub(crate) tiers: BTreeMap<String, Policies>,
    pub(crate) tier_attribute: String,
    pub(crate) key: KeyRule,
    pub(crate) cost: u32,
    pub(crate) headers: HeaderStyle,
    pub(crate) bucket: String,
    pub(crate) on_store_failure: OnStoreFailure,
}

const MAX_LIMITS: usize = 8;
/// Longer makes no sense for a rate, and keeps all arithmetic far from overflow.
const MAX_PERIOD: Span = Span(Duration::from_secs(366 * 86_400));

impl Config {
    pub(crate) fn check(self) -> Result<Settings, Problems> {
        let mut problems = Problems::default();
        let root = Pointer::root();
        let Self { limit, per, burst, name, algorithm, limits, .. } = self;
        let name = name.or_else(|| limits.is_empty().then(|| "default".to_owned()));
        let base = Tier { limit, per, burst, name, algorithm, limits };
        let policies = base.check(&root, self.cost, &mut problems)?;
        let mut tiers = BTreeMap::new();
        for (tier, limits) in self.tiers {
            let at = root.then("tiers").then(&tier);
            let name = limits.name.clone().or_else(|| limits.limits.is_empty().then(|| tier.clone()));
            let limits = Tier { name, ..limits };
            tiers.insert(tier, limits.check(&at, self.cost, &mut problems)?);
        }
        let _ = problems.note(root.then("tier-attribute"), names::check_attribute(&self.tier_attribute));

        if !is_name(&self.bucket) {
            problems.add(root.then("bucket"), NAME_EXPECTED);
        }
        let prefixes = (self.ipv4_prefix, self.ipv6_prefix);
        let key = KeyRule::check(self.key, self.missing, self.scope, prefixes, &mut problems);
        problems.or(Settings {
            policies,
            tiers,
            tier_attribute: self.tier_attribute,
            key,
            cost: self.cost.get(),
            headers: self.headers,
            bucket: self.bucket,
            on_store_failure: self.on_store_failure,
        })
    }
}

impl Tier {
    /// The limits. A problem that leaves none ends it.
    fn check(self, root: &Pointer, cost: NonZeroU32, problems: &mut Problems) -> Result<Policies, Problems> {
        let named = self.name.as_deref().is_some_and(|name| name != "default") && !self.limits.is_empty();
        let alone =
            self.limit.is_some() || self.per.is_some() || self.burst.is_some() || named || self.algorithm.is_some();
        let limits: Vec<(Pointer, Limit)> = if self.limits.is_empty() {
            match (self.limit, self.per) {
                (Some(limit), Some(per)) => {
                    let Self { burst, name, algorithm, .. } = self;
                    vec![(root.clone(), Limit { limit, per, burst, name, algorithm })]
                }
                (Some(_), None) => return Err(Problems::one(root, "`limit` needs `per`, such as `per: 1m`")),
                (None, Some(_)) => return Err(Problems::one(root, "`per` needs `limit`, such as `limit: 100`")),
                (None, None) => return Err(Problems::one(root, "needs `limit` and `per`, or `limits`")),
            }
        } else {
            if alone {
                let message = "`limits` cannot stand beside `limit`, `per`, `burst`, `name` or `algorithm`";
                problems.add(root.then("limits"), message);
            }
            if self.limits.len() > MAX_LIMITS {
                problems.add(root.then("limits"), format!("`limits` has more than {MAX_LIMITS} of them"));
            }
            let at = root.then("limits");
            self.limits.into_iter().enumerate().map(|(i, limit)| (at.then(i), limit)).collect()
        };
        let mut policies = Vec::<Policy>::with_capacity(limits.len());
        for (at, limit) in limits {
            let policy = limit.check(&at, cost, problems);
            if policies.iter().any(|other| other.name == policy.name) {
                problems.add(
                    at.then("name"),
                    format!("`{}` is the name of another limit: give this one its own", policy.name),
                );
            }
            policies.push(policy);
        }
        Ok(Policies::new(policies))
    }
}

impl Limit {
    fn check(self, at: &Pointer, cost: NonZeroU32, problems: &mut Problems) -> Policy {
        let name = self.name.unwrap_or_else(|| format!("{}-per-{}", self.limit, self.per));
        if !is_name(&name) {
            problems.add(at.then("name"), NAME_EXPECTED);
        }
        if self.per.0.is_zero() || self.per > MAX_PERIOD {
            problems.add(at.then("per"), format!("`per` must be 1ms to {}", MAX_PERIOD));
        }
        let algorithm = self.algorithm.unwrap_or_default();
        if algorithm == Algorithm::SlidingWindow && self.burst.is_some() {
            problems.add(at.then("burst"), "a sliding window has no `burst`: `limit` is all that there is in a period");
        }
        let burst = self.burst.unwrap_or(self.limit);
        if cost > burst {
            let message =
                format!("`cost` is more than the burst of {burst} of the limit `{name}`: no request would ever pass");
            problems.add(Pointer::root().then("cost"), message);
        }
        Policy::new(name, self.limit.get(), self.per, burst.get(), algorithm.counting())
    }
}

fn tier_of_key() -> String {
    "api-key.tier".to_owned()
}

fn client_address() -> Key {
    Key::One(Part::ClientAddress)
}

fn whole_ipv4() -> u8 {
    32
}

fn customer_ipv6() -> u8 {
    64
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn own_bucket() -> String {
    "rate-limit".to_owned()
}
