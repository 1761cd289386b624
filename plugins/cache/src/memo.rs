//! What the request phase hands over to the response phase.

use crate::{
    note::{Note, get, put},
    preconditions::Wanted,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memo {
    pub(crate) task: Task,
    pub(crate) key: String,
    /// Under which others wait; empty where nobody does.
    pub(crate) locked: String,
    /// Why the request went on, as `Cache-Status` has it.
    pub(crate) why: &'static str,
}

/// What is to be done with the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Keep it, if it may be kept.
    Fetch,
    /// The same, but a stored one is at hand: this response may confirm it, or be worse.
    Validate(Box<Stale>),
    /// Forget what was kept: the request has changed it.
    Invalidate,
}

/// A stored response that may not be given as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) id: u32,
    /// The request was made conditional by us.
    pub(crate) conditional: bool,
    pub(crate) note: Note,
    /// What the client had asked for itself: conditions, no range.
    pub(crate) wanted: Wanted,
}

/// RFC 9211 §2.2.
pub(crate) const WHYS: [&str; 6] = ["uri-miss", "vary-miss", "stale", "request", "method", "bypass"];

impl Memo {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.key.len() + self.locked.len() + 16);
        let why = WHYS.iter().position(|why| *why == self.why).unwrap_or(0);
        out.push(u8::try_from(why).unwrap_or(0));
        put(&mut out, self.key.as_bytes());
        put(&mut out, self.locked.as_bytes());
        match &self.task {
            Task::Fetch => out.push(0),
            Task::Invalidate => out.push(1),
            Task::Validate(stale) => {
                let Stale { id, conditional, note, wanted } = &**stale;
                out.push(if *conditional { 3 } else { 2 });
                out.extend_from_slice(&id.to_le_bytes());
                put(&mut out, &note.write());
                for value in [&wanted.if_none_match, &wanted.if_modified_since] {
                    out.push(u8::from(value.is_some()));
                    put(&mut out, value.as_deref().unwrap_or_default());
                }
            }
        }
        out
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (why, mut rest) = bytes.split_first()?;
        let text = |rest: &mut &[u8]| String::from_utf8(get(rest)?.to_vec()).ok();
        let (key, locked) = (text(&mut rest)?, text(&mut rest)?);
        let (kind, mut rest) = rest.split_first()?;
        let task = match kind {
            0 => Task::Fetch,
            1 => Task::Invalidate,
            _ => {
                let (id, after) = rest.split_first_chunk()?;
                rest = after;
                let note = Note::read(get(&mut rest)?)?;
                let mut value = || {
                    let (present, after) = rest.split_first()?;
                    rest = after;
                    let value = get(&mut rest)?.to_vec();
                    Some((*present != 0).then_some(value))
                };
                let wanted = Wanted { if_none_match: value()?, if_modified_since: value()?, ..Wanted::default() };
                Task::Validate(Box::new(Stale { id: u32::from_le_bytes(*id), conditional: *kind == 3, note, wanted }))
            }
        };
        Some(Self { task, key, locked, why: WHYS.get(usize::from(*why))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_arrives() {
        let wanted = Wanted { if_none_match: Some(b"\"a\"".to_vec()), ..Wanted::default() };
        let note = Note::read(&[&[1, 0][..], &[0; 36]].concat()).unwrap();
        let stale = Stale { id: 7, conditional: true, note, wanted };
        let tasks = [Task::Fetch, Task::Invalidate, Task::Validate(Box::new(stale))];
        for task in tasks {
            let memo = Memo { task, key: "example.com/".into(), locked: "k".into(), why: "stale" };
            let bytes = memo.write();
            assert_eq!(Memo::read(&bytes).as_ref(), Some(&memo));
            for cut in 0..bytes.len() {
                assert_eq!(Memo::read(&bytes[..cut]), None);
            }
        }
    }
}
