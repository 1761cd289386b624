//! The store in Redis: shared by all gateways that are given the same server and prefix.
//!
//! One thread has the connections and asks for all workers (`link`), so that workers never wait for it but through a channel, and
//! what they ask in the same moment travels together. Each server has a connection that is probed, given up and made anew by
//! itself (`node`); a cluster is several of these and a map of slots (`cluster`). While a server is unavailable every request to it
//! fails at once; a request that is not answered in time fails then.

mod ask;
mod cluster;
mod dial;
mod failure;
mod forgotten;
mod health;
mod kept;
pub mod lease;
mod link;
mod node;
mod ops;
mod requests;
mod settings;
mod slot;
mod swap;
pub mod take;
pub(crate) mod watch;

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

pub use ask::{Counts, DURATION_BOUNDS};
pub use failure::Failure;
pub use ops::{Op, Reply};
pub use settings::{Credentials, CredentialsError, ReadCredentials, Secret, Servers, Settings, StartError};

use super::{
    Responses, Step,
    responses::{Purge, Stored},
};
use ask::Ask;
use forgotten::Forgotten;
use health::Health;
use kept::Purges;
use link::Link;
use ops::Keys;
use watch::Watches;

/// Questions that wait for the thread, of all workers.
const QUEUE: usize = 16 * 1024;

/// One for the process.
pub struct Redis {
    asks: mpsc::Sender<Ask>,
    health: Arc<Health>,
    counts: Arc<Counts>,
    purges: Arc<Purges>,
    forgotten: Arc<Forgotten>,
    pub(crate) watches: Arc<Watches>,
    prefix: String,
    timeout: Duration,
    is_cluster: bool,
}

/// An answer that is on its way.
pub struct Asked {
    answer: oneshot::Receiver<Result<Reply, Failure>>,
    timeout: Duration,
}

impl Redis {
    /// Begins to connect. An unavailable server is not an error: the gateway reconnects.
    ///
    /// # Errors
    ///
    /// A URL, certificate or thread that cannot be had.
    pub fn start(settings: Settings, responses: Arc<Responses>) -> Result<Arc<Self>, StartError> {
        let health = Arc::new(Health::default());
        let (asks, questions) = mpsc::channel(QUEUE);
        let (prefix, timeout) = (settings.prefix.clone(), settings.timeout);
        let (purges, forgotten) = (Arc::new(Purges::default()), Arc::new(Forgotten::default()));
        let news = link::News {
            purges: Arc::clone(&purges),
            forgotten: Arc::clone(&forgotten),
            responses,
            purge_keys: purge_keys(&prefix),
            forgotten_keys: forgotten_keys(&prefix),
        };
        let (counts, watches) = (Arc::new(Counts::default()), Arc::new(Watches::default()));
        let is_cluster = matches!(settings.servers, Servers::Cluster(_));
        let link = Link::new(settings, Arc::clone(&health), Arc::clone(&counts), news, Arc::clone(&watches))?;
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || link::run(link, questions))
            .map_err(StartError::Thread)?;
        Ok(Arc::new(Self { asks, health, counts, purges, forgotten, watches, prefix, timeout, is_cluster }))
    }

    /// Why some or all of the state can be neither read nor written at present; none if all of it can.
    pub fn trouble(&self) -> Option<String> {
        self.health.trouble()
    }

    /// Servers that hold a part of the state: how many can be read and written, and how many cannot.
    pub fn nodes(&self) -> (u64, u64) {
        self.health.nodes()
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Sends a question. It is answered, or fails, within the time that is configured.
    pub fn ask(&self, op: Op) -> Result<Asked, Failure> {
        let skipped = |why: &str| {
            self.counts.skipped.fetch_add(1, Ordering::Relaxed);
            Failure::Unavailable(why.to_owned())
        };
        if !self.health.is_usable() {
            return Err(skipped("not connected"));
        }
        let (answer, receiver) = oneshot::channel();
        match self.asks.try_send(Ask { op, answer }) {
            Ok(()) => Ok(Asked { answer: receiver, timeout: self.timeout }),
            Err(_) => Err(skipped("too many requests are waiting")),
        }
    }

    pub fn get(&self, bucket: &str, key: &str) -> Result<Op, Failure> {
        Ok(Op::Get { key: self.keys(bucket).value(key)? })
    }

    pub fn set(&self, bucket: &str, key: &str, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<Op, Failure> {
        Op::set(self.keys(bucket).value(key)?, value, ttl_ms)
    }

    pub fn delete(&self, bucket: &str, key: &str) -> Result<Op, Failure> {
        Ok(Op::Delete { keys: self.keys(bucket).all(key)? })
    }

    pub fn increment(&self, bucket: &str, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<Op, Failure> {
        Ok(Op::Increment { key: self.keys(bucket).value(key)?, by, ttl_ms })
    }

    /// A step by itself.
    pub fn take(&self, bucket: &str, step: Step) -> Result<Op, Failure> {
        Ok(Op::Take { keys: vec![self.keys(bucket).quota(&step.key)?], steps: vec![step] })
    }

    pub fn take_all(&self, bucket: &str, group: &str, steps: Vec<Step>) -> Result<Op, Failure> {
        let keys = self.keys(bucket);
        let keys = steps.iter().map(|step| keys.step(group, step)).collect::<Result<_, _>>()?;
        Ok(Op::Take { keys, steps })
    }

    /// The responses that are kept under a key, in Redis.
    pub fn find(&self, bucket: &str, key: &str) -> Result<Op, Failure> {
        Ok(Op::Find { key: self.keys(bucket).responses(key)? })
    }

    /// What of an answer to that is of use.
    pub fn found(&self, bucket: &str, key: &str, kept: Vec<(i64, Bytes)>) -> Vec<Stored> {
        let read = kept.into_iter().filter_map(|(at, bytes)| Some((at, kept::read(bytes)?)));
        read.filter(|(at, stored)| !self.purges.has(*at, bucket, key, stored)).map(|(_, stored)| stored).collect()
    }

    /// Keeps a response there too, and waits for nothing. What is too large for a value of the store is left out.
    pub fn keep(&self, bucket: &str, key: &str, stored: &Stored) {
        let left = stored.until.saturating_duration_since(std::time::Instant::now());
        if stored.size() > super::MAX_VALUE_BYTES || left.is_zero() {
            return;
        }
        let Ok(key) = self.keys(bucket).responses(key) else { return };
        let variant = Bytes::copy_from_slice(&stored.variant);
        let ttl_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let _ = self.ask(Op::Keep { key, variant, value: kept::write(stored).into(), ttl_ms });
    }

    /// Forgets what is kept under a key there, and waits for nothing. If there was anything, the other gateways hear of it within
    /// a second.
    pub fn forget(&self, bucket: &str, key: &str) {
        let order = forgotten::order(bucket, key);
        if let Ok(key) = self.keys(bucket).responses(key) {
            let (keys, seen) = (forgotten_keys(&self.prefix), self.forgotten.seen());
            let _ = self.ask(Op::Forget { key, keys, seen, order });
        }
    }

    /// Has all gateways forget responses, this one too: within a second of when they hear of it.
    ///
    /// # Errors
    ///
    /// Redis is unavailable, so the other gateways are not notified.
    pub fn purge(&self, bucket: &str, what: &Purge<'_>) -> Result<(), Failure> {
        let order = Some(kept::order(bucket, what));
        self.ask(Op::Purges { keys: purge_keys(&self.prefix), seen: self.purges.seen(), order }).map(drop)
    }

    fn keys<'a>(&'a self, bucket: &'a str) -> Keys<'a> {
        Keys { prefix: &self.prefix, bucket }
    }
}

/// The number of purges, and the last of them, in one slot.
fn purge_keys(prefix: &str) -> [String; 2] {
    ["count", "orders"].map(|name| format!("{prefix}{{.purges}}:{name}"))
}

/// The same of what was made invalid.
fn forgotten_keys(prefix: &str) -> [String; 2] {
    ["count", "orders"].map(|name| format!("{prefix}{{.forgotten}}:{name}"))
}

impl Asked {
    pub async fn answer(self) -> Result<Reply, Failure> {
        match tokio::time::timeout(self.timeout, self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Failure::Unavailable("the question was given up".to_owned())),
            Err(_) => Err(Failure::Unavailable(format!("no answer within {:?}", self.timeout))),
        }
    }
}

#[cfg(test)]
mod tests;
