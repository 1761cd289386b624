//! What keeps the timers of a pool running (`crate::timers`).

use std::{cell::RefCell, rc::Rc};

use tokio::sync::watch;

use crate::services::Services;

/// The timers of a pool, as long as new requests can begin with its plugin.
pub(crate) struct RunningTimers {
    /// Of the newest configuration, by which the next calls are made.
    services: Rc<RefCell<Rc<Services>>>,
    /// Dropped, it ends the tasks: one that has a call in progress ends after it.
    _stop: watch::Sender<()>,
}

impl RunningTimers {
    pub(crate) fn new(services: Rc<RefCell<Rc<Services>>>, stop: watch::Sender<()>) -> Self {
        Self { services, _stop: stop }
    }

    /// The next calls are made with these.
    pub(crate) fn use_services(&self, services: &Rc<Services>) {
        self.services.replace(Rc::clone(services));
    }
}
