//! Leases in Redis: a sorted set for each key, in which the server's own clock decides which leases have ended.

use std::sync::OnceLock;

use gateway_rules::lease::{self, Acquired, LeaseId};
use redis::{RedisResult, Script, aio::ConnectionLike};

/// A lease and what it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// As `Redis::lease_key` has made it.
    pub key: String,
    pub lease: LeaseId,
    pub ttl_ms: u64,
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

/// How many hold a key.
pub(super) async fn holders(key: &str, connection: &mut impl ConnectionLike) -> RedisResult<i64> {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| Script::new(concat!(include_str!("clock.lua"), include_str!("holders.lua"))));
    script.key(key).invoke_async(connection).await
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
