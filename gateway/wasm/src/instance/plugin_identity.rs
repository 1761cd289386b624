//! A plugin with its grants, as all instances of one configuration share it.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::Relaxed},
};

use gateway_core::model::{Data, DataAccess, Grants};

use super::output::LogRate;

/// A plugin as its host functions see it.
pub(crate) struct Identity {
    pub(crate) name: Arc<str>,
    pub(crate) grants: Grants,
    /// One of the gateway's own plugins.
    pub(crate) standard: bool,
    pub(crate) log_rate: LogRate,
    pub(crate) denials: Denials,
}

#[cfg(test)]
impl Identity {
    /// A plugin that may read and write everything.
    pub(crate) fn of_tests() -> Self {
        let (grants, log_rate, denials) = Default::default();
        Self { name: "tested".into(), grants, standard: false, log_rate, denials }
    }
}

/// Which kinds of denied access were logged: one bit for each kind of data and access.
#[derive(Debug, Default)]
pub(crate) struct Denials(AtomicU16);

impl Denials {
    /// Whether this is the first of its kind.
    pub(super) fn is_first(&self, data: Data, access: DataAccess) -> bool {
        let bit = 1 << (data as u16 * 2 + access as u16);
        self.0.load(Relaxed) & bit == 0 && self.0.fetch_or(bit, Relaxed) & bit == 0
    }
}
