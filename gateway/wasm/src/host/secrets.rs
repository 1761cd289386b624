//! Values that the operator keeps out of the configuration.

use wasmtime::Result;

use crate::{
    bindings::secrets::{Host, SecretError},
    instance::state::State,
};

impl State {
    /// Computes with the value of a secret that the plugin may use. It is not copied, and not handed to the guest.
    pub(crate) fn with_secret<T>(
        &mut self,
        name: &str,
        compute: impl FnOnce(&mut Self, &[u8]) -> T,
    ) -> Result<std::result::Result<T, SecretError>> {
        if !self.identity.grants.allows_use(name) {
            return Ok(Err(SecretError::Denied(name.to_owned())));
        }
        let value = self.services()?.shared.secrets.get(name).cloned();
        Ok(value.map(|value| compute(self, &value)).ok_or(SecretError::Missing))
    }
}

impl Host for State {
    fn get(&mut self, name: String) -> Result<std::result::Result<Vec<u8>, SecretError>> {
        if !self.identity.grants.secrets.allows(&name) {
            return Ok(Err(SecretError::Denied(name)));
        }
        Ok(self.services()?.shared.secrets.get(&name).map(|value| value.to_vec()).ok_or(SecretError::Missing))
    }
}
