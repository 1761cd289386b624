//! One request and its response, with everything that plugins may read or change about them. Edits are in `edits` and `headers`.

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
use gateway_telemetry::trace::{self, Trace};
use http::{HeaderMap, HeaderValue, Version, uri::PathAndQuery};
use smallvec::SmallVec;

pub use gateway_rules::edit::{EditError, Phase};
use gateway_rules::{
    attributes::{Attributes, TLS},
    bounds::{Bounds, Room},
    headers::ResponseEdits,
};

use super::{
    caller::Caller,
    heads::{RequestHead, ResponseHead},
    messages::MessageFilters,
    spellings::Spellings,
    states::States,
    touched::Touched,
    undo::Undo,
};

/// One request on its way, and from some point on its response.
pub struct Exchange {
    pub id: HeaderValue,
    /// The client's address, as far as trusted proxies tell.
    pub client: IpAddr,
    /// What the client's TLS connection says, if it has TLS.
    pub secured: Option<Rc<Secured>>,
    pub started: Instant,
    /// When the phase began or the last of its stages ended: the next one's beginning, without another look at the
    /// clock.
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
    /// What the messages of a connection that has switched pass through.
    pub message_filters: MessageFilters,
    pub bounds: Rc<Bounds>,
    pub traffic: Rc<Traffic>,
    /// Where the request is recorded, if it is.
    pub trace: Option<Rc<Trace>>,
    pub phase: Phase,
    /// The position of the stage whose turn it is, or was last.
    pub stage: usize,
    /// What is to be asked again, from its stage on, when the client has its answer.
    pub background: Option<Box<Exchange>>,
    pub(super) states: States,
    /// Positions of the stages that failed and were skipped: the exchange goes on as if they were not there.
    pub skipped: SmallVec<[usize; 2]>,
    /// What is known of the client, beside the attributes.
    pub caller: Caller,
    /// The upstreams to which the route may send the request: their names, with commas between them. None where the route
    /// itself responds, or has no plugin that could ask.
    pub upstream: Option<Rc<str>>,
    /// A stage has chosen `upstream`, which is one name then.
    pub(super) is_upstream_selected: bool,
    /// The present stage is not one of the gateway's own: what it means by what it does is not known.
    pub foreign_stage: bool,
    /// Path and query before the first edit, once there was one.
    pub(super) original_target: Option<PathAndQuery>,
    pub(super) attributes: Attributes,
    /// What becomes of the response's headers when it is there.
    pub(super) plan: ResponseEdits,
    /// What the heads may become, from the first edit on.
    pub(super) request_room: Option<Room>,
    pub(super) response_room: Option<Room>,
    /// The headers that stages have changed.
    pub(super) touched_request: Touched,
    pub(super) touched_response: Touched,
    /// The headers of the request that stages have read, where there are several spellings.
    pub(super) spellings: Spellings,
    /// What the present stage's edits of the request had no room in.
    pub(super) no_room: Option<NoRoom>,
    /// The position of the stage that has its turn. Still there when the exchange ends if the turn was given up: the client left.
    pub(super) in_turn: Option<usize>,
    pub(super) undo: Undo,
    /// What lasts until the exchange ends.
    guards: SmallVec<[Box<dyn Any>; 1]>,
}

/// What a stage could not put into the request, since there is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// A header or an attribute.
    Head,
    /// Path and query.
    Target,
}

/// Guards of all stages of an exchange.
const MAX_GUARDS: usize = 64;

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
            message_filters: MessageFilters::default(),
            bounds,
            traffic,
            trace: None,
            phase: Phase::Request,
            stage: 0,
            background: None,
            states: States::default(),
            skipped: SmallVec::new(),
            caller: Caller::default(),
            upstream: None,
            is_upstream_selected: false,
            foreign_stage: false,
            attributes: Attributes::default(),
            plan: ResponseEdits::default(),
            request_room: None,
            response_room: None,
            touched_request: Touched::default(),
            touched_response: Touched::default(),
            spellings: Spellings::default(),
            no_room: None,
            in_turn: None,
            undo: Undo::Off,
            guards: SmallVec::new(),
        }
    }

    /// The same request from the present stage on, without a body and for no client. The stage has this state in it.
    pub fn again<T: 'static>(&self, state: T) -> Self {
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
        again.is_upstream_selected = self.is_upstream_selected;
        again.spellings.clone_from(&self.spellings);
        again.stage = self.stage;
        again.states.set(self.stage, state);
        again
    }

    /// What the present stage keeps of the exchange, if it has kept anything. A stage has one type of state.
    pub fn state<T: 'static>(&self) -> Option<&T> {
        self.states.get(self.stage)
    }

    pub fn state_mut<T: 'static>(&mut self) -> Option<&mut T> {
        self.states.get_mut(self.stage)
    }

    /// What the present stage keeps of the exchange, from here on.
    pub fn state_or_default<T: Default + 'static>(&mut self) -> &mut T {
        self.states.get_or_default(self.stage)
    }

    /// Keeps a guard until the exchange ends, whatever becomes of the stage: it is dropped before the completion phase, which may
    /// wait. False if there are `MAX_GUARDS` already; the guard is dropped then.
    pub fn keep_guard(&mut self, guard: Box<dyn Any>) -> bool {
        let has_room = self.guards.len() < MAX_GUARDS;
        if has_room {
            self.guards.push(guard);
        }
        has_room
    }

    /// Whether another guard can be kept.
    pub fn has_room_for_guard(&self) -> bool {
        self.guards.len() < MAX_GUARDS
    }

    /// Drops a guard before the exchange ends.
    pub fn drop_guard(&mut self, is_it: impl Fn(&dyn Any) -> bool) {
        let position = self.guards.iter().position(|guard| is_it(&**guard));
        position.map(|position| self.guards.swap_remove(position));
    }

    /// The exchange has ended, or its completion phase has.
    pub fn drop_guards(&mut self) {
        self.guards.clear();
    }

    /// The call of the present stage begins only now: what it waited for, or had to make before, is not timed.
    pub fn begin_call(&mut self) {
        self.mark = Instant::now();
    }

    /// A stage's turn begins.
    pub(super) fn begin_stage(&mut self, position: usize) {
        self.stage = position;
        self.no_room = None;
    }

    /// The completion phase of these stages begins. They can take their time, so nothing is held for them that others may want:
    /// neither bodies nor what the stages keep that are not called any more.
    pub(super) fn release_for_completion(&mut self, stages: &[usize]) {
        self.phase = Phase::Complete;
        self.request_body = Body::Empty;
        self.response_body = Body::Empty;
        self.states.keep_only(stages);
    }

    /// The last turn of the stage has ended.
    pub(super) fn release_stage(&mut self, position: usize) {
        self.states.drop_state(position);
    }

    /// What the stage whose turn it is, or was last, had no room for in the request.
    pub fn no_room(&self) -> Option<NoRoom> {
        self.no_room
    }

    /// Another response takes the place of the one that there was, if any.
    pub fn begin_response(&mut self) {
        self.response_room = None;
        self.message_filters.clear();
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

    /// The upstream that a stage has chosen, if one has.
    pub fn selected_upstream(&self) -> Option<&str> {
        self.upstream.as_deref().filter(|_| self.is_upstream_selected)
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

    /// The trace that the request belongs to, as a value of `traceparent`: at the span of the present call if it is recorded here,
    /// otherwise as it is forwarded to the upstream.
    pub fn trace_parent(&self) -> Option<HeaderValue> {
        match &self.trace {
            Some(trace) => Some(trace.header()),
            None => trace::parent_of(&self.request.headers),
        }
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
