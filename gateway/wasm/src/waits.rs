//! Whether calls run on the worker's own stack or on a fiber: decided by what a component imports, what it is granted, and where the
//! state is, before it serves, and by what it says about its configuration.

use gateway_core::model::Grants;

/// When the calls of a component can wait for something, and then run on a fiber. Other calls run on the worker's own stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// It imports functions that wait whatever it is granted: polling, or the verification of passwords.
    pub always: bool,
    /// It calls upstreams, if it is granted any.
    pub with_upstreams: bool,
    /// It uses buckets, if it is granted any and they are not in the memory of the gateway.
    pub with_remote_state: bool,
    /// It looks for stored responses, under the same conditions, unless its configuration has it look in this gateway's memory only.
    pub with_shared_cache: bool,
}

impl Waits {
    /// In words, for a line that says how its calls run.
    pub fn describe(self) -> &'static str {
        match (self.always, self.with_upstreams, self.with_remote_state || self.with_shared_cache) {
            (true, _, _) => "on a fiber",
            (false, false, false) => "direct",
            (false, true, false) => "direct; on a fiber if it is granted upstreams",
            (false, false, true) => "direct; on a fiber if it is granted buckets and the state is in Redis",
            (false, true, true) => {
                "direct; on a fiber if it is granted upstreams, or buckets while the state is in Redis"
            }
        }
    }

    /// Whether calls can wait with these grants. `is_cache_local`: the plugin has said so of its configuration (`active-phases`).
    pub fn with(self, grants: &Grants, is_state_remote: bool, is_cache_local: bool) -> bool {
        let of_state = self.with_remote_state || self.with_shared_cache && !is_cache_local;
        self.always
            || self.with_upstreams && !grants.upstreams.is_empty()
            || of_state && is_state_remote && !grants.store.is_empty()
    }
}
