//! Leases over moving time, and values that are swapped: in memory, in Redis and in the test kit.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use fastrand::Rng;
use gateway_state::{Clock as _, LeaseId, MemoryStore, Swap};
use plugin_sdk::{
    store::{Bucket, Scope, SwapResult},
    testkit::{TestHost, seeds},
};
use redis::{Script, aio::MultiplexedConnection};

use super::clock::Manual;
use crate::support::redis::Redis;

/// The time is what the test says last. Keys expire by the server's own clock, which does not get so far in a test.
const CLOCK: &str = "local now = tonumber(ARGV[#ARGV])\n";
const ACQUIRE: &str = include_str!("../../../gateway/state/src/redis/acquire.lua");
const RENEW: &str = include_str!("../../../gateway/state/src/redis/renew.lua");
const SWAP: &str = include_str!("../../../gateway/state/src/redis/swap.lua");
const TTL: &str = include_str!("../../../gateway/state/src/redis/ttl.lua");

/// In milliseconds; the last one counts as the longest that there is.
const TTLS: [u64; 4] = [600_000, 900_000, 3_600_000, u64::MAX];

/// The three of them, at one time.
struct Stores {
    clock: Manual,
    memory: MemoryStore<Manual>,
    host: TestHost,
    bucket: Bucket,
    redis: MultiplexedConnection,
    scripts: [Script; 4],
}

/// A lease of a key, as it is called in each of the stores.
struct Lease {
    key: String,
    id: LeaseId,
    in_kit: String,
}

impl Stores {
    fn new(random: &mut Rng, redis: MultiplexedConnection) -> Self {
        let clock = Manual::in_2026(random);
        let memory = MemoryStore::with_clock(gateway_state::DEFAULT_BYTES, clock.clone());
        let timed = |script: &str| Script::new(&format!("{CLOCK}{script}"));
        let scripts = [timed(ACQUIRE), timed(RENEW), Script::new(SWAP), Script::new(TTL)];
        Self { clock, memory, host: TestHost::new(), bucket: Bucket::new("b"), redis, scripts }
    }

    fn advance(&self, micros: u64) {
        self.clock.0.fetch_add(micros, Relaxed);
        self.host.set_time(self.clock.now());
    }

    /// What each of them says, and the lease if there is one.
    async fn acquire(&mut self, key: &str, limit: u32, ttl_ms: u64) -> ([(bool, u32); 3], Option<Lease>) {
        let id = gateway_state::new_lease();
        let memory = self.memory.acquire("b", key, id, limit, Some(ttl_ms)).unwrap();
        let ttl = Duration::from_millis(ttl_ms);
        let kit = self.host.run(|| self.bucket.acquire(key, limit, ttl, Scope::Shared)).unwrap();
        let mut call = self.scripts[0].key(format!("l:{key}"));
        call.arg(id.to_string()).arg(limit).arg(longest(ttl_ms)).arg(self.clock.0.load(Relaxed));
        let redis: (u8, u32) = call.invoke_async(&mut self.redis).await.unwrap();
        let said = [(memory.held, memory.holders), (redis.0 == 1, redis.1), (kit.lease.is_some(), kit.holders)];
        (said, kit.lease.map(|in_kit| Lease { key: key.to_owned(), id, in_kit }))
    }

    async fn renew(&mut self, lease: &Lease, ttl_ms: u64) -> [bool; 3] {
        let Lease { key, id, in_kit } = lease;
        let memory = self.memory.renew_lease("b", key, *id, Some(ttl_ms)).unwrap();
        let kit = self.host.run(|| self.bucket.renew(key, in_kit, Duration::from_millis(ttl_ms))).unwrap();
        let mut call = self.scripts[1].key(format!("l:{key}"));
        call.arg(0).arg(id.to_string()).arg(longest(ttl_ms)).arg(self.clock.0.load(Relaxed));
        let redis: u32 = call.invoke_async(&mut self.redis).await.unwrap();
        [memory, redis == 1, kit]
    }

    async fn release(&mut self, lease: &Lease) {
        let Lease { key, id, in_kit } = lease;
        self.memory.release_lease("b", key, *id).unwrap();
        self.host.run(|| self.bucket.release(key, in_kit)).unwrap();
        redis::cmd("ZREM").arg(format!("l:{key}")).arg(id.to_string()).exec_async(&mut self.redis).await.unwrap();
    }

    async fn swap(&mut self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> [SwapResult; 3] {
        let memory = self.memory.compare_and_swap("b", key, expected, value, None).unwrap();
        let kit = self.host.run(|| self.bucket.compare_and_swap(key, expected, value, None)).unwrap();
        let mut call = self.scripts[2].key(format!("v:{key}"));
        for value in [expected, value] {
            call.arg(u8::from(value.is_some())).arg(value.unwrap_or_default());
        }
        let (swapped, current): (u8, Option<Vec<u8>>) = call.arg("").invoke_async(&mut self.redis).await.unwrap();
        let redis = if swapped == 1 { SwapResult::Swapped } else { SwapResult::Different(current) };
        let memory = match memory {
            Swap::Swapped => SwapResult::Swapped,
            Swap::Different(current) => SwapResult::Different(current.map(Vec::from)),
        };
        [memory, redis, kit]
    }

    async fn set_ttl(&mut self, key: &str, ttl_ms: Option<u64>) -> [bool; 3] {
        let memory = self.memory.set_ttl("b", key, ttl_ms).unwrap();
        let kit = self.host.run(|| self.bucket.set_ttl(key, ttl_ms.map(Duration::from_millis))).unwrap();
        let mut call = self.scripts[3].key(format!("v:{key}"));
        call.arg(ttl_ms.map_or(String::new(), |ttl| ttl.to_string()));
        [memory, call.invoke_async(&mut self.redis).await.unwrap(), kit]
    }
}

/// As the gateway asks for it.
fn longest(ttl_ms: u64) -> u64 {
    ttl_ms.min(3_600_000)
}

#[tokio::test]
async fn a_lease_is_held_the_same_in_memory_in_redis_and_in_the_test_kit() {
    let server = Redis::start().await;
    let connection = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let (mut held, mut refused, mut renewed, mut ended) = (0, 0, 0, 0);
    for seed in seeds(4) {
        server.ask("FLUSHALL").await;
        let mut random = Rng::with_seed(seed);
        let mut stores = Stores::new(&mut random, connection.clone());
        let mut leases: Vec<Lease> = Vec::new();
        for turn in 0..400 {
            let pauses = [0, 0, 1, 300_000_000, 599_999_999, 600_000_000, 600_000_001, 3_600_000_000];
            stores.advance(pauses[random.usize(..pauses.len())]);
            let ttl = TTLS[random.usize(..TTLS.len())];
            match random.u8(..4) {
                0 | 1 => {
                    let (key, limit) = (["anna", "ben"][random.usize(..2)], [0, 1, 2, 3, 5][random.usize(..5)]);
                    let ([memory, redis, kit], lease) = stores.acquire(key, limit, ttl).await;
                    assert_eq!(memory, redis, "in Redis, turn {turn} of seed {seed}: {limit} of {key}");
                    assert_eq!(memory, kit, "in the test kit, turn {turn} of seed {seed}: {limit} of {key}");
                    *(if memory.0 { &mut held } else { &mut refused }) += 1;
                    leases.extend(lease);
                }
                2 if !leases.is_empty() => {
                    let lease = &leases[random.usize(..leases.len())];
                    let [memory, redis, kit] = stores.renew(lease, ttl).await;
                    assert_eq!((memory, memory), (redis, kit), "turn {turn} of seed {seed}");
                    *(if memory { &mut renewed } else { &mut ended }) += 1;
                }
                3 if !leases.is_empty() => {
                    let lease = leases.swap_remove(random.usize(..leases.len()));
                    stores.release(&lease).await;
                }
                _ => {}
            }
        }
    }
    assert!(held > 50 && refused > 50 && renewed > 20 && ended > 20, "{held} {refused} {renewed} {ended}");
}

#[tokio::test]
async fn a_value_is_swapped_the_same_in_memory_in_redis_and_in_the_test_kit() {
    let server = Redis::start().await;
    let connection = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let values: [Option<&[u8]>; 5] = [None, Some(b""), Some(b"a"), Some(b"7"), Some(b"\xff\0")];
    let (mut swapped, mut different) = (0, 0);
    for seed in seeds(2) {
        server.ask("FLUSHALL").await;
        let mut random = Rng::with_seed(seed);
        let mut stores = Stores::new(&mut random, connection.clone());
        for turn in 0..300 {
            let key = ["anna", "ben"][random.usize(..2)];
            if random.u8(..5) == 0 {
                let ttl = [None, Some(0), Some(600_000)][random.usize(..3)];
                let [memory, redis, kit] = stores.set_ttl(key, ttl).await;
                assert_eq!((memory, memory), (redis, kit), "turn {turn} of seed {seed}");
                continue;
            }
            let (expected, value) = (values[random.usize(..values.len())], values[random.usize(..values.len())]);
            let [memory, redis, kit] = stores.swap(key, expected, value).await;
            assert_eq!(memory, redis, "in Redis, turn {turn} of seed {seed}: {expected:?} {value:?}");
            assert_eq!(memory, kit, "in the test kit, turn {turn} of seed {seed}: {expected:?} {value:?}");
            *(if memory == SwapResult::Swapped { &mut swapped } else { &mut different }) += 1;
        }
    }
    assert!(swapped > 20 && different > 20, "{swapped} {different}");
}
