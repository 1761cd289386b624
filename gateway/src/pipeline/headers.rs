//! Edits of headers. Those of the response may be made before there is one: they wait with the exchange until the response
//! passes the stage that planned them on its way back.

use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};

use super::{
    exchange::{Bounds, EditError, Exchange, Phase},
    fields::{append, field, field_name, insert, is_authority, line_bytes, refuse_owned},
};

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
        if self.planned.len() >= MAX_PLANNED || bytes > bounds.header_bytes {
            return Err(EditError::TooLarge);
        }
        self.planned.push(planned);
        Ok(())
    }

    pub(super) fn begin_transaction(&mut self) {
        self.before = self.planned.len();
    }

    pub(super) fn roll_back(&mut self) {
        self.planned.truncate(self.before);
    }

    /// Whether the stages from this one on have planned anything.
    fn has_any(&self, first: usize) -> bool {
        self.planned.last().is_some_and(|planned| planned.stage >= first)
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
        let bounds = self.bounds.clone();
        self.note_header(&name);
        apply(&mut self.edit_request()?.headers, name, change, &bounds)
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
        let bounds = self.bounds.clone();
        apply(&mut self.edit_response()?.headers, name, change, &bounds)
    }

    /// Changes a header of the response: in the response phase at once, and in the request phase when the response passes
    /// the present stage.
    pub fn change_response_header(&mut self, name: HeaderName, change: Change) -> Result<(), EditError> {
        if self.phase != Phase::Request {
            return self.change_present_header(name, change);
        }
        refuse_owned(&name)?;
        self.plan.add(Planned { stage: self.stage, name, change }, &self.bounds)
    }

    /// Forgets what these stages have planned, from whom the response does not come.
    pub(super) fn forget_plans(&mut self, from: usize) {
        while self.plan.has_any(from) {
            self.plan.planned.pop();
        }
    }

    /// Makes the changes that stages from `first` on have planned: the last stage's first, and each stage's in its order.
    /// There is nobody to tell what a response has no room for.
    pub(super) fn carry_out_plans(&mut self, first: usize) {
        while self.plan.has_any(first) {
            let bounds = self.bounds.clone();
            let Ok(_) = self.edit_response() else { return };
            let planned = &mut self.plan.planned;
            let stage = planned.last().map(|planned| planned.stage);
            let begin = planned.iter().rposition(|planned| Some(planned.stage) != stage).map_or(0, |last| last + 1);
            let Some(response) = &mut self.response else { return };
            for Planned { name, change, .. } in planned.drain(begin..) {
                let sets = matches!(change, Change::Set(_));
                if let Err(error) = apply(&mut response.headers, name.clone(), change, &bounds) {
                    let request = self.id.to_str().unwrap_or_default();
                    tracing::debug!(request, header = name.as_str(), ?error, "a planned change was not made");
                    if sets {
                        // It was not to stay as it is.
                        response.headers.remove(name);
                    }
                }
            }
        }
    }
}

fn apply(headers: &mut HeaderMap, name: HeaderName, change: Change, bounds: &Bounds) -> Result<(), EditError> {
    match change {
        Change::Set(value) => insert(headers, name, value, bounds),
        Change::Append(value) => append(headers, name, value, bounds),
        Change::Remove => {
            headers.remove(name);
            Ok(())
        }
        Change::Default(_) if headers.contains_key(&name) => Ok(()),
        Change::Default(value) => insert(headers, name, value, bounds),
        Change::Join(value) if has_member(headers, &name, value.as_bytes()) => Ok(()),
        Change::Join(value) => append(headers, name, value, bounds),
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
