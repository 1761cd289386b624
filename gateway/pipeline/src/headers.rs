//! Headers: which ones stages read, and edits of them. Edits of the response may be made before there is one: they wait with the exchange
//! until the response passes the stage that planned them on its way back.

use gateway_http::spelling::can_be_respelled;
use gateway_rules::{
    bounds::Room,
    fields::{field, field_name, refuse_owned, remove_other_spellings},
    headers::{Change, Planned, RequestEdit, apply, apply_to_request},
};
use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::{
    exchange::{EditError, Exchange, NoRoom, Phase},
    touched::OwnedHeaders,
};

impl Exchange {
    /// Notes that the present stage reads a header of the request.
    pub fn note_read(&mut self, name: &str) {
        if self.phase == Phase::Request && can_be_respelled(name) {
            self.spellings.note(self.request.headers.map_for(name), name);
        }
    }

    /// The request phase ends: a header that a stage has read goes on in the spelling in which that stage saw it. What a stage has set
    /// itself stays.
    pub(super) fn drop_other_spellings(&mut self) {
        self.spellings.remove_others(&mut self.request.headers, &self.touched_request);
    }

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
        let (name, change) = match RequestEdit::check(name, change)? {
            RequestEdit::Authority(value) => {
                self.edit_request()?.authority = value;
                return Ok(());
            }
            RequestEdit::Field(name, change) => (name, change),
        };
        self.edit_request()?;
        self.note_header(&name);
        // A name with `_` is one that the service is to see, whatever other stages read (`spellings.rs`).
        if self.is_undoable() || !self.request_body.is_buffered() || name.as_str().contains('_') {
            self.touched_request.note(&name, change.owns());
        }
        let (headers, room) = self.request_for(&name);
        let result = apply_to_request(headers, name, change, room);
        self.note_room(result, NoRoom::Head)
    }

    /// The request's headers for a change of this one, and what they may become.
    fn request_for(&mut self, name: &HeaderName) -> (&mut HeaderMap, Room) {
        let headers = &mut self.request.headers;
        let (measured, apart) = (headers.others(), headers.size_of_forwarding());
        let room = *self.request_room.get_or_insert_with(|| Room::beyond(measured, &self.bounds).with(apart));
        headers.map_for(name.as_str());
        let room = room.without(headers.size_of_forwarding());
        (headers.map_for(name.as_str()), room)
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
        let (headers, room) = self.response_for(&name, &change)?;
        apply(headers, name, change, room)
    }

    /// The response's headers for a change, and what they may become.
    fn response_for(&mut self, name: &HeaderName, change: &Change) -> Result<(&mut HeaderMap, Room), EditError> {
        if self.is_undoable() || !self.response_body.is_buffered() {
            self.touched_response.note(name, change.owns());
        }
        let Some(response) = &mut self.response else { return Err(EditError::Forbidden) };
        let room = *self.response_room.get_or_insert_with(|| Room::beyond(&response.headers, &self.bounds));
        Ok((&mut response.headers, room))
    }

    /// Changes a header of the response: in the response phase at once, and in the request phase when the response passes
    /// the present stage.
    pub fn change_response_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        if self.phase != Phase::Request {
            return self.change_present_header(name, change);
        }
        let result = self.plan.add(self.stage, name, change, &self.bounds);
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
                let headers = self.request.headers.map_for(name.as_str());
                headers.remove(name);
                remove_other_spellings(headers, name);
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
        self.plan.forget(from);
    }

    /// Makes the changes that stages from `first` on have planned: the last stage's first, and each stage's in its order.
    /// What a response has no room for can be reported to no stage.
    pub(super) fn carry_out_plans(&mut self, first: usize) {
        while self.plan.has_any(first) {
            if self.edit_response().is_err() {
                return;
            }
            let due: SmallVec<[Planned; 8]> = self.plan.take_due(first).into_iter().flatten().collect();
            due.into_iter().for_each(|planned| self.carry_out(planned));
        }
    }

    fn carry_out(&mut self, planned: Planned) {
        if self.edit_response().is_err() {
            return;
        }
        let Ok((headers, room)) = self.response_for(&planned.name, &planned.change) else { return };
        if let Err((name, error)) = planned.carry_out(headers, room) {
            let request = self.id.to_str().unwrap_or_default();
            tracing::debug!(request, header = name.as_str(), ?error, "a planned response edit was not applied");
        }
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
