//! Edits of headers. Those of the response may be made before there is one: they wait with the exchange until the response
//! passes the stage that planned them on its way back.

use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};
use smallvec::SmallVec;

use super::{
    exchange::{EditError, Exchange, Phase},
    fields::{append, field, field_name, insert, is_authority, line_bytes, refuse_owned},
    room::{Bounds, NoRoom, Room},
    touched::OwnedHeaders,
};
use crate::http::spelling::remove_other_spellings;

/// What is to become of a header.
#[derive(Debug, Clone)]
pub enum Change {
    /// Replaces every value by this one.
    Set(HeaderValue),
    Append(HeaderValue),
    Remove,
    /// Sets it where there is none.
    Default(HeaderValue),
    /// Adds a member to a list of tokens, unless it has it in whatever case, or has `*`.
    Join(HeaderValue),
}

/// What the stages of an exchange have planned, in the order in which they did.
#[derive(Default)]
pub(super) struct Plan {
    planned: Vec<Planned>,
    /// What was there before the present transaction.
    before: usize,
}

struct Planned {
    stage: usize,
    name: HeaderName,
    change: Change,
}

/// Changes that wait for the response of one exchange. Their bytes are bounded as a response's are.
const MAX_PLANNED: usize = 256;

impl Plan {
    fn add(&mut self, planned: Planned, bounds: &Bounds) -> Result<(), EditError> {
        let bytes = self.planned.iter().map(Planned::bytes).sum::<usize>() + planned.bytes();
        if self.planned.len() >= MAX_PLANNED || bytes > bounds.added_bytes {
            return Err(EditError::TooLarge);
        }
        self.planned.push(planned);
        Ok(())
    }

    pub(super) fn begin_transaction(&mut self) {
        self.before = self.planned.len();
    }

    /// Forgets what the present transaction has planned, which it will plan again.
    pub(super) fn forget_transaction(&mut self) {
        self.planned.truncate(self.before);
    }

    /// Forgets what the present transaction has planned. What it would have set or removed is removed then: the stage has
    /// failed, and the header is not to stay as the upstream has it.
    pub(super) fn roll_back(&mut self) {
        let mut place = 0;
        let before = self.before;
        self.planned.retain_mut(|planned| {
            place += 1;
            if place <= before {
                return true;
            }
            let owned = planned.change.owns();
            planned.change = Change::Remove;
            owned
        });
    }

    /// Plans a removal for a stage that was skipped, over the bound if need be: the names of a stage have one.
    pub(super) fn withhold(&mut self, stage: usize, name: &HeaderName) {
        let is_planned = |planned: &Planned| planned.stage == stage && planned.name == *name;
        if !self.planned.iter().any(is_planned) {
            self.planned.push(Planned { stage, name: name.clone(), change: Change::Remove });
        }
    }

    /// Whether the stages from this one on have planned anything.
    fn has_any(&self, first: usize) -> bool {
        self.planned.last().is_some_and(|planned| planned.stage >= first)
    }
}

impl Change {
    /// Whether no value that was there before stays.
    fn owns(&self) -> bool {
        matches!(self, Self::Set(_) | Self::Remove)
    }
}

impl Planned {
    fn bytes(&self) -> usize {
        match &self.change {
            Change::Remove => self.name.as_str().len(),
            Change::Set(value) | Change::Append(value) | Change::Default(value) | Change::Join(value) => {
                line_bytes(&self.name, value)
            }
        }
    }
}

impl Exchange {
    /// `host` sets the authority that the upstream sees, where it is preserved.
    pub fn set_request_header(&mut self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        self.change_request_header(name, Change::Set(value))
    }

    pub fn append_request_header(&mut self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        self.change_request_header(name, Change::Append(value))
    }

    pub fn remove_request_header(&mut self, name: &str) -> Result<(), EditError> {
        self.change_request_header(field_name(name)?, Change::Remove)
    }

    /// Changes a header of the request. `host` can only be set.
    pub fn change_request_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        if name == HOST {
            let Change::Set(value) = change else { return Err(EditError::Forbidden) };
            if !is_authority(&value) {
                return Err(EditError::InvalidSyntax);
            }
            self.edit_request()?.authority = value;
            return Ok(());
        }
        refuse_owned(&name)?;
        self.edit_request()?;
        self.note_header(&name);
        // A name with `_` is one that the service is to see, whatever other stages read (`spellings.rs`).
        if self.is_undoable() || !self.request_body.is_buffered() || name.as_str().contains('_') {
            self.touched_request.note(&name, change.owns());
        }
        let room = *self.request_room.get_or_insert_with(|| Room::beyond(&self.request.headers, &self.bounds));
        if change.owns() {
            remove_other_spellings(&mut self.request.headers, &name);
        }
        let result = apply(&mut self.request.headers, name, change, room);
        self.note_room(result, NoRoom::Head)
    }

    pub fn set_response_header(&mut self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        self.change_present_header(name, Change::Set(value))
    }

    pub fn append_response_header(&mut self, name: &str, value: &[u8]) -> Result<(), EditError> {
        let (name, value) = field(name, value)?;
        self.change_present_header(name, Change::Append(value))
    }

    pub fn remove_response_header(&mut self, name: &str) -> Result<(), EditError> {
        self.change_present_header(field_name(name)?, Change::Remove)
    }

    /// Changes a header of the response that is there.
    fn change_present_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        refuse_owned(&name)?;
        self.edit_response()?;
        self.apply_to_response(name, change)
    }

    /// The response is there, and may be edited.
    fn apply_to_response(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        if self.is_undoable() || !self.response_body.is_buffered() {
            self.touched_response.note(&name, change.owns());
        }
        let Some(response) = &mut self.response else { return Err(EditError::Forbidden) };
        let room = *self.response_room.get_or_insert_with(|| Room::beyond(&response.headers, &self.bounds));
        apply(&mut response.headers, name, change, room)
    }

    /// Changes a header of the response: in the response phase at once, and in the request phase when the response passes
    /// the present stage.
    pub fn change_response_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        if self.phase != Phase::Request {
            return self.change_present_header(name, change);
        }
        refuse_owned(&name)?;
        let result = self.plan.add(Planned { stage: self.stage, name, change }, &self.bounds);
        self.note_room(result, NoRoom::Head)
    }

    /// A stage has failed and is skipped, and its edits are undone: its headers are not to say what the other side has put
    /// there, since it was not checked. `owned` are those that it is known to set or remove, beside those of this call.
    pub(super) fn withhold<'a>(&mut self, owned: impl IntoIterator<Item = &'a OwnedHeaders>) {
        let is_request = self.phase == Phase::Request;
        let touched = if is_request { &mut self.touched_request } else { &mut self.touched_response };
        let mut names: Vec<HeaderName> = touched.owned_since().cloned().collect();
        for owned in owned {
            names.extend_from_slice(if is_request { &owned.request } else { &owned.response });
            if is_request {
                owned.response.iter().for_each(|name| self.plan.withhold(self.stage, name));
            }
        }
        for name in &names {
            touched.note(name, true);
            if is_request {
                self.request.headers.remove(name);
                remove_other_spellings(&mut self.request.headers, name);
            } else if let Some(response) = &mut self.response {
                response.headers.remove(name);
            }
        }
    }

    /// Adds to what a stage is known to set or remove what it did in the present transaction.
    pub(super) fn learn(&self, owned: &mut OwnedHeaders) {
        if self.phase == Phase::Request {
            self.touched_request.owned_since().for_each(|name| OwnedHeaders::add(&mut owned.request, name));
        } else {
            self.touched_response.owned_since().for_each(|name| OwnedHeaders::add(&mut owned.response, name));
        }
    }

    /// Forgets what these stages have planned, from whom the response does not come.
    pub(super) fn forget_plans(&mut self, from: usize) {
        while self.plan.has_any(from) {
            self.plan.planned.pop();
        }
    }

    /// Makes the changes that stages from `first` on have planned: the last stage's first, and each stage's in its order.
    /// What a response has no room for can be reported to no stage.
    pub(super) fn carry_out_plans(&mut self, first: usize) {
        while self.plan.has_any(first) {
            if self.edit_response().is_err() {
                return;
            }
            let planned = &self.plan.planned;
            let stage = planned.last().map(|planned| planned.stage);
            let begin = planned.iter().rposition(|planned| Some(planned.stage) != stage).map_or(0, |last| last + 1);
            let due: SmallVec<[Planned; 8]> = self.plan.planned.drain(begin..).collect();
            for Planned { name, change, .. } in due {
                let sets = matches!(change, Change::Set(_));
                if let Err(error) = self.apply_to_response(name.clone(), change) {
                    let request = self.id.to_str().unwrap_or_default();
                    tracing::debug!(request, header = name.as_str(), ?error, "a planned change was not made");
                    if sets && let Some(response) = &mut self.response {
                        // It was not to stay as it is.
                        response.headers.remove(name);
                    }
                }
            }
        }
    }
}

fn apply(headers: &mut HeaderMap, name: HeaderName, change: Change, room: Room) -> Result<(), EditError> {
    match change {
        Change::Set(value) => insert(headers, name, value, room),
        Change::Append(value) => append(headers, name, value, room),
        Change::Remove => {
            headers.remove(name);
            Ok(())
        }
        Change::Default(_) if headers.contains_key(&name) => Ok(()),
        Change::Default(value) => insert(headers, name, value, room),
        Change::Join(value) if has_member(headers, &name, value.as_bytes()) => Ok(()),
        Change::Join(value) => append(headers, name, value, room),
    }
}

/// Whether a list of tokens (RFC 9110 §5.6.1) has this one, or `*`, which stands for all of them.
fn has_member(headers: &HeaderMap, name: &HeaderName, member: &[u8]) -> bool {
    headers.get_all(name).iter().any(|line| {
        let mut members = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        members.any(|there| there.eq_ignore_ascii_case(member) || there == b"*")
    })
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
