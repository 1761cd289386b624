//! Endpoints that cannot be reached. Connecting to an address that drops packets takes as long as `timeouts.connect`, and every
//! request that is sent there has to wait for that before it goes elsewhere. So once an attempt has taken long in vain, no
//! request goes to the endpoint while there are others, and attempts go on in the background until one succeeds.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use crate::worker::{Endpoint, Upstream};

/// An attempt that fails sooner than this costs a request nothing worth mentioning. Whether an endpoint that refuses
/// connections gets requests is a matter of health.
const LONG: Duration = Duration::from_millis(500);
/// Between two attempts, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Upstream {
    /// Connecting to an endpoint failed, after it was tried since `began`.
    pub(crate) fn could_not_connect(&self, endpoint: &Rc<Endpoint>, timed_out: bool, began: Instant) {
        let is_long = timed_out || began.elapsed() >= LONG;
        if is_long && self.cluster.set_unreachable(&endpoint.health) {
            let address = endpoint.address.socket();
            tracing::warn!(
                upstream = &*self.model.name,
                endpoint = %address,
                "endpoint unreachable: connections time out; it gets no requests while other endpoints are available"
            );
            tokio::task::spawn_local(until_reached(
                endpoint.clone(),
                self.model.name.clone(),
                self.model.timeouts.connect,
            ));
        }
    }
}

/// Marks the endpoint as reachable when it ends, for whatever reason: the next request then finds out.
struct Unreachable(Rc<Endpoint>);

impl Drop for Unreachable {
    fn drop(&mut self) {
        self.0.health.set_unreachable(false);
    }
}

async fn until_reached(endpoint: Rc<Endpoint>, upstream: std::sync::Arc<str>, connect_timeout: Duration) {
    let unreachable = Unreachable(endpoint);
    let endpoint = &unreachable.0;
    let mut pause = FIRST_PAUSE;
    // When this holds the last reference, the endpoint is no longer part of the upstream.
    while Rc::strong_count(endpoint) > 1 {
        tokio::time::sleep(pause.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        let attempt = tokio::time::timeout(connect_timeout, endpoint.address.connect(None, None, &Rc::default())).await;
        if matches!(attempt, Ok(Ok(_))) {
            tracing::info!(upstream = &*upstream, endpoint = %endpoint.address.socket(), "endpoint reachable again");
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
