//! What an author implements.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Decision, Error, Outcome, Problems, Request, Response};

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

/// Phases of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases {
    /// Before the upstream.
    pub request: bool,
    /// With the response.
    pub response: bool,
    /// When all is over.
    pub completion: bool,
}

impl Default for Phases {
    /// All of them.
    fn default() -> Self {
        Self { request: true, response: true, completion: true }
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

/// Takes part in the request phase.
pub trait RequestFilter: Plugin {
    /// Called before the upstream is. Answering here ends the request phase: later plugins and the upstream
    /// see nothing of the request, earlier plugins see the answer in their response phase.
    ///
    /// # Errors
    ///
    /// An error says that the plugin itself failed; the route's `on-error` decides what becomes of the request,
    /// and the text goes to the gateway's log. To turn a client away, answer with [`Decision::Respond`].
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error>;
}

/// Takes part in the response phase.
pub trait ResponseFilter: Plugin {
    /// Called with the upstream's response, with the answer of a later plugin, or with the gateway's own error.
    ///
    /// # Errors
    ///
    /// As in [`RequestFilter::on_request`].
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<(), Error>;
}

/// Is told how each exchange ended.
pub trait Observer: Plugin {
    /// Called on every exit: after a response, an error, or when the client has left. Nothing can be changed
    /// any more, and no client waits. Without a response there is none to show.
    fn on_complete(&mut self, request: &Request, response: Option<&Response>, outcome: &Outcome);
}
