//! Edits of an exchange, with the rules of what may be changed in which phase: so that they hold for every kind of stage.

use gateway_http::body::Body;
use gateway_rules::{attributes::Attributes, edit, edits::Editable, headers::Change};
use http::{HeaderName, header};

use super::{
    exchange::{EditError, Exchange, NoRoom, Phase},
    heads::{RequestHead, ResponseHead},
};

impl Exchange {
    /// Notes an edit of the request phase for which there was no room.
    pub(super) fn note_room(&mut self, result: Result<(), EditError>, place: NoRoom) -> Result<(), EditError> {
        if result == Err(EditError::TooLarge) && self.phase == Phase::Request {
            self.no_room.get_or_insert(place);
        }
        result
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
        self.edit_request()?.headers.map_for(header::CONTENT_LENGTH.as_str()).remove(header::CONTENT_LENGTH);
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

    /// Has the request's body pass through something, so that its length is not known any more. A request without a body stays one.
    pub(super) fn filter_request_body(&mut self, filter: impl FnOnce(Body) -> Body) {
        if matches!(self.request_body, Body::Empty) {
            return;
        }
        self.request.headers.map_for(header::CONTENT_LENGTH.as_str()).remove(header::CONTENT_LENGTH);
        self.request_body = filter(std::mem::take(&mut self.request_body));
    }

    /// Has the response's body pass through something, so that its length is not known any more.
    pub(super) fn filter_response_body(&mut self, filter: impl FnOnce(Body) -> Body) {
        if let Some(head) = &mut self.response {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        self.response_body = filter(std::mem::take(&mut self.response_body));
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

    /// Sends the request to another upstream than the route's; possible in the request phase, where the route leads to upstreams.
    pub fn select_upstream(&mut self, name: &str) -> Result<(), EditError> {
        if self.phase != Phase::Request || self.upstream.is_none() {
            return Err(EditError::Forbidden);
        }
        self.before();
        self.upstream = Some(name.into());
        self.is_upstream_selected = true;
        Ok(())
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

    /// Removes an attribute, by the rules of setting one.
    pub fn remove_attribute(&mut self, key: &str) -> Result<(), EditError> {
        Attributes::permit(key, self.phase)?;
        Attributes::check_key(key)?;
        self.before();
        self.attributes.remove(key);
        Ok(())
    }
}

impl Editable for Exchange {
    fn change_request_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        Self::change_request_header(self, name, change)
    }

    fn change_response_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        Self::change_response_header(self, name, change)
    }

    fn set_attribute(&mut self, key: &str, value: &str) -> Result<(), EditError> {
        Self::set_attribute(self, key, value)
    }

    fn remove_attribute(&mut self, key: &str) -> Result<(), EditError> {
        Self::remove_attribute(self, key)
    }

    fn has_response(&self) -> bool {
        self.response.is_some()
    }
}
