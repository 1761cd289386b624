//! The heads of a request and a response, with the gateway's rules on what may be changed about them.

use std::cell::{Ref, RefCell};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, HOST},
    uri::{Authority, PathAndQuery},
};

use super::{cache::Hold, edits::Planned};
use crate::{EditError, streams::Fields};

/// The gateway's defaults.
const MAX_HEADER_BYTES: usize = 64 * 1024;
const MAX_HEADER_COUNT: usize = 100;
const MAX_URI_BYTES: usize = 16 * 1024;
const MAX_ATTRIBUTES: usize = 128;
const MAX_ATTRIBUTE_BYTES: usize = 32 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Request,
    Response,
    Complete,
}

#[derive(Debug, Clone)]
pub(crate) struct RequestHead {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    pub(crate) authority: String,
    pub(crate) target: PathAndQuery,
    pub(crate) original_target: PathAndQuery,
    pub(crate) protocol: &'static str,
    pub(crate) client: String,
    pub(crate) received_at: Option<u64>,
    pub(crate) headers: HeaderMap,
    pub(crate) route: String,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) phase: Phase,
    pub(crate) cache: Hold,
    /// What becomes of the response when it is there.
    pub(crate) planned: Vec<Planned>,
}

#[derive(Debug, Clone)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// The memo of a plugin that changes the body as it passes.
    pub(crate) followed: Option<Vec<u8>>,
    pub(crate) phase: Phase,
}

/// A request while it is lent to a plugin.
pub(crate) struct RawRequest(pub(crate) RefCell<RequestHead>);

/// A response while it is lent to a plugin.
pub(crate) struct RawResponse(pub(crate) RefCell<ResponseHead>);

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
        self.head().authority.clone()
    }

    pub(crate) fn path(&self) -> String {
        self.head().target.path().to_owned()
    }

    pub(crate) fn query(&self) -> Option<String> {
        self.head().target.query().map(str::to_owned)
    }

    pub(crate) fn original_target(&self) -> String {
        self.head().original_target.to_string()
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

    pub(crate) fn route(&self) -> String {
        self.head().route.clone()
    }

    pub(crate) fn path_parameter(&self, name: &str) -> Option<String> {
        find(&self.head().parameters, name).map(str::to_owned)
    }

    pub(crate) fn attribute(&self, key: &str) -> Option<String> {
        find(&self.head().attributes, key).map(str::to_owned)
    }

    /// `host` is not among the headers but the authority.
    pub(crate) fn header(&self, name: &str) -> Option<Vec<u8>> {
        if name.eq_ignore_ascii_case("host") {
            return Some(self.authority().into_bytes());
        }
        self.head().headers.get(name).map(|value| value.as_bytes().to_vec())
    }

    pub(crate) fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        if name.eq_ignore_ascii_case("host") {
            return vec![self.authority().into_bytes()];
        }
        values(&self.head().headers, name)
    }

    pub(crate) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        lines(&self.head().headers)
    }

    pub(crate) fn set_method(&self, method: &str) -> Result<(), EditError> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| EditError::InvalidSyntax)?;
        if method == Method::CONNECT {
            return Err(EditError::Forbidden);
        }
        self.edit(|head| {
            head.method = method;
            Ok(())
        })
    }

    pub(crate) fn set_path_with_query(&self, value: &str) -> Result<(), EditError> {
        let target = target(value)?;
        self.edit(|head| {
            head.target = target;
            Ok(())
        })
    }

    pub(crate) fn set_header(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        if name == HOST {
            let text = value.to_str().map_err(|_| EditError::InvalidSyntax)?;
            if text.is_empty() || text.contains('@') || text.parse::<Authority>().is_err() {
                return Err(EditError::InvalidSyntax);
            }
            return self.edit(|head| {
                text.clone_into(&mut head.authority);
                Ok(())
            });
        }
        refuse_owned(&name)?;
        self.edit(|head| insert(&mut head.headers, name, value))
    }

    pub(crate) fn append_header(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        refuse_host(&name)?;
        refuse_owned(&name)?;
        self.edit(|head| append(&mut head.headers, name, value))
    }

    pub(crate) fn remove_header(&self, name: &str) -> Result<(), EditError> {
        let name = field_name(name)?;
        refuse_host(&name)?;
        refuse_owned(&name)?;
        self.edit(|head| {
            head.headers.remove(name);
            Ok(())
        })
    }

    /// Possible in every phase but the last.
    pub(crate) fn set_attribute(&self, key: &str, value: &str) -> Result<(), EditError> {
        let mut head = self.0.borrow_mut();
        if head.phase == Phase::Complete {
            return Err(EditError::Forbidden);
        }
        if key.is_empty() || key.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return Err(EditError::InvalidSyntax);
        }
        let others: usize = head.attributes.iter().filter(|(k, _)| k != key).map(|(k, v)| k.len() + v.len()).sum();
        let old = head.attributes.iter().position(|(k, _)| k == key);
        if others + key.len() + value.len() > MAX_ATTRIBUTE_BYTES
            || (old.is_none() && head.attributes.len() >= MAX_ATTRIBUTES)
        {
            return Err(EditError::TooLarge);
        }
        match old {
            Some(i) => value.clone_into(&mut head.attributes[i].1),
            None => head.attributes.push((key.to_owned(), value.to_owned())),
        }
        Ok(())
    }

    pub(crate) fn replace_body(&self, body: &[u8]) -> Result<(), EditError> {
        self.edit(|head| {
            head.headers.remove(CONTENT_LENGTH);
            head.body = body.to_vec();
            Ok(())
        })
    }
}

impl ResponseHead {
    pub(crate) fn empty() -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            followed: None,
            phase: Phase::Response,
        }
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
        self.0.borrow().headers.get(name).map(|value| value.as_bytes().to_vec())
    }

    pub(crate) fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        values(&self.0.borrow().headers, name)
    }

    pub(crate) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        lines(&self.0.borrow().headers)
    }

    pub(crate) fn set_status(&self, status: u16) -> Result<(), EditError> {
        let status = self::status(status)?;
        self.edit(|head| {
            head.status = status;
            Ok(())
        })
    }

    pub(crate) fn set_header(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        refuse_owned(&name)?;
        self.edit(|head| insert(&mut head.headers, name, value))
    }

    pub(crate) fn append_header(&self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        refuse_owned(&name)?;
        self.edit(|head| append(&mut head.headers, name, value))
    }

    pub(crate) fn remove_header(&self, name: &str) -> Result<(), EditError> {
        let name = field_name(name)?;
        refuse_owned(&name)?;
        self.edit(|head| {
            head.headers.remove(name);
            Ok(())
        })
    }

    pub(crate) fn replace_body(&self, body: &[u8]) -> Result<(), EditError> {
        self.edit(|head| {
            head.headers.remove(CONTENT_LENGTH);
            head.body = body.to_vec();
            Ok(())
        })
    }
}

pub(crate) fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn values(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

fn lines(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// Path and query in the normalised form that the gateway promises to upstreams: from the root, without dot
/// segments.
pub(crate) fn target(value: &str) -> Result<PathAndQuery, EditError> {
    if value.len() > MAX_URI_BYTES {
        return Err(EditError::TooLarge);
    }
    let (path, query) = value.split_once('?').unwrap_or((value, ""));
    if !path.starts_with('/')
        || !path.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\')
        || query.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#')
        || path.split('/').any(is_dot_segment)
    {
        return Err(EditError::InvalidSyntax);
    }
    PathAndQuery::try_from(value).map_err(|_| EditError::InvalidSyntax)
}

fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

pub(crate) fn status(status: u16) -> Result<StatusCode, EditError> {
    let code = StatusCode::from_u16(status).ok().filter(|_| (200..600).contains(&status));
    code.ok_or(EditError::InvalidSyntax)
}

pub(crate) fn field(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), EditError> {
    let value = HeaderValue::from_bytes(value).map_err(|_| EditError::InvalidSyntax)?;
    Ok((field_name(name)?, value))
}

fn field_name(name: &str) -> Result<HeaderName, EditError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| EditError::InvalidSyntax)
}

/// Connection management and framing are the gateway's (RFC 9110 §7.6.1, RFC 9112 §6).
pub(crate) fn refuse_owned(name: &HeaderName) -> Result<(), EditError> {
    const OWNED: [&str; 8] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
    ];
    if OWNED.contains(&name.as_str()) { Err(EditError::Forbidden) } else { Ok(()) }
}

fn refuse_host(name: &HeaderName) -> Result<(), EditError> {
    if *name == HOST { Err(EditError::Forbidden) } else { Ok(()) }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), EditError> {
    let new = line_bytes(&name, &value);
    let old: usize = headers.get_all(&name).iter().map(|value| line_bytes(&name, value)).sum();
    // Only an edit that adds is refused: a head may arrive at its limit and be trimmed.
    if new > old && section_bytes(headers) - old + new > MAX_HEADER_BYTES {
        return Err(EditError::TooLarge);
    }
    if old == 0 && headers.len() >= MAX_HEADER_COUNT {
        return Err(EditError::TooLarge);
    }
    headers.insert(name, value);
    Ok(())
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), EditError> {
    if section_bytes(headers) + line_bytes(&name, &value) > MAX_HEADER_BYTES || headers.len() >= MAX_HEADER_COUNT {
        return Err(EditError::TooLarge);
    }
    headers.append(name, value);
    Ok(())
}

/// The size of a header section as HTTP/1.1 writes it.
fn section_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| line_bytes(name, value)).sum()
}

fn line_bytes(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + 4
}
