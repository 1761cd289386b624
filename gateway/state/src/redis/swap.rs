//! What depends on the present value of a key, in Redis.

use std::sync::OnceLock;

use bytes::Bytes;
use redis::{RedisResult, Script, aio::ConnectionLike};

use crate::Swap;

/// `ttl_ms` is a time that Redis takes.
pub(super) async fn swap(
    key: &str,
    expected: Option<&Bytes>,
    value: Option<&Bytes>,
    ttl_ms: Option<u64>,
    connection: &mut impl ConnectionLike,
) -> RedisResult<Swap> {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| Script::new(include_str!("swap.lua")));
    let mut call = script.key(key);
    for value in [expected, value] {
        call.arg(u8::from(value.is_some())).arg(value.map_or(&[][..], |value| &value[..]));
    }
    call.arg(ttl_ms.map_or(String::new(), |ttl| ttl.to_string()));
    let (swapped, current): (u8, Option<Vec<u8>>) = call.invoke_async(connection).await?;
    Ok(if swapped == 1 { Swap::Swapped } else { Swap::Different(current.map(Bytes::from)) })
}

/// Returns whether there is a value.
pub(super) async fn set_ttl(key: &str, ttl_ms: Option<u64>, connection: &mut impl ConnectionLike) -> RedisResult<bool> {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| Script::new(include_str!("ttl.lua")));
    script.key(key).arg(ttl_ms.map_or(String::new(), |ttl| ttl.to_string())).invoke_async(connection).await
}
