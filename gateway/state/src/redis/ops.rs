//! What is asked of Redis, each in one round trip, and what it answers.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use gateway_rules::{
    store,
    stored_response::{MAX_VARIANTS, fits_key},
};
use redis::{Cmd, RedisResult, Script, aio::ConnectionLike};

use super::{
    super::{Acquired, Counting, LeaseId, Step, Swap, Verdict},
    failure::Failure,
    forgotten,
    kept::REMEMBERED,
    lease::{self, Renewal},
    swap, take,
};

/// A question with its keys as Redis has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Get {
        key: String,
    },
    Set {
        key: String,
        value: Bytes,
        ttl_ms: Option<u64>,
    },
    Delete {
        keys: Vec<String>,
    },
    Increment {
        key: String,
        by: i64,
        ttl_ms: Option<u64>,
    },
    /// All in one slot.
    Take {
        keys: Vec<String>,
        steps: Vec<Step>,
    },
    Swap {
        key: String,
        expected: Option<Bytes>,
        value: Option<Bytes>,
        ttl_ms: Option<u64>,
    },
    SetTtl {
        key: String,
        ttl_ms: Option<u64>,
    },
    Acquire {
        key: String,
        lease: LeaseId,
        limit: u32,
        ttl_ms: u64,
    },
    /// All in one slot. With `insist`, leases that have ended are held again.
    Renew {
        leases: Vec<Renewal>,
        insist: bool,
    },
    Release {
        key: String,
        lease: LeaseId,
    },
    /// How many hold a key.
    Holders {
        key: String,
    },
    /// The responses under a key.
    Find {
        key: String,
    },
    Keep {
        key: String,
        variant: Bytes,
        value: Bytes,
        ttl_ms: u64,
    },
    /// What was purged since so many purges, with a new one if there is an order.
    Purges {
        keys: [String; 2],
        seen: i64,
        order: Option<String>,
    },
    /// Deletes the responses under a key. If there were any, a `Forgotten` with the order follows, which may lie on another node.
    Forget {
        key: String,
        keys: [String; 2],
        seen: i64,
        order: String,
    },
    /// What was made invalid since so many times, with a new order if there is one.
    Forgotten {
        keys: [String; 2],
        seen: i64,
        order: Option<String>,
    },
    /// Writes and deletes a key: works only on a server that takes writes.
    Probe {
        key: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Bytes(Option<Bytes>),
    Done,
    Number(i64),
    Verdicts(Vec<Verdict>),
    Swap(Swap),
    /// Whether there is a value.
    Exists(bool),
    Acquired(Acquired),
    /// Each with the server's time at which it was kept, in milliseconds.
    Kept(Vec<(i64, Bytes)>),
    /// How many there were, and the last of them.
    Purges(i64, Vec<(i64, Bytes)>),
    /// Since how many, how many there are now, and the last of them.
    Forgotten(i64, i64, Vec<Bytes>),
}

/// A year: what is longer is not shorter than anything that is asked for.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Where things lie. Values and quotas of one key have the same hash tag, and so have the steps of a group: in a cluster they lie in
/// one slot (Redis Cluster Specification, "Hash tags").
pub(super) struct Keys<'a> {
    pub(super) prefix: &'a str,
    pub(super) bucket: &'a str,
}

impl Keys<'_> {
    pub(super) fn value(&self, key: &str) -> Result<String, Failure> {
        self.compose('v', key)
    }

    /// Of `take`.
    pub(super) fn quota(&self, key: &str) -> Result<String, Failure> {
        self.compose('q', key)
    }

    /// The holders of a key.
    pub(super) fn leases(&self, key: &str) -> Result<String, Failure> {
        self.compose('l', key)
    }

    /// Everything that `delete` removes.
    pub(super) fn all(&self, key: &str) -> Result<Vec<String>, Failure> {
        ['v', 'q', 'w'].into_iter().map(|kind| self.compose(kind, key)).collect()
    }

    pub(super) fn responses(&self, key: &str) -> Result<String, Failure> {
        if !fits_key(self.bucket, key) {
            return Err(Failure::TooLarge);
        }
        Ok(self.tagged('c', key, ""))
    }

    pub(super) fn step(&self, group: &str, step: &Step) -> Result<String, Failure> {
        let kind = match step.counting {
            Counting::Steady => 'q',
            Counting::Sliding => 'w',
        };
        self.compose(kind, &store::step_key(group, &step.key))
    }

    /// The key is a group by itself, unless it is a step of one.
    fn compose(&self, kind: char, key: &str) -> Result<String, Failure> {
        store::check_key(self.bucket, key).map_err(|_| Failure::TooLarge)?;
        Ok(match key.split_once('\0') {
            None => self.tagged(kind, key, ""),
            Some((group, step)) => self.tagged(kind, group, &format!(":{step}")),
        })
    }

    fn tagged(&self, kind: char, tag: &str, rest: &str) -> String {
        // An empty tag is none (it would lie by the whole key), so it gets something to lie by.
        format!("{}{}:{kind}:{{.{tag}}}{rest}", self.prefix, self.bucket)
    }
}

impl Op {
    pub(super) fn set(key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<Self, Failure> {
        store::check_value(&value).map_err(|_| Failure::TooLarge)?;
        // Redis has no time to live of nothing: it is gone at once.
        if ttl_ms == Some(0) {
            return Ok(Self::Delete { keys: vec![key] });
        }
        Ok(Self::Set { key, value: value.into(), ttl_ms })
    }

    /// The key by which a cluster finds the node. All keys of one operation lie in one slot.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Get { key }
            | Self::Set { key, .. }
            | Self::Increment { key, .. }
            | Self::Swap { key, .. }
            | Self::SetTtl { key, .. }
            | Self::Acquire { key, .. }
            | Self::Release { key, .. }
            | Self::Holders { key }
            | Self::Find { key }
            | Self::Keep { key, .. }
            | Self::Forget { key, .. }
            | Self::Probe { key } => key,
            Self::Delete { keys } | Self::Take { keys, .. } => keys.first().map_or("", String::as_str),
            Self::Renew { leases, .. } => leases.first().map_or("", |renewal| &renewal.key),
            Self::Purges { keys, .. } | Self::Forgotten { keys, .. } => &keys[0],
        }
    }

    pub(super) async fn run(&self, connection: &mut (impl ConnectionLike + Clone)) -> RedisResult<Reply> {
        match self {
            Self::Get { key } => {
                let value: Option<Vec<u8>> = Cmd::get(key).query_async(connection).await?;
                Ok(Reply::Bytes(value.map(Bytes::from)))
            }
            Self::Set { key, value, ttl_ms } => {
                let mut set = Cmd::set(key, &value[..]);
                if let Some(ttl) = ttl_ms {
                    set.arg("PX").arg(bounded(*ttl));
                }
                set.query_async::<()>(connection).await?;
                Ok(Reply::Done)
            }
            Self::Delete { keys } => {
                Cmd::del(keys).query_async::<()>(connection).await?;
                Ok(Reply::Done)
            }
            Self::Increment { key, by, ttl_ms } => {
                let ttl = ttl_ms.map_or(String::new(), |ttl| bounded(ttl).to_string());
                let sum = increment().key(key).arg(*by).arg(ttl).invoke_async(connection).await?;
                Ok(Reply::Number(sum))
            }
            Self::Take { keys, steps } => take::take(keys, steps, connection).await.map(Reply::Verdicts),
            Self::Swap { key, expected, value, ttl_ms } => {
                let ttl_ms = ttl_ms.map(bounded);
                swap::swap(key, expected.as_ref(), value.as_ref(), ttl_ms, connection).await.map(Reply::Swap)
            }
            Self::SetTtl { key, ttl_ms } => {
                swap::set_ttl(key, ttl_ms.map(bounded), connection).await.map(Reply::Exists)
            }
            Self::Acquire { key, lease, limit, ttl_ms } => {
                lease::acquire(key, *lease, *limit, *ttl_ms, connection).await.map(Reply::Acquired)
            }
            Self::Renew { leases, insist } => lease::renew(leases, *insist, connection).await.map(Reply::Number),
            Self::Release { key, lease } => {
                Cmd::zrem(key, lease.to_string()).query_async::<()>(connection).await?;
                Ok(Reply::Done)
            }
            Self::Holders { key } => lease::holders(key, connection).await.map(Reply::Number),
            Self::Find { key } => {
                let values: Vec<Vec<u8>> = Cmd::hvals(key).query_async(connection).await?;
                Ok(Reply::Kept(values.into_iter().filter_map(timed).collect()))
            }
            Self::Keep { key, variant, value, ttl_ms } => {
                let script = keep();
                let mut call = script.key(key);
                call.arg(&variant[..]).arg(&value[..]).arg(bounded(*ttl_ms)).arg(MAX_VARIANTS);
                call.invoke_async::<()>(connection).await?;
                Ok(Reply::Done)
            }
            Self::Purges { keys: [count, orders], seen, order } => {
                let script = purge();
                let mut call = script.key(count);
                call.key(orders).arg(*seen).arg(REMEMBERED).arg(order.as_deref().unwrap_or_default());
                let (count, latest): (i64, Vec<Vec<u8>>) = call.invoke_async(connection).await?;
                Ok(Reply::Purges(count, latest.into_iter().filter_map(timed).collect()))
            }
            Self::Forget { key, .. } => {
                let deleted = Cmd::del(key).query_async(connection).await?;
                Ok(Reply::Number(deleted))
            }
            Self::Forgotten { keys: [count, orders], seen, order } => {
                let script = forgotten();
                let mut call = script.key(count);
                call.key(orders).arg(*seen).arg(forgotten::REMEMBERED).arg(order.as_deref().unwrap_or_default());
                let (count, latest): (i64, Vec<Vec<u8>>) = call.invoke_async(connection).await?;
                Ok(Reply::Forgotten(*seen, count, latest.into_iter().map(Bytes::from).collect()))
            }
            Self::Probe { key } => {
                probe().key(key).invoke_async::<()>(connection).await?;
                Ok(Reply::Done)
            }
        }
    }
}

/// What a script has written after the time of the server.
fn timed(value: Vec<u8>) -> Option<(i64, Bytes)> {
    let space = value.iter().position(|b| *b == b' ')?;
    let at = std::str::from_utf8(&value[..space]).ok()?.parse().ok()?;
    Some((at, Bytes::from(value).slice(space + 1..)))
}

fn bounded(ttl_ms: u64) -> u64 {
    ttl_ms.min(u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX))
}

fn keep() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(include_str!("keep.lua")))
}

fn purge() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(include_str!("purge.lua")))
}

fn forgotten() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(include_str!("forgotten.lua")))
}

fn probe() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(include_str!("probe.lua")))
}

fn increment() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(include_str!("increment.lua")))
}
