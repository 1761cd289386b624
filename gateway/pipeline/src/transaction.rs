//! Going back to what was before a stage, where its failure is skipped.

use super::{
    exchange::Exchange,
    undo::{Before, Undo},
};

impl Exchange {
    /// From here on edits can be undone.
    pub(super) fn begin_transaction(&mut self) {
        self.undo = Undo::Armed;
        self.plan.begin_transaction();
        self.touched_request.begin_transaction();
        self.touched_response.begin_transaction();
    }

    pub(super) fn is_undoable(&self) -> bool {
        !matches!(self.undo, Undo::Off)
    }

    /// The edits since `begin_transaction` stay.
    pub(super) fn commit(&mut self) {
        self.undo = Undo::Off;
    }

    /// The edits since `begin_transaction` are undone. A body that was read in the meantime stays buffered.
    pub(super) fn roll_back(&mut self) {
        self.plan.roll_back();
        if let Undo::Taken(before) = std::mem::take(&mut self.undo) {
            self.request = before.request;
            self.response = before.response;
            self.attributes = before.attributes;
            (self.upstream, self.is_upstream_selected) = before.upstream;
            if let Some(body) = before.request_body {
                self.request_body = body;
            }
            if let Some(body) = before.response_body {
                self.response_body = body;
            }
        }
    }

    /// What was before, taken now if this is the first edit.
    pub(super) fn before(&mut self) -> Option<&mut Before> {
        if matches!(self.undo, Undo::Armed) {
            self.undo = Undo::Taken(Box::new(Before {
                request: self.request.clone(),
                response: self.response.clone(),
                attributes: self.attributes.clone(),
                upstream: (self.upstream.clone(), self.is_upstream_selected),
                request_body: None,
                response_body: None,
            }));
        }
        match &mut self.undo {
            Undo::Taken(before) => Some(before),
            _ => None,
        }
    }
}
