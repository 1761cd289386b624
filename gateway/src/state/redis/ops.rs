//! What is asked of Redis, each in one round trip, and what it answers.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Script, aio::ConnectionLike};

use super::{
    super::{
        Counting, MAX_KEY_BYTES, MAX_VALUE_BYTES, Step, Verdict,
        responses::{MAX_RESPONSE_KEY_BYTES, VARIANTS},
    },
    failure::Failure,
    forgotten,
    kept::REMEMBERED,
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
        self.compose('v', key, "")
    }

    /// Of `take`: the key is a group by itself, unless it is a step of one.
    pub(super) fn quota(&self, key: &str) -> Result<String, Failure> {
        let (group, step) = key.split_once('\0').unwrap_or((key, ""));
        self.compose('q', group, step)
    }

    pub(super) fn responses(&self, key: &str) -> Result<String, Failure> {
        self.compose('c', key, "")
    }

    pub(super) fn step(&self, group: &str, step: &Step) -> Result<String, Failure> {
        let kind = match step.counting {
            Counting::Steady => 'q',
            Counting::Sliding => 'w',
        };
        self.compose(kind, group, &step.key)
    }

    fn compose(&self, kind: char, tag: &str, rest: &str) -> Result<String, Failure> {
        let most = if kind == 'c' { MAX_RESPONSE_KEY_BYTES } else { MAX_KEY_BYTES };
        if self.bucket.len() + tag.len() + rest.len() > most {
            return Err(Failure::TooLarge);
        }
        let colon = if rest.is_empty() { "" } else { ":" };
        // An empty tag is none (it would lie by the whole key), so it gets something to lie by.
        Ok(format!("{}{}:{kind}:{{.{tag}}}{colon}{rest}", self.prefix, self.bucket))
    }
}

impl Op {
    pub(super) fn set(key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<Self, Failure> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Failure::TooLarge);
        }
        // Redis has no time to live of nothing: it is gone at once.
        if ttl_ms == Some(0) {
            return Ok(Self::Delete { keys: vec![key] });
        }
        Ok(Self::Set { key, value: value.into(), ttl_ms })
    }

    /// What tells it from others. A value as it is: written out, a large one would be four times as large.
    pub fn name(&self) -> Vec<u8> {
        match self {
            Self::Set { key, value, ttl_ms } => {
                let mut name = format!("set {key:?} {ttl_ms:?} ").into_bytes();
                name.extend_from_slice(value);
                name
            }
            other => format!("{other:?}").into_bytes(),
        }
    }

    /// The key by which a cluster finds the node. All keys of one operation lie in one slot.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Get { key }
            | Self::Set { key, .. }
            | Self::Increment { key, .. }
            | Self::Find { key }
            | Self::Keep { key, .. }
            | Self::Forget { key, .. }
            | Self::Probe { key } => key,
            Self::Delete { keys } | Self::Take { keys, .. } => keys.first().map_or("", String::as_str),
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
            Self::Take { keys, steps } => {
                let script = take();
                let mut call = script.prepare_invoke();
                for key in keys {
                    call.key(key);
                }
                for step in steps {
                    let way = if step.counting == Counting::Steady { 0 } else { 1 };
                    let period = step.quota.period_ms.max(1).min(u64::from(u32::MAX)) * 1000;
                    call.arg(way).arg(step.quota.limit).arg(period).arg(step.quota.burst).arg(step.cost);
                }
                let answers: Vec<Vec<i64>> = call.invoke_async(connection).await?;
                verdicts(&answers, steps.len()).map(Reply::Verdicts)
            }
            Self::Find { key } => {
                let values: Vec<Vec<u8>> = Cmd::hvals(key).query_async(connection).await?;
                Ok(Reply::Kept(values.into_iter().filter_map(timed).collect()))
            }
            Self::Keep { key, variant, value, ttl_ms } => {
                let script = keep();
                let mut call = script.key(key);
                call.arg(&variant[..]).arg(&value[..]).arg(bounded(*ttl_ms)).arg(VARIANTS);
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

fn take() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(include_str!("take.lua")))
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

fn verdicts(answers: &[Vec<i64>], count: usize) -> RedisResult<Vec<Verdict>> {
    let strange = || RedisError::from((ErrorKind::UnexpectedReturnType, "not what the script answers"));
    if answers.len() != count {
        return Err(strange());
    }
    // Rounded up: who waits so long is not refused for having come too early.
    let millis = |micros: i64| u64::try_from(micros).map_or(u64::MAX, |micros| micros.div_ceil(1000));
    let verdict = |answer: &Vec<i64>| {
        let [allowed, remaining, reset, retry] = answer[..] else { return Err(strange()) };
        Ok(Verdict {
            allowed: allowed == 1,
            remaining: u32::try_from(remaining).unwrap_or(0),
            reset_after_ms: millis(reset),
            retry_after_ms: millis(retry),
        })
    };
    answers.iter().map(verdict).collect()
}
