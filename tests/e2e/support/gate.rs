//! An upstream that answers when it is told to, so that a test knows that a request is under way.

use std::{net::SocketAddr, sync::Arc};

use http::Response;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::{Upstream, in_time, upstream::full};

pub struct Gate {
    upstream: Upstream,
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    /// Requests that come wait; they are answered with this text.
    pub async fn answering(text: &'static str) -> Self {
        let arrived = Arc::new(Semaphore::new(0));
        let open = Arc::new(Semaphore::new(0));
        let shared = (arrived.clone(), open.clone());
        let upstream = Upstream::serving(move |request| {
            let (arrived, open) = shared.clone();
            async move {
                let _ = request.into_body().collect().await;
                arrived.add_permits(1);
                open.acquire().await.expect("never closed").forget();
                Response::new(full(text))
            }
        })
        .await;
        Self { upstream, arrived, open }
    }

    pub fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// Waits until as many requests have come as were not waited for before.
    pub async fn arrivals(&self, requests: u32) {
        let arrivals = in_time("requests arriving", self.arrived.acquire_many(requests)).await;
        arrivals.expect("never closed").forget();
    }

    /// Requests that have come and were not waited for.
    pub fn waiting(&self) -> usize {
        self.arrived.available_permits()
    }

    /// Lets as many requests be answered.
    pub fn release(&self, requests: usize) {
        self.open.add_permits(requests);
    }
}
