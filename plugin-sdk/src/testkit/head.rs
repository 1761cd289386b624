//! The heads of a request and a response, changed by the gateway's rules.

use std::cell::{Ref, RefCell};

pub(crate) use gateway_rules::edit::Phase;
use gateway_rules::{
    attributes::{Attributes, is_reserved},
    bounds::{Bounds, Room},
    edit::{self, EditError},
    fields::{field, field_name, refuse_owned, request_lines, request_values},
    headers::{Change, RequestEdit, ResponseEdits, apply, apply_to_request},
    path::{EncodedSlashes, MatrixParameters, Normal, PathRule, normalise},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::CONTENT_LENGTH, uri::PathAndQuery};

use super::{
    cache::Hold,
    data_grants::{Data, DataAccess, HOST, METHOD, PATH, STATUS, may},
};
use crate::{Body, body::Fields};

#[derive(Debug, Clone)]
pub(crate) struct RequestHead {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    pub(crate) authority: HeaderValue,
    pub(crate) target: PathAndQuery,
    pub(crate) original_target: PathAndQuery,
    pub(crate) protocol: &'static str,
    pub(crate) client: String,
    pub(crate) received_at: Option<u64>,
    pub(crate) trace_parent: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) route: String,
    /// The upstream that a plugin selected.
    pub(crate) upstream: Option<String>,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) attributes: Attributes,
    /// What the connection and the gateway say, and no plugin.
    pub(crate) reserved: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// Why the body ends early, if it does.
    pub(crate) interrupted: Option<String>,
    pub(crate) phase: Phase,
    pub(crate) cache: Hold,
    /// What becomes of the response when it is there.
    pub(crate) plan: ResponseEdits,
    pub(crate) bounds: Bounds,
    /// What the headers may become, from the first edit on.
    pub(crate) room: Option<Room>,
}

#[derive(Debug, Clone)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// Why the body ends early, if it does.
    pub(crate) interrupted: Option<String>,
    pub(crate) phase: Phase,
    pub(crate) bounds: Bounds,
    pub(crate) room: Option<Room>,
}

/// A request while it is lent to a plugin.
pub(crate) struct RawRequest(pub(crate) RefCell<RequestHead>);

/// A response while it is lent to a plugin.
pub(crate) struct RawResponse(pub(crate) RefCell<ResponseHead>);

impl From<EditError> for crate::EditError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::InvalidSyntax => Self::InvalidSyntax,
            EditError::Forbidden => Self::Forbidden,
            EditError::TooLarge => Self::TooLarge,
        }
    }
}

impl RequestHead {
    pub(crate) fn attribute(&self, key: &str) -> Option<&str> {
        if is_reserved(key) { find(&self.reserved, key) } else { self.attributes.get(key) }
    }
}

impl RawRequest {
    fn head(&self) -> Ref<'_, RequestHead> {
        self.0.borrow()
    }

    /// Edits the head, if the request phase lasts.
    fn edit(&self, edit: impl FnOnce(&mut RequestHead) -> Result<(), EditError>) -> Result<(), EditError> {
        let mut head = self.0.borrow_mut();
        if head.phase == Phase::Request { edit(&mut head) } else { Err(EditError::Forbidden) }
    }

    pub(crate) fn id(&self) -> String {
        self.head().id.clone()
    }

    pub(crate) fn method(&self) -> String {
        self.head().method.to_string()
    }

    pub(crate) fn scheme(&self) -> String {
        self.head().scheme.to_owned()
    }

    pub(crate) fn authority(&self) -> String {
        if reads(HOST) { text(&self.head().authority).to_owned() } else { String::new() }
    }

    pub(crate) fn path(&self) -> String {
        if reads(PATH) { self.head().target.path().to_owned() } else { String::new() }
    }

    pub(crate) fn query(&self) -> Option<String> {
        self.head().target.query().filter(|_| reads(PATH)).map(str::to_owned)
    }

    pub(crate) fn original_target(&self) -> String {
        if reads(PATH) { self.head().original_target.to_string() } else { String::new() }
    }

    pub(crate) fn protocol(&self) -> String {
        self.head().protocol.to_owned()
    }

    pub(crate) fn client_address(&self) -> String {
        self.head().client.clone()
    }

    pub(crate) fn received_at(&self) -> u64 {
        self.head().received_at.unwrap_or(0)
    }

    pub(crate) fn trace_parent(&self) -> Option<String> {
        self.head().trace_parent.clone().filter(|_| reads("traceparent"))
    }

    pub(crate) fn route(&self) -> String {
        self.head().route.clone()
    }

    pub(crate) fn path_parameter(&self, name: &str) -> Option<String> {
        find(&self.head().parameters, name).filter(|_| reads(PATH)).map(str::to_owned)
    }

    pub(crate) fn attribute(&self, key: &str) -> Option<String> {
        let is_granted = may(Data::Attributes, DataAccess::Read, key);
        self.head().attribute(key).filter(|_| is_granted).map(str::to_owned)
    }

    pub(crate) fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.header_values(name).into_iter().next()
    }

    pub(crate) fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        if !reads(name) {
            return Vec::new();
        }
        let head = self.head();
        request_values(&head.headers, &head.authority, name).map(|value| value.as_bytes().to_vec()).collect()
    }

    pub(crate) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let head = self.head();
        let lines = request_lines(&head.headers, &head.authority).filter(|(name, _)| reads(name));
        lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect()
    }

    pub(crate) fn set_method(&self, method: &str) -> Result<(), EditError> {
        writes(Data::RequestHeaders, METHOD)?;
        let method = edit::method(method)?;
        self.edit(|head| {
            head.method = method;
            Ok(())
        })
    }

    pub(crate) fn set_path_with_query(&self, value: &str) -> Result<(), EditError> {
        writes(Data::RequestHeaders, PATH)?;
        let target = {
            let head = self.head();
            edit::target(value, head.original_target.as_str().len(), head.bounds.added_uri_bytes)?
        };
        self.edit(|head| {
            head.target = target;
            Ok(())
        })
    }

    pub(crate) fn set_header(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        self.change(name, Change::Set(value))
    }

    pub(crate) fn append_header(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        self.change(name, Change::Append(value))
    }

    pub(crate) fn remove_header(&self, name: &str) -> Result<(), EditError> {
        self.change(field_name(name)?, Change::Remove)
    }

    pub(crate) fn change(&self, name: HeaderName, change: Change) -> Result<(), EditError> {
        writes(Data::RequestHeaders, name.as_str())?;
        match RequestEdit::check(name, change)? {
            RequestEdit::Authority(value) => self.edit(|head| {
                head.authority = value;
                Ok(())
            }),
            RequestEdit::Field(name, change) => self.edit(|head| {
                let RequestHead { headers, bounds, room, .. } = head;
                let room = *room.get_or_insert_with(|| Room::beyond(headers, bounds));
                apply_to_request(headers, name, change, room)
            }),
        }
    }

    pub(crate) fn select_upstream(&self, name: &str) -> Result<(), EditError> {
        self.edit(|head| {
            head.upstream = Some(name.to_owned());
            Ok(())
        })
    }

    pub(crate) fn set_attribute(&self, key: &str, value: &str) -> Result<(), EditError> {
        writes(Data::Attributes, key)?;
        let mut head = self.0.borrow_mut();
        Attributes::permit(key, head.phase)?;
        head.attributes.check(key, value, head.bounds.added_bytes)?;
        head.attributes.set(key, value, None);
        Ok(())
    }

    pub(crate) fn remove_attribute(&self, key: &str) -> Result<(), EditError> {
        writes(Data::Attributes, key)?;
        let mut head = self.0.borrow_mut();
        Attributes::permit(key, head.phase)?;
        Attributes::check_key(key)?;
        head.attributes.remove(key);
        Ok(())
    }

    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), u64> {
        self.head().bounds.check_body(body.len())
    }

    pub(crate) fn replace_body(&self, body: Body) -> Result<(), EditError> {
        self.edit(|head| {
            head.headers.remove(CONTENT_LENGTH);
            (head.body, head.trailers, head.interrupted) = (body.bytes, body.trailers, None);
            Ok(())
        })
    }
}

impl RawResponse {
    pub(crate) fn new(head: ResponseHead) -> Self {
        Self(RefCell::new(head))
    }

    fn edit(&self, edit: impl FnOnce(&mut ResponseHead) -> Result<(), EditError>) -> Result<(), EditError> {
        let mut head = self.0.borrow_mut();
        if head.phase == Phase::Response { edit(&mut head) } else { Err(EditError::Forbidden) }
    }

    pub(crate) fn status(&self) -> u16 {
        self.0.borrow().status.as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.header_values(name).into_iter().next()
    }

    pub(crate) fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        if !may(Data::ResponseHeaders, DataAccess::Read, name) {
            return Vec::new();
        }
        self.0.borrow().headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
    }

    pub(crate) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let head = self.0.borrow();
        let lines = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        lines.filter(|(name, _)| may(Data::ResponseHeaders, DataAccess::Read, name)).collect()
    }

    pub(crate) fn set_status(&self, status: u16) -> Result<(), EditError> {
        writes(Data::ResponseHeaders, STATUS)?;
        let status = edit::status(status)?;
        self.edit(|head| {
            head.status = status;
            Ok(())
        })
    }

    pub(crate) fn set_header(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        self.change(name, Change::Set(value))
    }

    pub(crate) fn append_header(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        self.change(name, Change::Append(value))
    }

    pub(crate) fn remove_header(&self, name: &str) -> Result<(), EditError> {
        self.change(field_name(name)?, Change::Remove)
    }

    pub(crate) fn change(&self, name: HeaderName, change: Change) -> Result<(), EditError> {
        writes(Data::ResponseHeaders, name.as_str())?;
        refuse_owned(&name)?;
        self.edit(|head| {
            let ResponseHead { headers, bounds, room, .. } = head;
            let room = *room.get_or_insert_with(|| Room::beyond(headers, bounds));
            apply(headers, name, change, room)
        })
    }

    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), u64> {
        self.0.borrow().bounds.check_body(body.len())
    }

    pub(crate) fn replace_body(&self, body: Body) -> Result<(), EditError> {
        self.edit(|head| {
            head.headers.remove(CONTENT_LENGTH);
            (head.body, head.trailers, head.interrupted) = (body.bytes, body.trailers, None);
            Ok(())
        })
    }
}

/// Whether the plugin may read a header of requests.
fn reads(name: &str) -> bool {
    may(Data::RequestHeaders, DataAccess::Read, name)
}

/// An edit that is not granted is refused.
pub(super) fn writes(data: Data, name: &str) -> Result<(), EditError> {
    if may(data, DataAccess::Write, name) { Ok(()) } else { Err(EditError::Forbidden) }
}

/// For values that are ASCII wherever they come from.
pub(crate) fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// Path and query of a request as plugins see them, on a route that keeps what services read in several ways.
pub(crate) fn target(value: &str, method: &Method) -> Option<PathAndQuery> {
    const RULE: PathRule = PathRule {
        encoded_slashes: EncodedSlashes::Keep,
        merge_slashes: false,
        matrix_parameters: MatrixParameters::Keep,
    };
    let target = PathAndQuery::try_from(value).ok().filter(|_| value.starts_with(['/', '*']))?;
    match normalise(&target, method).ok()? {
        Normal::Clear(target) => Some(target),
        Normal::Ambiguous(path) => path.under(RULE).ok(),
    }
}
