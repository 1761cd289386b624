//! Several changes of an exchange, made together.

use std::fmt;

use crate::{EditError, Request, Response, host};

/// One change of an exchange, for [`Edits`]. Its value comes with each [`Edits::apply`], unless it is
/// [`always`](Self::always) the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) value: Option<Vec<u8>>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    SetHeader,
    AppendHeader,
    RemoveHeader,
    SetResponseHeader,
    AppendResponseHeader,
    RemoveResponseHeader,
    DefaultResponseHeader,
    JoinResponseHeader,
    SetAttribute,
    RemoveAttribute,
}

impl Kind {
    /// Makes an edit of the request or of an attribute; `None` if it is none.
    pub(crate) fn edit_request(
        self,
        name: &str,
        value: Option<&[u8]>,
        request: &host::RawRequest,
    ) -> Option<Result<(), EditError>> {
        Some(match (self, value) {
            (Self::SetHeader, Some(value)) => host::edited(request.set_header(name, value)),
            // A request always has one.
            (Self::SetHeader, None) if name.eq_ignore_ascii_case("host") => Ok(()),
            (Self::SetHeader, None) | (Self::RemoveHeader, _) => host::edited(request.remove_header(name)),
            (Self::AppendHeader, Some(value)) => host::edited(request.append_header(name, value)),
            (Self::SetAttribute, Some(value)) => match std::str::from_utf8(value) {
                Ok(value) => host::edited(request.set_attribute(name, value)),
                Err(_) => Err(EditError::InvalidSyntax),
            },
            (Self::RemoveAttribute, _) => host::edited(request.remove_attribute(name)),
            (Self::AppendHeader | Self::SetAttribute, None) => Ok(()),
            _ => return None,
        })
    }

    /// Makes an edit of a response that is there; `None` if it is none, or if a single call does not do it.
    pub(crate) fn edit_response(
        self,
        name: &str,
        value: Option<&[u8]>,
        response: &host::RawResponse,
    ) -> Option<Result<(), EditError>> {
        Some(match (self, value) {
            (Self::SetResponseHeader, Some(value)) => host::edited(response.set_header(name, value)),
            (Self::SetResponseHeader, None) | (Self::RemoveResponseHeader, _) => {
                host::edited(response.remove_header(name))
            }
            (Self::AppendResponseHeader, Some(value)) => host::edited(response.append_header(name, value)),
            (Self::AppendResponseHeader, None) => Ok(()),
            _ => return None,
        })
    }
}

impl Edit {
    fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), value: None }
    }

    /// As [`Request::set_header`]. Where the value is missing, the header is removed; but a missing `host` stays as it is.
    pub fn set_header(name: impl Into<String>) -> Self {
        Self::new(Kind::SetHeader, name)
    }

    /// As [`Request::append_header`].
    pub fn append_header(name: impl Into<String>) -> Self {
        Self::new(Kind::AppendHeader, name)
    }

    /// As [`Request::remove_header`]. It takes no value.
    pub fn remove_header(name: impl Into<String>) -> Self {
        Self::new(Kind::RemoveHeader, name)
    }

    /// As [`Response::set_header`]. Where the value is missing, the header is removed.
    pub fn set_response_header(name: impl Into<String>) -> Self {
        Self::new(Kind::SetResponseHeader, name)
    }

    /// As [`Response::append_header`].
    pub fn append_response_header(name: impl Into<String>) -> Self {
        Self::new(Kind::AppendResponseHeader, name)
    }

    /// As [`Response::remove_header`]. It takes no value.
    pub fn remove_response_header(name: impl Into<String>) -> Self {
        Self::new(Kind::RemoveResponseHeader, name)
    }

    /// Sets a header where the response has none of that name.
    pub fn default_response_header(name: impl Into<String>) -> Self {
        Self::new(Kind::DefaultResponseHeader, name)
    }

    /// Adds a member to a list of tokens, such as that of `vary`, unless it is there in whatever case, or `*` is.
    pub fn join_response_header(name: impl Into<String>) -> Self {
        Self::new(Kind::JoinResponseHeader, name)
    }

    /// As [`Request::set_attribute`].
    pub fn set_attribute(key: impl Into<String>) -> Self {
        Self::new(Kind::SetAttribute, key)
    }

    /// As [`Request::remove_attribute`]. It takes no value.
    pub fn remove_attribute(key: impl Into<String>) -> Self {
        Self::new(Kind::RemoveAttribute, key)
    }

    /// With a value that is always the same.
    #[must_use]
    pub fn always(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Bytes of its name and its value.
    fn size(&self) -> usize {
        self.name.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Changes that are made together: one call into the gateway instead of one for each. Made once, in
/// [`Plugin::new`](crate::Plugin::new), and kept. It has up to 256 edits with up to 64 KiB of names and values together,
/// and a plugin may have up to 16 of them; more would be a trap.
///
/// In the request phase, headers of the response are changed later: when the response passes the plugin on its way back.
/// So a plugin that knows by the request alone what is to become of the response needs no response phase, which would be
/// one more call.
///
/// ```
/// use plugin_sdk::{Edit, Edits, testkit::{TestHost, TestRequest, TestResponse}};
/// # use plugin_sdk::{Decision, Error, NoConfig, Plugin, Problems, Request, RequestFilter};
///
/// struct Greeter(Edits);
///
/// impl Plugin for Greeter {
///     type Config = NoConfig;
///     fn new(_: NoConfig) -> Result<Self, Problems> {
///         let edits = [
///             Edit::set_header("x-tenant"),
///             Edit::set_response_header("x-greeting").always("hello"),
///             Edit::join_response_header("vary").always("x-tenant"),
///         ];
///         Ok(Self(Edits::new(&edits)))
///     }
/// }
///
/// impl RequestFilter for Greeter {
///     fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
///         self.0.apply(request, None, [Some("acme".as_bytes())])?;
///         Ok(Decision::Next)
///     }
/// }
///
/// let host = TestHost::new();
/// let mut greeter = host.plugin::<Greeter>(serde_json::json!({})).unwrap();
/// let exchange = greeter.request(TestRequest::get("/")).with_response(TestResponse::new(200));
/// assert_eq!(exchange.header("x-tenant"), Some("acme"));
/// assert_eq!(exchange.response_header("x-greeting"), Some("hello"));
/// ```
pub struct Edits(host::RawEdits);

impl Edits {
    /// Edits of a list.
    pub const MAX_EDITS: usize = 256;
    /// Bytes of their names and values.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Whether there are not too many of them. For plugins whose edits are configured.
    ///
    /// # Errors
    ///
    /// A text for the operator.
    pub fn check(edits: &[Edit]) -> Result<(), String> {
        let bytes: usize = edits.iter().map(Edit::size).sum();
        if edits.len() > Self::MAX_EDITS || bytes > Self::MAX_BYTES {
            let (most, most_bytes) = (Self::MAX_EDITS, Self::MAX_BYTES);
            return Err(format!("is too much: {} edits of {bytes} bytes, over {most} or {most_bytes}", edits.len()));
        }
        Ok(())
    }

    /// Makes a list of edits known to the gateway.
    pub fn new(edits: &[Edit]) -> Self {
        Self(host::edits(edits))
    }

    /// Applies the edits in their order. `values` are those of the edits without a value of their own, in the same order; one may
    /// be missing. `response` is present in the response phase.
    ///
    /// # Errors
    ///
    /// The first edit that was refused. The others are applied.
    pub fn apply<'a>(
        &self,
        request: &Request,
        response: Option<&Response>,
        values: impl IntoIterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), RefusedEdit> {
        host::apply_edits(&self.0, &request.0, response.map(|response| &response.0), values.into_iter())
    }
}

/// The first edit of a list that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedEdit {
    /// Its index in the list.
    pub index: usize,
    /// Why.
    pub error: EditError,
}

impl fmt::Display for RefusedEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "edit {} of the list: {}", self.index, self.error)
    }
}

impl std::error::Error for RefusedEdit {}
