//! What an author implements.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Body, BodyError, Decision, Error, Outcome, Problems, Request, Response, ResponseDecision,
    body::{Chunk, ChunkResult},
    messages::{Message, MessageResult, Sender},
};

/// A plugin: what it is called, how it is configured, and the state of one instance.
///
/// The gateway keeps several instances of a plugin for each configuration, gives each one call at a time
/// and may replace any of them at any moment. So the phases take `&mut self`, and the fields are a cache and
/// no more: what must outlive an instance, or be seen by the others, belongs into the [`store`](crate::store).
pub trait Plugin: Sized + 'static {
    /// The configuration. Its doc comments become the descriptions in the JSON Schema by which the gateway
    /// checks the YAML before any route serves; `#[serde(deny_unknown_fields)]` makes a misspelt option an
    /// error. Use [`NoConfig`](crate::NoConfig) where there is nothing to configure.
    type Config: DeserializeOwned + JsonSchema;

    /// The name that the plugin reports. Empty, which is the default, for that of the crate, without a
    /// leading `plugin-`.
    const NAME: &'static str = "";

    /// Makes an instance. Problems stop the gateway, or the reload, and are shown to the operator with the
    /// place in the YAML; so check here what the schema cannot express.
    ///
    /// # Errors
    ///
    /// Every problem of the configuration, each with a JSON Pointer to its value.
    fn new(config: Self::Config) -> Result<Self, Problems>;

    /// The phases in which there is anything to do with this configuration; all that are exported unless it says
    /// otherwise. The gateway does not call the others. It asks one instance for all that have the same
    /// configuration, so the answer must follow from that alone.
    fn phases(&self) -> Phases {
        Phases::default()
    }
}

/// Phases of an exchange, and what their calls can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases {
    /// The request phase, with the bodies of requests.
    pub request: bool,
    /// The response phase, with the bodies of responses, and with messages.
    pub response: bool,
    /// The completion phase.
    pub completion: bool,
    /// [`Cache::find`](crate::cache::Cache::find) is not called with `shared`, so it never waits. Then calls cost less while the state is in
    /// Redis. False by default; if it is true, `shared` has no effect.
    pub local_cache: bool,
}

impl Default for Phases {
    /// All of them.
    fn default() -> Self {
        Self { request: true, response: true, completion: true, local_cache: false }
    }
}

/// Says which requests it has an answer for with its configuration, such as the calls of a service. The operator can make
/// routes of them (`match: { from-plugin: NAME }`), and have them described (`gateway openapi`). Exported as `catalogue`.
pub trait Catalogue: Plugin {
    /// All of them.
    fn endpoints(&self) -> Vec<Endpoint>;

    /// A document of OpenAPI 3.1; none unless it is written.
    fn openapi(&self) -> Option<Value> {
        None
    }
}

/// A request that a plugin has an answer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// In upper case; empty for any.
    pub method: String,
    /// A pattern as in the gateway's configuration: `/shelves/{shelf}`, `/files/{*rest}`. It may match more than the plugin has
    /// an answer for.
    pub path: String,
    /// For people: what is called, such as `bookstore.Bookstore/GetShelf`.
    pub about: String,
}

/// Works in the background, without a request: refreshes a value, flushes a buffer, measures a service. Exported as `timers`.
///
/// Each gateway process runs each timer of a configuration once, on one of its workers, for as long as a route or the global plugins
/// use the plugin.
///
/// ```
/// use std::time::Duration;
/// use plugin_sdk::{Error, NoConfig, Plugin, Problems, Timer, Timers, http_client::Call, store::Bucket};
///
/// struct Rates;
/// # impl Plugin for Rates {
/// #     type Config = NoConfig;
/// #     fn new(_: NoConfig) -> Result<Self, Problems> { Ok(Self) }
/// # }
///
/// impl Timers for Rates {
///     fn timers(&self) -> Vec<Timer> {
///         vec![Timer::new("refresh", Duration::from_secs(30))]
///     }
///
///     fn on_timer(&mut self, _: &str) -> Result<(), Error> {
///         let rates = Call::get("rates", "/latest").send()?;
///         Bucket::new("rates").set("latest", &rates.body, None)?;
///         Ok(())
///     }
/// }
/// plugin_sdk::export_plugin!(Rates: timers);
///
/// # use plugin_sdk::{Reply, testkit::TestHost};
/// let host = TestHost::new();
/// host.set_answer("rates", Ok(Reply::new(200).with_text("1.08")));
/// host.plugin::<Rates>(plugin_sdk::serde_json::json!({})).unwrap().fire("refresh");
/// ```
pub trait Timers: Plugin {
    /// The timers with this configuration: up to 16, with unique names of 1 to 64 bytes. Called once for all instances that have the
    /// same configuration, so the result must follow from that alone.
    fn timers(&self) -> Vec<Timer>;

    /// Called within a second after the configuration becomes active, and then after each interval, counted from the end of the
    /// previous call. Calls of one timer never overlap. Each call may be made on another instance.
    ///
    /// # Errors
    ///
    /// An error is counted and logged, and the next call is made after the interval.
    fn on_timer(&mut self, name: &str) -> Result<(), Error>;
}

/// A timer of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Unique among the timers of the configuration; 1 to 64 bytes without control characters.
    pub name: String,
    /// From the end of a call to the beginning of the next one: 1 second to 24 hours.
    pub interval: Duration,
}

impl Timer {
    /// A timer with this name and interval.
    pub fn new(name: impl Into<String>, interval: Duration) -> Self {
        Self { name: name.into(), interval }
    }
}

/// Takes part in the request phase. Exported as `request`.
pub trait RequestFilter: Plugin {
    /// Called before the upstream is. A response ends the request phase: later plugins and the upstream do not see the request,
    /// earlier plugins see the response in their response phase.
    ///
    /// # Errors
    ///
    /// An error says that the plugin itself failed. The route's `on-error` decides what follows, and the text goes to the
    /// gateway's log. To refuse a request, return [`Decision::Respond`].
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error>;
}

/// Reads whole request bodies. Exported as `request_body`.
pub trait RequestBodyFilter: Plugin {
    /// Called after [`RequestFilter::on_request`] has returned [`Decision::ReadBody`]; or, if the plugin does not export `request`,
    /// for every request. [`Decision::ReadBody`] is not a valid decision here.
    ///
    /// The gateway buffers the body before the call, up to the route's limit, and holds no instance meanwhile. So another instance
    /// than that of `on_request` may be called; edits that were made there are in effect.
    ///
    /// # Errors
    ///
    /// As in [`RequestFilter::on_request`].
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error>;
}

/// Changes request bodies while they pass to the upstream. Exported as `request_stream`.
pub trait RequestStream: Plugin {
    /// Called with each chunk, after [`Decision::StreamBody`]. The gateway keeps the state of each body, so keep nothing of it in
    /// the instance: the next chunk may be given to another one.
    ///
    /// # Errors
    ///
    /// An error ends the request with an error, and its text goes to the gateway's log.
    fn on_request_chunk(&mut self, chunk: Chunk) -> Result<ChunkResult, Error>;
}

/// Takes part in the response phase. Exported as `response`.
pub trait ResponseFilter: Plugin {
    /// Called with the upstream's response, the response of a later plugin, or the gateway's own error response.
    ///
    /// # Errors
    ///
    /// As in [`RequestFilter::on_request`].
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error>;
}

/// Reads whole response bodies. Exported as `response_body`.
pub trait ResponseBodyFilter: Plugin {
    /// Called after [`ResponseFilter::on_response`] has returned [`ResponseDecision::ReadBody`]; or, if the plugin does not export
    /// `response`, for every response. Otherwise as [`RequestBodyFilter::on_request_body`].
    ///
    /// # Errors
    ///
    /// As in [`RequestFilter::on_request`].
    fn on_response_body(
        &mut self,
        request: &Request,
        response: &Response,
        body: Result<Body, BodyError>,
    ) -> Result<ResponseDecision, Error>;
}

/// Changes response bodies while they pass to the client. Exported as `response_stream`.
pub trait ResponseStream: Plugin {
    /// Called with each chunk, after [`ResponseDecision::StreamBody`], as [`RequestStream::on_request_chunk`].
    ///
    /// # Errors
    ///
    /// An error aborts the response, and its text goes to the gateway's log.
    fn on_response_chunk(&mut self, chunk: Chunk) -> Result<ChunkResult, Error>;
}

/// Reads, changes, drops, adds and answers the messages of WebSockets and the events of event streams. Exported as `messages`.
pub trait MessageFilter: Plugin {
    /// Called with each whole message, after [`ResponseDecision::StreamMessages`]. The gateway keeps the state of each connection, so
    /// keep nothing of it in the instance: the next message may be given to another one.
    ///
    /// # Errors
    ///
    /// An error closes the WebSocket with the code 1011, or aborts the event stream, and its text goes to the gateway's log.
    fn on_message(&mut self, sender: Sender, message: Message, state: &[u8]) -> Result<MessageResult, Error>;
}

/// Takes part in the completion phase. Exported as `observe`.
pub trait Observer: Plugin {
    /// Called once for each exchange, however it ended: a response, an error, or a client that disconnected. Nothing can be changed
    /// any more, and no client waits.
    fn on_complete(&mut self, request: &Request, response: Option<&Response>, outcome: &Outcome);
}
