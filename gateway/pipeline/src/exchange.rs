//! One request and its response, with everything that plugins may read or change about them. The rules of
//! what may be changed live here, so that they hold for every kind of stage.

use std::{
    any::Any,
    borrow::Cow,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use gateway_http::{
    body::{Body, Traffic},
    parameters::Parameters,
    secured::Secured,
};
use gateway_telemetry::trace::Trace;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, uri::PathAndQuery};
use smallvec::SmallVec;

pub use gateway_rules::edit::{EditError, Phase};
use gateway_rules::{
    attributes::{Attributes, TLS},
    bounds::{Bounds, Room},
    edit,
    headers::Plan,
};

use super::{caller::Caller, spellings::Spellings, touched::Touched, undo::Undo};

/// One request on its way, and from some point on its response.
pub struct Exchange {
    pub id: HeaderValue,
    /// The client's address, as far as trusted proxies tell.
    pub client: IpAddr,
    /// What the client's TLS connection says, if it has TLS.
    pub secured: Option<Rc<Secured>>,
    pub started: Instant,
    /// When the phase began or the last of its stages ended: the next one's beginning, without another look at the
    /// clock. A stage that is timed moves it.
    pub mark: Instant,
    pub protocol: Version,
    /// Empty where no route matched.
    pub route: Arc<str>,
    /// What the path pattern captured.
    pub parameters: Parameters,
    pub request: RequestHead,
    pub request_body: Body,
    pub response: Option<ResponseHead>,
    pub response_body: Body,
    pub bounds: Rc<Bounds>,
    pub traffic: Rc<Traffic>,
    /// Where the request is recorded, if it is.
    pub trace: Option<Rc<Trace>>,
    pub phase: Phase,
    /// The position of the stage whose turn it is, or was last.
    pub stage: usize,
    /// What is to be asked again, from its stage on, when the client has its answer.
    pub behind: Option<Box<Exchange>>,
    /// What stages keep for themselves from one phase to the next, by the stage's position.
    pub stash: SmallVec<[(usize, Box<dyn Any>); 1]>,
    /// Positions of the stages that failed and were skipped: the exchange goes on as if they were not there.
    pub skipped: SmallVec<[usize; 2]>,
    /// What is known of the client, beside the attributes.
    pub caller: Caller,
    /// The upstreams to which the route may send the request: their names, with commas between them. None where the route
    /// itself responds, or has no plugin that could ask.
    pub upstream: Option<Rc<str>>,
    /// The present stage is not one of the gateway's own: what it means by what it does is not known.
    pub foreign_stage: bool,
    /// Path and query before the first edit, once there was one.
    original_target: Option<PathAndQuery>,
    pub(super) attributes: Attributes,
    /// What becomes of the response's headers when it is there.
    pub(super) plan: Plan,
    /// What the heads may become, from the first edit on.
    pub(super) request_room: Option<Room>,
    pub(super) response_room: Option<Room>,
    /// The headers that stages have changed.
    pub(super) touched_request: Touched,
    pub(super) touched_response: Touched,
    /// The headers of the request that stages have read, where there are several spellings.
    pub(super) spellings: Spellings,
    /// What the present stage's edits of the request had no room in.
    no_room: Option<NoRoom>,
    pub(super) undo: Undo,
}

/// The head of a request as the upstream will see it. `host` is not among the headers, but `authority`.
#[derive(Clone)]
pub struct RequestHead {
    pub method: Method,
    pub scheme: &'static str,
    pub authority: HeaderValue,
    pub target: PathAndQuery,
    pub headers: HeaderMap,
}

/// The head of a response.
#[derive(Clone)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

/// What a stage could not put into the request, since there is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// A header or an attribute.
    Head,
    /// Path and query.
    Target,
}

/// The attribute by which plugins read `Exchange::upstream`.
const UPSTREAM: &str = "gateway.upstream";

impl Exchange {
    /// An exchange at its beginning.
    pub fn new(start: Start) -> Self {
        let Start { id, client, secured, protocol, route, parameters, request, request_body, bounds, traffic, started } =
            start;
        Self {
            id,
            client,
            secured,
            started,
            mark: started,
            protocol,
            original_target: None,
            route,
            parameters,
            request,
            request_body,
            response: None,
            response_body: Body::Empty,
            bounds,
            traffic,
            trace: None,
            phase: Phase::Request,
            stage: 0,
            behind: None,
            stash: SmallVec::new(),
            skipped: SmallVec::new(),
            caller: Caller::default(),
            upstream: None,
            foreign_stage: false,
            attributes: Attributes::default(),
            plan: Plan::default(),
            request_room: None,
            response_room: None,
            touched_request: Touched::default(),
            touched_response: Touched::default(),
            spellings: Spellings::default(),
            no_room: None,
            undo: Undo::Off,
        }
    }

    /// The same request from the present stage on, without a body and for no client; the stage finds what it kept.
    pub fn again(&self, kept: Box<dyn Any>) -> Self {
        let traffic = Traffic::default();
        traffic.complete.set(true);
        let start = Start {
            id: self.id.clone(),
            client: self.client,
            secured: self.secured.clone(),
            protocol: self.protocol,
            route: self.route.clone(),
            parameters: self.parameters.clone(),
            request: self.request.clone(),
            request_body: Body::Empty,
            bounds: self.bounds.clone(),
            traffic: Rc::new(traffic),
            started: Instant::now(),
        };
        let mut again = Self::new(start);
        again.original_target.clone_from(&self.original_target);
        again.attributes.clone_from(&self.attributes);
        again.caller.clone_from(&self.caller);
        again.upstream.clone_from(&self.upstream);
        again.spellings.clone_from(&self.spellings);
        again.stage = self.stage;
        again.stash.push((self.stage, kept));
        again
    }

    /// A stage's turn in the request phase begins.
    pub(super) fn begin_stage(&mut self, position: usize) {
        self.stage = position;
        self.no_room = None;
    }

    /// Makes sure that edits can be undone. True if they could not before, so that the caller has to `commit`.
    pub fn begin_transaction_if_none(&mut self) -> bool {
        let is_off = !self.is_undoable();
        if is_off {
            self.begin_transaction();
        }
        is_off
    }

    /// What the stage whose turn it is, or was last, had no room for in the request.
    pub fn no_room(&self) -> Option<NoRoom> {
        self.no_room
    }

    /// The call that had no room is made again.
    pub(super) fn forget_no_room(&mut self) {
        self.no_room = None;
    }

    /// Notes an edit of the request phase for which there was no room.
    pub(super) fn note_room(&mut self, result: Result<(), EditError>, place: NoRoom) -> Result<(), EditError> {
        if result == Err(EditError::TooLarge) && self.phase == Phase::Request {
            self.no_room.get_or_insert(place);
        }
        result
    }

    /// Another response takes the place of the one that there was, if any.
    pub fn begin_response(&mut self) {
        self.response_room = None;
    }

    /// Removes the trailers of a response that would say something about a header that a stage has changed.
    pub fn clean_response_trailers(&self, trailers: &mut HeaderMap) {
        self.touched_response.clean(trailers);
    }

    /// The request's body as it goes to the upstream: its trailers say nothing about headers that stages have changed.
    pub fn take_request_body(&mut self) -> Body {
        let body = std::mem::take(&mut self.request_body);
        let touched = std::mem::take(&mut self.touched_request);
        if touched.is_empty() { body } else { body.filter_trailers(touched.into_trailer_filter()) }
    }

    /// The request's head, for an edit.
    pub(super) fn edit_request(&mut self) -> Result<&mut RequestHead, EditError> {
        if self.phase != Phase::Request {
            return Err(EditError::Forbidden);
        }
        self.before();
        Ok(&mut self.request)
    }

    /// The response's head, for an edit.
    pub(super) fn edit_response(&mut self) -> Result<&mut ResponseHead, EditError> {
        if self.phase != Phase::Response || self.response.is_none() {
            return Err(EditError::Forbidden);
        }
        self.before();
        self.response.as_mut().ok_or(EditError::Forbidden)
    }

    pub fn set_method(&mut self, method: &str) -> Result<(), EditError> {
        let method = edit::method(method)?;
        self.edit_request()?.method = method;
        Ok(())
    }

    /// Sets path and query, in the normalised form that the gateway promises to upstreams.
    pub fn set_target(&mut self, value: &str) -> Result<(), EditError> {
        let received = self.original_target().as_str().len();
        let target = edit::target(value, received, self.bounds.added_uri_bytes);
        if target == Err(EditError::TooLarge) {
            self.note_room(Err(EditError::TooLarge), NoRoom::Target)?;
        }
        let target = target?;
        let request = self.edit_request()?;
        let before = std::mem::replace(&mut request.target, target);
        self.original_target.get_or_insert(before);
        Ok(())
    }

    /// 200 to 599; a status without a body drops the body.
    pub fn set_status(&mut self, status: u16) -> Result<(), EditError> {
        let status = edit::status(status)?;
        self.edit_response()?.status = status;
        Ok(())
    }

    /// Replaces the request's body, whatever was there. The caller has checked the length.
    pub fn replace_request_body(&mut self, body: Body) -> Result<(), EditError> {
        self.edit_request()?.headers.remove(header::CONTENT_LENGTH);
        let old = std::mem::replace(&mut self.request_body, body);
        if let Some(before) = self.before() {
            before.request_body.get_or_insert(old);
        }
        Ok(())
    }

    /// Replaces the response's body, whatever was there. The caller has checked the length.
    pub fn replace_response_body(&mut self, body: Body) -> Result<(), EditError> {
        let head = self.edit_response()?;
        head.headers.remove(header::CONTENT_LENGTH);
        let old = std::mem::replace(&mut self.response_body, body);
        if let Some(before) = self.before() {
            before.response_body.get_or_insert(old);
        }
        Ok(())
    }

    /// Makes another response of it, head and body.
    pub fn restore_response(&mut self, head: ResponseHead, body: Body) -> Result<(), EditError> {
        *self.edit_response()? = head;
        self.begin_response();
        let old = std::mem::replace(&mut self.response_body, body);
        if let Some(before) = self.before() {
            before.response_body.get_or_insert(old);
        }
        Ok(())
    }

    /// What a stage noted, or what the connection says about itself.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        if key.starts_with(TLS) {
            return self.secured.as_ref()?.attribute(key);
        }
        if key == UPSTREAM {
            return self.upstream.as_deref();
        }
        self.attributes.get(key)
    }

    /// All attributes, in the order in which they were first set.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|attribute| (attribute.key.as_str(), attribute.value.as_str()))
    }

    /// Sets an attribute; possible in every phase but the last. Those of the connection and of the gateway are not set.
    pub fn set_attribute(&mut self, key: &str, value: &str) -> Result<(), EditError> {
        Attributes::permit(key, self.phase)?;
        let checked = self.attributes.check(key, value, self.bounds.added_bytes);
        self.note_room(checked, NoRoom::Head)?;
        self.before();
        let identified_by = self.identified_by(key);
        self.attributes.set(key, value, identified_by);
        Ok(())
    }

    /// Path and query as they were when the request phase began.
    pub fn original_target(&self) -> &PathAndQuery {
        self.original_target.as_ref().unwrap_or(&self.request.target)
    }

    /// When the head of the request had arrived.
    pub fn received(&self) -> SystemTime {
        // Read off the clock only where it is asked for, which on most routes it is not.
        SystemTime::now().checked_sub(self.started.elapsed()).unwrap_or(UNIX_EPOCH)
    }

    /// What the route's path pattern captured, percent-decoded.
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.parameters.get(name, self.original_target().path())
    }
}

/// What an exchange begins with.
pub struct Start {
    pub id: HeaderValue,
    pub client: IpAddr,
    pub secured: Option<Rc<Secured>>,
    pub protocol: Version,
    pub route: Arc<str>,
    pub parameters: Parameters,
    pub request: RequestHead,
    pub request_body: Body,
    pub bounds: Rc<Bounds>,
    pub traffic: Rc<Traffic>,
    pub started: Instant,
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
