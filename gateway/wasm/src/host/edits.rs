//! Lists of edits. A handle is the place of its list among the instance's.

use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{Edit, EditsHandle, RefusedEdit, Request, Response, Values, http::HostEdits},
    instance::{edits::Edits, state::State},
};

impl HostEdits for State {
    fn new(&mut self, edits: Vec<Edit>) -> Result<Resource<EditsHandle>> {
        Ok(Resource::new_own(self.edits.add(Edits::new(edits, &self.identity)?, "lists of edits")?))
    }

    fn apply(
        &mut self,
        edits: Resource<EditsHandle>,
        _: Resource<Request>,
        response: Option<Resource<Response>>,
        values: Values,
    ) -> Result<std::result::Result<(), RefusedEdit>> {
        self.edit(edits.rep(), response.is_some(), &values)
    }

    fn drop(&mut self, edits: Resource<EditsHandle>) -> Result<()> {
        self.edits.remove(edits.rep());
        Ok(())
    }
}
