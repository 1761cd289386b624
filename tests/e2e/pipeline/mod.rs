//! What a route's list of plugins does with a request and its response, with the tests' guests as plugins.

mod bodies;
mod capabilities;
mod capacity;
mod chunks;
mod crowds;
mod data_edits;
mod data_grants;
mod instances;
mod lease_waits;
mod measured;
mod order;
mod plugin_memory;
mod room;
mod runaway;
mod signed;
mod skipped;
mod slow_clients;
mod timers;
mod waiting;
mod words;

use std::net::SocketAddr;

use crate::support::{Response, TestGateway, Upstream, client::Request, guests};

/// One route, on which plugins run before an upstream that tells what it saw. `naughty` and `waiter` are there to
/// be used; `waiter` may call `echo`.
struct Piped {
    gateway: TestGateway,
    upstream: Upstream,
}

impl Piped {
    /// A list of plugins as in YAML.
    async fn through(plugins: &str) -> Self {
        Self::with(plugins, "", "").await
    }

    /// The same with settings of both guests, and more top-level keys.
    async fn with(plugins: &str, settings: &str, more: &str) -> Self {
        let upstream = Upstream::echo().await;
        let yaml = yaml(&[("echo", upstream.address())], plugins, settings, more);
        let gateway = TestGateway::start_in(guests::folder(), &yaml).await;
        Self { gateway, upstream }
    }

    async fn get(&self, target: &str) -> Response {
        self.gateway.get(target).await
    }

    async fn send(&self, request: Request) -> Response {
        self.gateway.send(request).await
    }

    /// The value of a series on the metrics page.
    async fn metric(&self, series: &str) -> u64 {
        let page = self.gateway.metrics().await;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in {page}"))
    }
}

/// A configuration with one route to the first of the upstreams. `waiter` may call the last one.
fn yaml(upstreams: &[(&str, SocketAddr)], plugins: &str, settings: &str, more: &str) -> String {
    let (first, last) = (upstreams[0].0, upstreams[upstreams.len() - 1].0);
    let typed = upstreams.iter().map(|(name, address)| format!("{name}: {{ endpoints: ['http://{address}'] }}"));
    format!(
        "{own}upstreams: {{ {upstreams} }}
plugins: {{ {naughty}, {waiter} }}
routes: [{{ name: all, plugins: {plugins}, upstream: {first} }}]
{more}
",
        own = guests::OWN,
        upstreams = typed.collect::<Vec<_>>().join(", "),
        naughty = guests::naughty(settings),
        waiter = guests::waiter(&format!("upstreams: [{last}]"), settings),
    )
}

/// `naughty` doing a deed in a phase.
fn naughty(deed: &str, phase: &str) -> String {
    format!("{{ name: naughty, config: {{ do: {deed}, phase: {phase} }} }}")
}

fn waiter(deed: &str) -> String {
    format!("{{ name: waiter, config: {{ do: {deed}, upstream: echo }} }}")
}

/// A plugin that leaves its name in both directions.
fn passes(name: &str) -> String {
    let edits = format!("{{ append-headers: {{ x-passed: {name} }} }}");
    format!("{{ name: transform, config: {{ request: {edits}, response: {edits} }} }}")
}
