//! Selections. A handle is the place of its selection among the instance's.

use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{Item, Request, Response, SelectionHandle, Values, http::HostSelection},
    instance::{selection::Selection, state::State},
};

impl HostSelection for State {
    fn new(&mut self, items: Vec<Item>) -> Result<Resource<SelectionHandle>> {
        Ok(Resource::new_own(self.selections.add(Selection::new(items, &self.identity)?, "selections")?))
    }

    fn read(
        &mut self,
        selection: Resource<SelectionHandle>,
        _: Resource<Request>,
        response: Option<Resource<Response>>,
    ) -> Result<Values> {
        self.selected(selection.rep(), response.is_some())
    }

    fn drop(&mut self, selection: Resource<SelectionHandle>) -> Result<()> {
        self.selections.remove(selection.rep());
        Ok(())
    }
}
