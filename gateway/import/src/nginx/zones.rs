//! Zones of `limit_req_zone` and `limit_conn_zone`, and the limits that use them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::parse::Directive;
use crate::draft::{Draft, plugin};

#[derive(Default)]
pub(super) struct Zones(BTreeMap<String, Zone>);

struct Zone {
    /// What tells clients apart, if the gateway can.
    key: Option<Value>,
    /// Requests in a period.
    rate: Option<(u64, &'static str)>,
}

impl Zones {
    pub(super) fn define(&mut self, directive: &Directive) {
        let Some(key) = directive.args.first() else { return };
        let option = |name: &str| directive.args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
        let Some(name) = option("zone").and_then(|zone| zone.split(':').next()) else { return };
        let rate = option("rate").and_then(|rate| {
            let (number, period) = rate.split_once("r/").map(|(n, p)| (n, if p == "m" { "1m" } else { "1s" }))?;
            Some((number.parse().ok()?, period))
        });
        self.0.insert(name.to_owned(), Zone { key: key_of(key), rate });
    }

    /// A plugin for `limit_req zone=… burst=…` or `limit_conn ZONE NUMBER`.
    pub(super) fn limit(&self, directive: &Directive, draft: &mut Draft) -> Option<Value> {
        let args = &directive.args;
        let option = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
        if directive.name == "limit_conn" {
            let zone = self.0.get(args.first()?)?;
            let limit: u64 = args.get(1)?.parse().ok()?;
            let config = json!({ "limit": limit, "key": zone.key.clone()?, "shared": args.first()?, "status": 503 });
            return Some(plugin("concurrency", config));
        }
        let name = option("zone")?;
        let zone = self.0.get(name)?;
        let (limit, per) = zone.rate?;
        // nginx takes `burst` requests beyond the rate; here it is how many are taken at once.
        let burst = option("burst").and_then(|burst| burst.parse::<u64>().ok()).unwrap_or(0) + 1;
        if burst > 1 && !args.iter().any(|arg| arg == "nodelay") {
            draft.note(directive.line, "`limit_req` without `nodelay`: requests within the burst are not delayed");
        }
        let config = json!({
            "limit": limit, "per": per, "burst": burst.max(1), "key": zone.key.clone()?, "scope": { "shared": name },
        });
        Some(plugin("rate-limit", config))
    }
}

fn key_of(key: &str) -> Option<Value> {
    match key.trim_start_matches('$').trim_matches(['{', '}']) {
        "binary_remote_addr" | "remote_addr" => Some(json!("client-address")),
        "server_name" | "host" => Some(json!("route")),
        name => Some(json!({ "header": name.strip_prefix("http_")?.replace('_', "-") })),
    }
}
