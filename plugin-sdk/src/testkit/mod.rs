//! Runs a plugin natively against a fake gateway.
//!
//! The fake applies the gateway's own rules (the crate `gateway-rules`) to edits, attributes, limits and quotas, with a clock that
//! tests set. It makes real signature checks, and keeps what the plugin logged, counted, wrote to sinks and asked of upstreams.
//!
//! ```
//! use plugin_sdk::testkit::{TestHost, TestRequest};
//! use plugin_sdk::{Decision, Error, NoConfig, Plugin, Problem, Problems, Request, RequestFilter};
//! use serde_json::json;
//!
//! struct Door;
//!
//! impl Plugin for Door {
//!     type Config = NoConfig;
//!     fn new(_: NoConfig) -> Result<Self, Problems> {
//!         Ok(Self)
//!     }
//! }
//!
//! impl RequestFilter for Door {
//!     fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
//!         let Some(user) = request.header("x-user") else { return Ok(Problem::new(401).into()) };
//!         request.set_attribute("user", &user)?;
//!         Ok(Decision::Next)
//!     }
//! }
//!
//! let host = TestHost::new();
//! let mut door = host.plugin::<Door>(json!({})).unwrap();
//! let exchange = door.request(TestRequest::get("/").header("x-user", "anna"));
//! assert_eq!(exchange.attribute("user"), Some("anna"));
//! assert_eq!(door.request(TestRequest::get("/")).reply().unwrap().status, 401);
//! ```

mod cache;
pub(crate) mod crypto;
mod data_grants;
mod documents;
mod edits;
mod exchange;
mod faults;
mod head;
pub(crate) mod host;
mod leases;
mod message;
mod messages;
mod metrics;
mod plugin;
mod store;
mod streams;
mod tcp;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use gateway_rules::{
    bounds::{Bounds, Received},
    data_grants::DataGrants,
    metric::counter_name,
};
use serde_json::Value;

pub use exchange::TestExchange;
pub use message::{TestRequest, TestResponse};
pub use messages::TestDelivery;
pub use plugin::TestPlugin;

use crate::{
    Plugin, Problems, Reply, config,
    http_client::{Call, CallError},
    log::Level,
    tcp::{Message, TcpError},
};

/// A fake gateway. Clones are the same one.
#[derive(Clone, Default)]
pub struct TestHost(Rc<RefCell<State>>);

/// A line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The text.
    pub message: String,
    /// What stays apart from the text.
    pub fields: Vec<(String, String)>,
}

type Answer = Box<dyn FnMut(&Call) -> Result<Reply, CallError>>;

pub(crate) struct State {
    now: Duration,
    denied: Vec<String>,
    /// What plugins may read and write of exchanges.
    data: DataGrants,
    store: store::Store,
    /// What is counted in this gateway alone.
    local_store: store::Store,
    store_down: bool,
    /// Of the exchange at hand, in the calls that have one.
    exchange_holds: Option<leases::Holds>,
    faults: faults::Faults,
    buffer_bytes: usize,
    documents: documents::Documents,
    cache: cache::Cache,
    passwords_busy: bool,
    /// No request waits.
    configuring: bool,
    sinks: BTreeMap<String, Vec<Vec<u8>>>,
    sinks_full: bool,
    secrets: BTreeMap<String, Vec<u8>>,
    /// Secrets that can be keys and cannot be read.
    secrets_to_use: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    calls: Vec<Call>,
    /// Each call in progress has a clone.
    pending_calls: Rc<()>,
    tcp: tcp::Connections,
    while_waiting: Option<Box<dyn FnMut()>>,
    answer: Option<Answer>,
    log: Vec<LogLine>,
    metrics: metrics::Metrics,
}

impl Default for State {
    fn default() -> Self {
        Self {
            // 2026-01-01T00:00:00Z: tests should not depend on the day they run.
            now: Duration::from_secs(1_767_225_600),
            denied: Vec::new(),
            data: DataGrants::default(),
            store: store::Store::default(),
            local_store: store::Store::default(),
            store_down: false,
            exchange_holds: None,
            faults: faults::Faults::default(),
            buffer_bytes: Received::default().buffer_bytes,
            documents: documents::Documents::default(),
            cache: cache::Cache::default(),
            passwords_busy: false,
            configuring: false,
            sinks: BTreeMap::new(),
            sinks_full: false,
            secrets: BTreeMap::new(),
            secrets_to_use: BTreeMap::new(),
            files: BTreeMap::new(),
            calls: Vec::new(),
            pending_calls: Rc::new(()),
            tcp: tcp::Connections::default(),
            while_waiting: None,
            answer: None,
            log: Vec::new(),
            metrics: metrics::Metrics::default(),
        }
    }
}

impl State {
    fn bounds(&self) -> Bounds {
        Bounds::new(Received { buffer_bytes: self.buffer_bytes, ..Received::default() })
    }
}

impl TestHost {
    /// A gateway that grants everything, at midnight UTC on 1 January 2026.
    pub fn new() -> Self {
        Self::default()
    }

    /// Configures a plugin, as the gateway does.
    ///
    /// # Errors
    ///
    /// What the gateway would show to the operator.
    pub fn plugin<P: Plugin>(&self, config: Value) -> Result<TestPlugin<P>, Problems> {
        self.0.borrow_mut().configuring = true;
        let plugin = self.run(|| config::configure(&config.to_string()));
        self.0.borrow_mut().configuring = false;
        let plugin = plugin?;
        Ok(TestPlugin { host: self.clone(), plugin })
    }

    /// Runs something that calls the host but is not a plugin.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        host::enter(self, f)
    }

    /// The keys of the requests that were made once more, behind the client's back, since this was last asked.
    pub fn renewals(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().cache.renewals)
    }

    /// Sets the clock, as time since the Unix epoch.
    pub fn set_time(&self, since_epoch: Duration) {
        self.0.borrow_mut().now = since_epoch;
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.0.borrow_mut().now += by;
    }

    /// Denies everything of this name: upstream, bucket, secret, sink or file.
    pub fn deny(&self, name: &str) {
        self.0.borrow_mut().denied.push(name.to_owned());
    }

    /// Whether the store can be reached; it can at first.
    pub fn set_store_available(&self, available: bool) {
        self.0.borrow_mut().store_down = !available;
    }

    /// Whether too many passwords are being verified; none are at first.
    pub fn set_passwords_busy(&self, busy: bool) {
        self.0.borrow_mut().passwords_busy = busy;
    }

    /// Whether sinks drop what is written; they take it at first.
    pub fn set_sinks_full(&self, full: bool) {
        self.0.borrow_mut().sinks_full = full;
    }

    /// How long a body may be that a plugin reads, or puts in the place of one: the route's `buffer-bytes`, 1 MiB at first.
    pub fn set_buffer_bytes(&self, bytes: usize) {
        self.0.borrow_mut().buffer_bytes = bytes;
    }

    /// Gives a file its contents.
    pub fn set_file(&self, name: &str, contents: impl AsRef<[u8]>) {
        self.0.borrow_mut().files.insert(name.to_owned(), contents.as_ref().to_vec());
    }

    /// Gives a secret a value. The plugin can read it, and use it as a key.
    pub fn set_secret(&self, name: &str, value: impl AsRef<[u8]>) {
        let state = &mut *self.0.borrow_mut();
        state.secrets_to_use.remove(name);
        state.secrets.insert(name.to_owned(), value.as_ref().to_vec());
    }

    /// Gives a secret a value. The plugin can use it as a key, and cannot read it, as with `grants: { secrets: { NAME: use } }`.
    pub fn set_secret_to_use(&self, name: &str, value: impl AsRef<[u8]>) {
        let state = &mut *self.0.borrow_mut();
        state.secrets.remove(name);
        state.secrets_to_use.insert(name.to_owned(), value.as_ref().to_vec());
    }

    /// Says how upstreams answer the plugin's calls, and what documents they have; they cannot be reached at first.
    pub fn answer_calls(&self, answer: impl FnMut(&Call) -> Result<Reply, CallError> + 'static) {
        self.0.borrow_mut().answer = Some(Box::new(answer));
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.0.borrow().calls.clone()
    }

    /// Says how upstreams with TCP endpoints answer; they cannot be reached at first. No byte more arrives than the plugin waits
    /// for, and the connection is closed at the end of the answer.
    pub fn answer_messages(&self, answer: impl FnMut(&Message) -> Result<Vec<u8>, TcpError> + 'static) {
        self.0.borrow_mut().tcp.answering = Some(Box::new(answer));
    }

    /// The messages so far.
    pub fn messages(&self) -> Vec<Message> {
        self.0.borrow().tcp.messages.clone()
    }

    /// How many connections were released.
    pub fn released(&self) -> usize {
        self.0.borrow().tcp.released
    }

    /// Says what happens while a plugin waits for a lock or a lease, such as that another exchange stores a response. Nothing at first:
    /// then the time to wait is over.
    pub fn while_waiting(&self, happens: impl FnMut() + 'static) {
        self.0.borrow_mut().while_waiting = Some(Box::new(happens));
    }

    /// What was written to a sink, line by line, with U+FFFD for what is not UTF-8.
    pub fn lines(&self, sink: &str) -> Vec<String> {
        let state = self.0.borrow();
        let lines = state.sinks.get(sink).into_iter().flatten();
        lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// What was logged.
    pub fn log(&self) -> Vec<LogLine> {
        self.0.borrow().log.clone()
    }

    /// The value of a counter; 0 if it was never added to.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        match self.0.borrow().metrics.value(counter_name(name), labels) {
            Some(&metrics::Value::Counter(sum)) => sum,
            _ => 0,
        }
    }

    /// The value of a gauge, if it has one.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        match self.0.borrow().metrics.value(name, labels) {
            Some(&metrics::Value::Gauge(value)) => Some(value),
            _ => None,
        }
    }

    /// The values that a histogram got.
    pub fn observations(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        match self.0.borrow().metrics.value(name, labels) {
            Some(metrics::Value::Histogram(all)) => all.clone(),
            _ => Vec::new(),
        }
    }

    /// Updates of metrics that were dropped: a name or label that is not valid, a name that has another type already, or too many
    /// series.
    pub fn metrics_dropped(&self) -> u64 {
        self.0.borrow().metrics.dropped
    }
}

/// Seeds for tests that draw their values by lot: `1..=few`, the same ones each time. With `FUZZ_SECONDS` in the environment they
/// are new ones, for so long. Each is printed before it is used, and so shown when the test fails.
///
/// ```
/// assert!(plugin_sdk::testkit::seeds(3).count() >= 3);
/// ```
pub fn seeds(few: u64) -> impl Iterator<Item = u64> {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = seconds.map(|seconds| std::time::Instant::now() + Duration::from_secs(seconds));
    let first =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let seed = move |number: u64| match until {
        None => (number <= few).then_some(number),
        // Odd, so that multiples of it have all bits.
        Some(until) => (std::time::Instant::now() < until).then_some(first.wrapping_add(number).wrapping_mul(2) | 1),
    };
    (1..).map_while(seed).inspect(|seed| println!("seed {seed}"))
}

/// The JSON Schema by which the gateway would check a plugin's configuration.
pub fn config_schema<P: Plugin>() -> Value {
    config::schema::<P>().parse().expect("a schema is JSON")
}
