//! Changes of headers. Those of the response may be made before there is one: they wait until it passes the stage that planned them
//! on its way back.

use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};

use crate::{
    authority::is_authority,
    bounds::{Bounds, Room},
    edit::EditError,
    fields::{append, insert, line_bytes, refuse_owned, remove_other_spellings},
};

/// What is to become of a header.
#[derive(Debug, Clone)]
pub enum Change {
    /// Replaces every value by this one.
    Set(HeaderValue),
    /// Adds a line.
    Append(HeaderValue),
    /// Removes every value.
    Remove,
    /// Sets it where there is none.
    Default(HeaderValue),
    /// Adds a member to a list of tokens, unless it has it in whatever case, or has `*`.
    Join(HeaderValue),
}

/// What the stages of an exchange have planned, in the order in which they did.
#[derive(Debug, Clone, Default)]
pub struct ResponseEdits {
    planned: Vec<Planned>,
    /// What was there before the present transaction.
    before: usize,
}

/// A change of the response that waits for it.
#[derive(Debug, Clone)]
pub struct Planned {
    stage: usize,
    /// The header.
    pub name: HeaderName,
    /// What becomes of it.
    pub change: Change,
}

/// Changes that wait for the response of one exchange. Their bytes are bounded as a response's are.
pub const MAX_PLANNED: usize = 256;

impl ResponseEdits {
    /// Plans a change for the turn of a stage. The rules about names hold at once.
    ///
    /// # Errors
    ///
    /// The header is the gateway's, or there are too many.
    pub fn add(&mut self, stage: usize, name: HeaderName, change: Change, bounds: &Bounds) -> Result<(), EditError> {
        refuse_owned(&name)?;
        let planned = Planned { stage, name, change };
        let bytes = self.planned.iter().map(Planned::bytes).sum::<usize>() + planned.bytes();
        if self.planned.len() >= MAX_PLANNED || bytes > bounds.added_bytes {
            return Err(EditError::TooLarge);
        }
        self.planned.push(planned);
        Ok(())
    }

    /// What is planned from here on can be forgotten.
    pub fn begin_transaction(&mut self) {
        self.before = self.planned.len();
    }

    /// Forgets what the present transaction has planned. What it would have set or removed is removed then: the stage has
    /// failed, and the header is not to stay as the upstream has it.
    pub fn roll_back(&mut self) {
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
    pub fn withhold(&mut self, stage: usize, name: &HeaderName) {
        let is_planned = |planned: &Planned| planned.stage == stage && planned.name == *name;
        if !self.planned.iter().any(is_planned) {
            self.planned.push(Planned { stage, name: name.clone(), change: Change::Remove });
        }
    }

    /// Whether the stages from this one on have planned anything.
    pub fn has_any(&self, first: usize) -> bool {
        self.planned.last().is_some_and(|planned| planned.stage >= first)
    }

    /// Forgets what the stages from this one on have planned.
    pub fn forget(&mut self, first: usize) {
        while self.has_any(first) {
            self.planned.pop();
        }
    }

    /// Takes out what the last of the stages from this one on has planned, in its order. Stages come in the order of the request, so
    /// the last one is the first that the response passes.
    pub fn take_due(&mut self, first: usize) -> Option<impl Iterator<Item = Planned> + '_> {
        let stage = self.planned.last()?.stage;
        let begin = self.planned.iter().rposition(|planned| planned.stage != stage).map_or(0, |last| last + 1);
        (stage >= first).then(|| self.planned.drain(begin..))
    }
}

impl Change {
    /// Whether no value that was there before stays.
    #[inline]
    pub fn owns(&self) -> bool {
        matches!(self, Self::Set(_) | Self::Remove)
    }
}

impl Planned {
    /// Changes the response. What has no room is left out, and what it would have replaced goes: it was not to stay as it is.
    ///
    /// # Errors
    ///
    /// There is no room. With the header that it is about.
    pub fn carry_out(self, headers: &mut HeaderMap, room: Room) -> Result<(), (HeaderName, EditError)> {
        let Self { name, change, .. } = self;
        let sets = matches!(change, Change::Set(_));
        apply(headers, name.clone(), change, room).map_err(|error| {
            if sets {
                headers.remove(&name);
            }
            (name, error)
        })
    }

    fn bytes(&self) -> usize {
        match &self.change {
            Change::Remove => self.name.as_str().len(),
            Change::Set(value) | Change::Append(value) | Change::Default(value) | Change::Join(value) => {
                line_bytes(&self.name, value)
            }
        }
    }
}

/// What an edit of a request's header is about.
#[derive(Debug, Clone)]
pub enum RequestEdit {
    /// Sets the authority that the upstream sees, where it is preserved: that is what plugins mean by `host`.
    Authority(HeaderValue),
    /// Changes a field.
    Field(HeaderName, Change),
}

impl RequestEdit {
    /// The rules that hold whatever the request has. `host` can only be set.
    ///
    /// # Errors
    ///
    /// The header is the gateway's, or the value is no authority.
    #[inline]
    pub fn check(name: HeaderName, change: Change) -> Result<Self, EditError> {
        if name == HOST {
            let Change::Set(value) = change else { return Err(EditError::Forbidden) };
            return if is_authority(value.as_bytes()) {
                Ok(Self::Authority(value))
            } else {
                Err(EditError::InvalidSyntax)
            };
        }
        refuse_owned(&name)?;
        Ok(Self::Field(name, change))
    }
}

/// Changes a field of a request. Other spellings of a name that is set or removed go.
///
/// # Errors
///
/// There is no room.
#[inline]
pub fn apply_to_request(
    headers: &mut HeaderMap,
    name: HeaderName,
    change: Change,
    room: Room,
) -> Result<(), EditError> {
    if change.owns() {
        remove_other_spellings(headers, &name);
    }
    apply(headers, name, change, room)
}

/// Changes a field of a response.
///
/// # Errors
///
/// There is no room.
pub fn apply(headers: &mut HeaderMap, name: HeaderName, change: Change, room: Room) -> Result<(), EditError> {
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
