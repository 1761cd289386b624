//! Well-behaved clients who go on asking while something else happens, and notice every error.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::task::JoinHandle;

use super::{Client, client::Request, eventually};

/// Requests for one target, over and over: HTTP/1.1 on connections of its own, and HTTP/2 on one.
pub struct Traffic {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    answered: AtomicUsize,
    errors: Mutex<Vec<String>>,
}

/// Requests of each protocol at a time.
const CLIENTS: usize = 4;

impl Traffic {
    pub async fn start(address: SocketAddr, target: &'static str) -> Self {
        let shared = Arc::<Shared>::default();
        let http2 = Client::connect_http2(address).await;
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| http2.share()).collect();
        for _ in 0..CLIENTS {
            clients.push(Client::connect(address).await);
        }
        let tasks = clients.into_iter().map(|client| tokio::spawn(ask(client, target, shared.clone()))).collect();
        let traffic = Self { shared, tasks };
        traffic.goes_on().await;
        traffic
    }

    /// Waits until as many further requests as there are clients have been answered.
    pub async fn goes_on(&self) {
        let answered = || self.shared.answered.load(Ordering::SeqCst);
        let before = answered();
        eventually("other traffic goes on", async || answered() >= before + 2 * CLIENTS || self.has_failed()).await;
    }

    fn has_failed(&self) -> bool {
        !self.shared.errors.lock().expect("no panic").is_empty()
    }

    /// Ends it. Every request must have been answered with 200.
    pub async fn end(self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        let errors = std::mem::take(&mut *self.shared.errors.lock().expect("no panic"));
        assert!(errors.is_empty(), "{} errors in other traffic: {:?}", errors.len(), errors.first());
    }
}

async fn ask(mut client: Client, target: &str, shared: Arc<Shared>) {
    while !shared.ends.load(Ordering::SeqCst) {
        let error = match client.try_send(Request::get(target)).await {
            Ok(response) if response.status == 200 => None,
            Ok(response) => Some(format!("{} {}", response.status, response.text())),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error {
            return shared.errors.lock().expect("no panic").push(error);
        }
        shared.answered.fetch_add(1, Ordering::SeqCst);
    }
}
