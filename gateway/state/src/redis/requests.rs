//! Requests that are scripts: about leases, and about what depends on the present value of a key.

use bytes::Bytes;
use gateway_rules::{
    lease::{self, LeaseId},
    store::check_value,
};

use super::{Redis, failure::Failure, lease::Renewal, ops::Op, slot::slot};

/// Leases that one script renews, which takes the server a fraction of a millisecond.
const AT_ONCE: usize = 128;

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
