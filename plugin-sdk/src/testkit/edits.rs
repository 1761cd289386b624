//! Edits that are made together, and those of a response that is not there yet.

use super::head::{Phase, RawRequest, RawResponse, ResponseHead};
use crate::{Edit, EditError, Edits, RefusedEdit, edits::Kind};

/// The edits themselves.
pub(crate) type RawEdits = Vec<Edit>;

/// An edit of the response that waits for it, with its value.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    kind: Kind,
    name: String,
    value: Option<Vec<u8>>,
}

pub(crate) fn edits(edits: &[Edit]) -> RawEdits {
    if let Err(problem) = Edits::check(edits) {
        panic!("the gateway would refuse it, since it {problem}");
    }
    edits.to_vec()
}

pub(crate) fn make_edits<'a>(
    edits: &RawEdits,
    request: &RawRequest,
    response: Option<&RawResponse>,
    mut values: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<(), RefusedEdit> {
    let mut given = || values.next()?.map(<[u8]>::to_vec);
    let mut refused = None;
    for (place, Edit { kind, name, value }) in edits.iter().enumerate() {
        let takes_none = matches!(kind, Kind::RemoveHeader | Kind::RemoveResponseHeader);
        let value = if takes_none { None } else { value.clone().or_else(&mut given) };
        let planned = Planned { kind: *kind, name: name.clone(), value };
        if let Err(error) = planned.make(request, response) {
            refused.get_or_insert(RefusedEdit { place, error });
        }
    }
    refused.map_or(Ok(()), Err)
}

impl Planned {
    fn make(self, request: &RawRequest, response: Option<&RawResponse>) -> Result<(), EditError> {
        if let Some(made) = self.kind.edit_request(&self.name, self.value.as_deref(), request) {
            return made;
        }
        if let Some(response) = response {
            return self.change(response);
        }
        // The rules hold at once.
        self.change(&RawResponse::new(ResponseHead::empty()))?;
        let mut head = request.0.borrow_mut();
        if head.phase != Phase::Request {
            return Err(EditError::Forbidden);
        }
        head.planned.push(self);
        Ok(())
    }

    /// Changes a response.
    pub(super) fn change(&self, response: &RawResponse) -> Result<(), EditError> {
        let Self { kind, name, value } = self;
        if let Some(made) = kind.edit_response(name, value.as_deref(), response) {
            return made;
        }
        match (kind, value) {
            (Kind::DefaultResponseHeader, Some(value)) if response.header(name).is_none() => {
                response.set_header(name, value)
            }
            (Kind::JoinResponseHeader, Some(value)) if !has_member(response, name, value) => {
                response.append_header(name, value)
            }
            _ => Ok(()),
        }
    }
}

fn has_member(response: &RawResponse, name: &str, member: &[u8]) -> bool {
    response.header_values(name).iter().any(|line| {
        let mut members = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        members.any(|there| there.eq_ignore_ascii_case(member) || there == b"*")
    })
}
