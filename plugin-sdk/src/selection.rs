//! Several things about an exchange, read together.

use crate::{Request, Response, host};

/// One thing about an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// As [`Request::id`].
    RequestId,
    /// As [`Request::method`].
    Method,
    /// As [`Request::scheme`].
    Scheme,
    /// As [`Request::authority`].
    Authority,
    /// As [`Request::path`].
    Path,
    /// As [`Request::query`].
    Query,
    /// As [`Request::original_target`].
    OriginalTarget,
    /// As [`Request::protocol`].
    Protocol,
    /// As [`Request::client_address`].
    ClientAddress,
    /// As [`Request::route`].
    Route,
    /// As [`Request::header_bytes`].
    Header(String),
    /// As [`Response::header_bytes`]; missing where there is no response.
    ResponseHeader(String),
    /// As [`Request::attribute`].
    Attribute(String),
    /// As [`Request::path_parameter`].
    PathParameter(String),
    /// As [`Response::status`], in three digits; missing where there is no response.
    ResponseStatus,
}

/// Things that are read together: one call into the gateway instead of one for each. Made once, in
/// [`Plugin::new`](crate::Plugin::new), and kept. It has up to 256 items, whose names have up to 16 KiB together, and
/// a plugin may have up to 64 of them; more would be a trap.
///
/// ```
/// use plugin_sdk::{Item, Selection, testkit::{TestHost, TestRequest}};
/// # use plugin_sdk::{Decision, Error, NoConfig, Plugin, Problems, Request, RequestFilter};
///
/// struct Shadow(Selection);
///
/// impl Plugin for Shadow {
///     type Config = NoConfig;
///     fn new(_: NoConfig) -> Result<Self, Problems> {
///         Ok(Self(Selection::new(&[Item::Method, Item::Header("x-user".into())])))
///     }
/// }
///
/// impl RequestFilter for Shadow {
///     fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
///         let values = self.0.read(request, None);
///         assert_eq!(values.iter().collect::<Vec<_>>(), [Some(&b"GET"[..]), None]);
///         Ok(Decision::Next)
///     }
/// }
///
/// let host = TestHost::new();
/// host.plugin::<Shadow>(serde_json::json!({})).unwrap().request(TestRequest::get("/"));
/// ```
pub struct Selection(host::RawSelection);

impl Selection {
    /// Items of a selection.
    pub const MAX_ITEMS: usize = 256;
    /// Bytes of the names of its items.
    pub const MAX_NAME_BYTES: usize = 16 * 1024;

    /// Selects these items, in this order.
    pub fn new(items: &[Item]) -> Self {
        Self(host::selection(items))
    }

    /// Their values.
    pub fn read(&self, request: &Request, response: Option<&Response>) -> Values {
        let (bytes, lengths) = host::read_selection(&self.0, &request.0, response.map(|response| &response.0));
        Values { bytes, lengths }
    }
}

/// The values of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// Those that are there, one after another.
    bytes: Vec<u8>,
    lengths: Vec<Option<u32>>,
}

impl Values {
    /// The values in the order of the items; `None` for one that is missing.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |length| {
            let (value, after) = rest.split_at_checked((*length)? as usize)?;
            rest = after;
            Some(value)
        })
    }
}
