//! What depends on the present value of a key, in Redis.

use std::sync::OnceLock;

use bytes::Bytes;
use gateway_rules::store::check_value;
use redis::{RedisResult, Script, aio::ConnectionLike};

use super::{Redis, failure::Failure, ops::Op};
use crate::Swap;

impl Redis {
    /// Gives a key a value, or none, if it has the expected one, or none.
    ///
    /// # Errors
    ///
    /// The key or a value is too large.
    pub fn compare_and_swap(
        &self,
        bucket: &str,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        ttl_ms: Option<u64>,
    ) -> Result<Op, Failure> {
        let key = self.keys(bucket).value(key)?;
        let checked = [&expected, &value].into_iter().flatten().try_for_each(|value| check_value(value));
        checked.map_err(|_| Failure::TooLarge)?;
        // Redis has no time to live of nothing: the value is gone at once.
        let value = value.filter(|_| ttl_ms != Some(0));
        Ok(Op::Swap { key, expected: expected.map(Bytes::from), value: value.map(Bytes::from), ttl_ms })
    }

    /// Gives a value another time to live, or none.
    ///
    /// # Errors
    ///
    /// The key is too large.
    pub fn set_ttl(&self, bucket: &str, key: &str, ttl_ms: Option<u64>) -> Result<Op, Failure> {
        Ok(Op::SetTtl { key: self.keys(bucket).value(key)?, ttl_ms })
    }
}

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
