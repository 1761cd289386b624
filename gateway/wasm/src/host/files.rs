//! Files that the operator named for plugins.

use wasmtime::Result;

use crate::{
    bindings::files::{FileError, Host},
    instance::state::State,
};

impl Host for State {
    fn get(&mut self, name: String) -> Result<std::result::Result<Vec<u8>, FileError>> {
        if !self.identity.grants.files.allows(&name) {
            return Ok(Err(FileError::Denied(name)));
        }
        Ok(self.services()?.shared.files.get(&name).map(|bytes| bytes.to_vec()).ok_or(FileError::Denied(name)))
    }
}
