//! While requests are served: what a guest does costs its own call, and traffic on another route goes on
//! without one error *while it happens*.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Client, Response, TestGateway, Traffic, Upstream, client::Request, guests};

/// Requests for the guest's route in each test, some at the same time.
const ROUNDS: usize = 4;
const AT_ONCE: usize = 4;

/// A gateway with a route `/bad` for the guest, and `/good`, which has a plugin of the same component.
struct Town {
    gateway: TestGateway,
    upstream: Upstream,
}

impl Town {
    async fn with(guest: &str, config: &Value, limits: &str) -> Self {
        let upstream = Upstream::echo().await;
        let limits = &format!("limits: {limits}");
        let yaml = format!(
            "{own}plugins:
  {naughty}
  {waiter}
  neighbour: {{ component: naughty.wasm, grants: {{ store: [own], secrets: [own], sinks: [own] }}, limits: {{ time: 10s }} }}
upstreams: {{ echo: {{ endpoints: ['http://{address}'] }} }}
routes:
  - {{ name: good, match: {{ path: /good }}, upstream: echo, plugins: [{{ name: neighbour, config: {{ do: mark }} }}] }}
  - {{ name: bad, match: {{ path: /bad }}, upstream: echo, plugins: [{{ name: {guest}, config: {config} }}] }}
",
            own = guests::OWN,
            naughty = guests::naughty(limits),
            waiter = guests::waiter("upstreams: [echo]", limits),
            address = upstream.address(),
        );
        Self { gateway: TestGateway::start_in(guests::folder(), &yaml).await, upstream }
    }

    /// Many requests to `/bad`, several at a time, on connections of their own.
    async fn provoke(&self) -> Vec<Response> {
        let mut all = Vec::new();
        for _ in 0..ROUNDS {
            let mut requests = JoinSet::new();
            for _ in 0..AT_ONCE {
                let address = self.gateway.address();
                requests.spawn(async move { Client::connect(address).await.send(Request::get("/bad")).await });
            }
            all.extend(requests.join_all().await);
        }
        all
    }

    async fn failures(&self, plugin: &str, kind: &str) -> Option<u64> {
        self.gateway.metric("gateway_wasm_failures_total", &[("plugin", plugin), ("kind", kind)]).await
    }
}

/// The guest does its deed in a phase; each request to it has this outcome, and other traffic none.
async fn costs_its_own_call((guest, limits): (&str, &str), config: Value, status: u16, failures: &str) {
    let town = Town::with(guest, &config, limits).await;
    let others = Traffic::start(town.gateway.address(), "/good").await;
    let before = town.upstream.requests();
    let answers = town.provoke().await;
    others.goes_on().await;
    others.end().await;
    for response in &answers {
        // After some time-outs in a row the plugin is not called for a while.
        let is_expected = response.status == status || failures == "timeout" && response.status == 503;
        assert!(is_expected, "{config}: {} {}", response.status, response.text());
        if status >= 500 {
            response.problem();
            assert_eq!(response.header_values("x-out").len() + response.header_values("set-cookie").len(), 0);
        }
    }
    assert!(town.upstream.requests() > before);
    if !failures.is_empty() {
        let count = ROUNDS * AT_ONCE;
        let mut counted = town.failures(guest, failures).await;
        if failures == "timeout" {
            assert!(counted.is_some_and(|timeouts| timeouts >= 3), "{counted:?}");
            counted = counted.zip(town.failures(guest, "circuit-open").await).map(|(failed, refused)| failed + refused);
        }
        assert_eq!(counted, Some(count as u64));
    }
    let neighbours = ["error", "trap", "timeout", "memory", "busy", "circuit-open"];
    for kind in neighbours {
        assert_eq!(town.failures("neighbour", kind).await, Some(0));
    }
}

/// For those who would go on for ever.
const BRIEF: (&str, &str) = ("naughty", "{ time: 25ms }");
/// For those who want all the memory there is.
const SMALL: (&str, &str) = ("naughty", "{ time: 10s, memory: 16MiB }");
/// For those who do something else that is wrong, however slow the machine is today.
const PATIENT: (&str, &str) = ("naughty", "{ time: 10s, memory: 128MiB }");

fn doing(deed: &str, phase: &str) -> Value {
    json!({ "do": deed, "phase": phase })
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_time_limit() {
    for phase in ["request", "response"] {
        costs_its_own_call(BRIEF, doing("loop", phase), 500, "timeout").await;
    }
    costs_its_own_call(("waiter", "{ time: 25ms }"), json!({ "do": "loop" }), 500, "timeout").await;
}

#[tokio::test]
async fn an_endless_loop_when_all_is_over_holds_up_nobody() {
    costs_its_own_call(BRIEF, doing("loop", "complete"), 200, "").await;
}

#[tokio::test]
async fn memory_without_end_ends_at_its_limit() {
    for phase in ["request", "response"] {
        costs_its_own_call(SMALL, doing("grow", phase), 500, "memory").await;
    }
}

#[tokio::test]
async fn a_trap_a_panic_and_an_exit_cost_one_call_each() {
    for deed in ["trap", "panic", "exit"] {
        for phase in ["request", "response"] {
            costs_its_own_call(PATIENT, doing(deed, phase), 500, "trap").await;
        }
    }
    costs_its_own_call(("waiter", "{ time: 10s }"), json!({ "do": "replace-then-trap" }), 500, "trap").await;
}

#[tokio::test]
async fn illegal_headers_reach_nobody() {
    for deed in ["illegal-header", "owned-header"] {
        for phase in ["request", "response"] {
            costs_its_own_call(PATIENT, doing(deed, phase), 500, "error").await;
        }
    }
    // A request that has no room for what a plugin makes of it is too large.
    costs_its_own_call(PATIENT, doing("many-headers", "request"), 431, "error").await;
    costs_its_own_call(PATIENT, doing("many-headers", "response"), 500, "error").await;
}

#[tokio::test]
async fn an_illegal_and_a_huge_reply_are_not_sent() {
    for deed in ["illegal-reply", "huge-reply"] {
        costs_its_own_call(PATIENT, doing(deed, "request"), 500, "trap").await;
    }
}

#[tokio::test]
async fn words_without_end_are_cut_off() {
    for deed in ["log-forever", "print-forever"] {
        for phase in ["request", "response"] {
            costs_its_own_call(BRIEF, doing(deed, phase), 500, "timeout").await;
        }
    }
}

#[tokio::test]
async fn who_sleeps_holds_up_nobody() {
    // Longer than it may run: waiting is not running.
    costs_its_own_call(("waiter", "{ time: 90ms }"), json!({ "do": "sleep", "timeout-ms": 100 }), 200, "").await;
}
