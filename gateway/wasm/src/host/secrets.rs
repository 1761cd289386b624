//! Values that the operator keeps out of the configuration.

use wasmtime::Result;

use crate::{
    bindings::secrets::{Host, SecretError},
    instance::state::State,
};

impl Host for State {
    fn get(&mut self, name: String) -> Result<std::result::Result<Vec<u8>, SecretError>> {
        if !self.identity.grants.secrets.allows(&name) {
            return Ok(Err(SecretError::Denied(name)));
        }
        Ok(self.readable()?.shared.secrets.get(&name).map(|value| value.to_vec()).ok_or(SecretError::Missing))
    }
}
