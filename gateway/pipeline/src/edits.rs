//! Several changes in one call: the rules make them, and this is what they make them on.

use gateway_rules::edits::Editable;
use http::HeaderName;

use crate::{Change, EditError, Exchange};

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

    fn has_response(&self) -> bool {
        self.response.is_some()
    }
}
