//! The choice of a request's upstream among those that are granted.

use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{
        Request,
        upstreams::{Host, UpstreamError},
    },
    instance::state::State,
};

impl Host for State {
    fn select(&mut self, _: Resource<Request>, name: String) -> Result<std::result::Result<(), UpstreamError>> {
        let is_known = self.identity.grants.upstreams.allows(&name) && self.services()?.upstreams.takes_requests(&name);
        if !is_known {
            return Ok(Err(UpstreamError::Denied(name)));
        }
        Ok(self.exchange()?.select_upstream(&name).map_err(|_| UpstreamError::Unavailable))
    }
}
