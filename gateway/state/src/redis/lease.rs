//! Leases in Redis: a sorted set for each key, in which the server's own clock decides which leases have ended.

use std::sync::OnceLock;

use gateway_rules::lease::{self, Acquired, LeaseId};
use redis::{RedisResult, Script, aio::ConnectionLike};

use super::{Redis, cluster::slot, failure::Failure, ops::Op};

/// Leases that one script renews: so many hold up the server for a fraction of a millisecond.
const AT_ONCE: usize = 128;

/// A lease and what it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// As `Redis::lease_key` has made it.
    pub key: String,
    pub lease: LeaseId,
    pub ttl_ms: u64,
}

impl Redis {
    /// Where the holders of a key are.
    ///
    /// # Errors
    ///
    /// The key is too large.
    pub fn lease_key(&self, bucket: &str, key: &str) -> Result<String, Failure> {
        self.keys(bucket).leases(key)
    }

    /// Adds a holder of a key (`lease_key`) if there are fewer than `limit`.
    ///
    /// # Errors
    ///
    /// More may hold it than a key can have holders.
    pub fn acquire(&self, key: String, lease: LeaseId, limit: u32, ttl_ms: u64) -> Result<Op, Failure> {
        lease::check_limit(limit).map_err(|_| Failure::TooLarge)?;
        Ok(Op::Acquire { key, lease, limit, ttl_ms: lease::ttl_ms(ttl_ms) })
    }

    /// Gives a lease its time to live anew, if it is still held.
    pub fn renew_lease(&self, key: String, lease: LeaseId, ttl_ms: u64) -> Op {
        Op::Renew { leases: vec![Renewal { key, lease, ttl_ms }], insist: false }
    }

    /// Removes a holder of a key.
    pub fn release_lease(&self, key: String, lease: LeaseId) -> Op {
        Op::Release { key, lease }
    }

    /// Renews the leases of exchanges that are alive, also those that the server has lost meanwhile. All keys of one script must
    /// lie in one slot of a cluster.
    pub fn keep_leases(&self, mut leases: Vec<Renewal>) -> Vec<Op> {
        let op = |leases: &[Renewal]| Op::Renew { leases: leases.to_vec(), insist: true };
        if !self.is_cluster {
            return leases.chunks(AT_ONCE).map(op).collect();
        }
        leases.sort_by_cached_key(|renewal| slot(renewal.key.as_bytes()));
        let in_one_slot = leases.chunk_by(|one, other| slot(one.key.as_bytes()) == slot(other.key.as_bytes()));
        in_one_slot.flat_map(|leases| leases.chunks(AT_ONCE)).map(op).collect()
    }
}

pub(super) async fn acquire(
    key: &str,
    lease: LeaseId,
    limit: u32,
    ttl_ms: u64,
    connection: &mut impl ConnectionLike,
) -> RedisResult<Acquired> {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| Script::new(concat!(include_str!("clock.lua"), include_str!("acquire.lua"))));
    let mut call = script.key(key);
    let (held, holders): (u8, u32) =
        call.arg(lease.to_string()).arg(limit).arg(ttl_ms).invoke_async(connection).await?;
    Ok(Acquired { held: held == 1, holders })
}

/// Returns how many of them were still held.
pub(super) async fn renew(leases: &[Renewal], insist: bool, connection: &mut impl ConnectionLike) -> RedisResult<i64> {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| Script::new(concat!(include_str!("clock.lua"), include_str!("renew.lua"))));
    let mut call = script.arg(u8::from(insist));
    for Renewal { key, lease, ttl_ms } in leases {
        call.key(key).arg(lease.to_string()).arg(lease::ttl_ms(*ttl_ms));
    }
    call.invoke_async(connection).await
}
