//! Lets in by the client's address: networks that are allowed, and networks that are not.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;
use plugin_sdk::{
    Decision, Error, Plugin, Pointer, Problem, Problems, Request, RequestFilter, export_plugin, metrics, serde_json,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Allowed and denied client addresses: `allow`, or `deny`, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "allow": ["10.0.0.0/8", "2001:db8::/32"], "deny": ["10.6.6.6"] }))]
struct Config {
    /// Allowed addresses and networks; all, if the list is empty.
    #[serde(default)]
    allow: Vec<String>,
    /// Addresses and networks that are not, even if `allow` has them.
    #[serde(default)]
    deny: Vec<String>,
}

struct IpRules {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

impl Plugin for IpRules {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if config.allow.is_empty() && config.deny.is_empty() {
            problems.add(Pointer::root(), "needs an address or network in `allow` or `deny`");
        }
        let allow = networks(&config.allow, &Pointer::from("/allow"), &mut problems);
        let deny = networks(&config.deny, &Pointer::from("/deny"), &mut problems);
        problems.or(Self { allow, deny })
    }
}

impl RequestFilter for IpRules {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let reason = match request.client_address().parse::<IpAddr>() {
            Ok(address) => match self.objection(address.to_canonical()) {
                None => return Ok(Decision::Next),
                Some(reason) => reason,
            },
            // Rules that cannot be applied must not be passed by.
            Err(_) => "unknown",
        };
        metrics::add("ip_rules_denied", 1, &[("route", &request.route()), ("reason", reason)]);
        // For the access log only; where there is no room for it, the answer is still the right one.
        let _ = request.set_attribute("ip-rules.error", reason);
        let problem = Problem::new(403).detail("your address is not allowed here").member("request-id", request.id());
        Ok(problem.into())
    }
}

export_plugin!(IpRules: request);

impl IpRules {
    /// Why an address is not let in. An IPv4 address has no other form here (RFC 4291 §2.5.5.2).
    fn objection(&self, address: IpAddr) -> Option<&'static str> {
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        if within(&self.deny) {
            Some("denied")
        } else if !self.allow.is_empty() && !within(&self.allow) {
            Some("not-allowed")
        } else {
            None
        }
    }
}

fn networks(texts: &[String], at: &Pointer, problems: &mut Problems) -> Vec<IpNet> {
    let texts = texts.iter().enumerate();
    texts.filter_map(|(i, text)| problems.note(at.then(i), network(text))).collect()
}

fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!("`{text}` is neither an address nor a network; expected such as `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`")
    })?;
    if network.trunc() != network {
        return Err(format!("`{text}` has bits set beyond its prefix; write `{}`", network.trunc()));
    }
    if let IpNet::V6(mapped) = network
        && let Some(inner) = mapped.addr().to_ipv4_mapped()
    {
        return Err(format!("`{text}` is written as IPv4: `{inner}/{}`", mapped.prefix_len().saturating_sub(96)));
    }
    Ok(network)
}
