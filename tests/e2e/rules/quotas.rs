//! Quotas over moving time: in memory, in Redis and in the test kit.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use fastrand::Rng;
use gateway_state::{
    Clock as _, Counting, MemoryStore, Quota, Step, Verdict,
    redis::take::{arguments, verdicts},
};
use plugin_sdk::{
    store::{self, Bucket},
    testkit::{TestHost, seeds},
};
use redis::{Script, aio::MultiplexedConnection};

use super::clock::Manual;
use crate::support::redis::Redis;

/// The script of the gateway, at the time that the test says.
const SCRIPT: &str = concat!(include_str!("clock.lua"), include_str!("../../../gateway/state/src/redis/take.lua"));

const LIMITS: [u32; 9] = [0, 1, 2, 3, 7, 10, 100, 99_999, u32::MAX];
/// In milliseconds; the last ones count as the shortest and the longest that there is.
const PERIODS: [u64; 9] = [1, 7, 333, 1_000, 60_000, 86_400_000, Quota::MAX_PERIOD_MS, 0, u64::MAX];

/// The three of them, at one time.
struct Stores {
    clock: Manual,
    memory: MemoryStore<Manual>,
    host: TestHost,
    redis: MultiplexedConnection,
}

impl Stores {
    fn advance(&self, micros: u64) {
        self.clock.0.fetch_add(micros, Relaxed);
        self.host.set_time(self.clock.now());
    }

    /// What each of them says of the same steps.
    async fn take(&mut self, group: &str, steps: &[Step], alone: bool) -> [Vec<Verdict>; 3] {
        let memory = match steps {
            [step] if alone => {
                vec![self.memory.take("b", &format!("{group}\0{}", step.key), step.quota, step.cost).unwrap()]
            }
            _ => self.memory.take_all("b", group, steps).unwrap(),
        };
        let kit: Vec<_> = steps.iter().map(for_kit).collect();
        let bucket = Bucket::new("b");
        let kit = self.host.run(|| match &*kit {
            [step] if alone => {
                bucket.take(&format!("{group}\0{}", step.key), &step.quota, step.cost).map(|verdict| vec![verdict])
            }
            _ => bucket.take_all(group, &kit, store::Scope::Shared),
        });
        let script = Script::new(SCRIPT);
        let mut call = script.prepare_invoke();
        for step in steps {
            call.key(key(group, step));
        }
        for argument in steps.iter().flat_map(arguments) {
            call.arg(argument);
        }
        let returned = call.arg(self.clock.0.load(Relaxed)).invoke_async(&mut self.redis).await.expect("an answer");
        let redis = verdicts(steps, returned).expect("the script and the rules agree on what is taken");
        [memory, redis, kit.unwrap().into_iter().map(of_kit).collect()]
    }

    /// Forgets what is counted for a step of a group, in either way.
    async fn delete(&mut self, group: &str, step: &str) {
        let key = format!("{group}\0{step}");
        self.memory.delete("b", &key).unwrap();
        self.host.run(|| Bucket::new("b").delete(&key)).unwrap();
        let keys = ["q", "w"].map(|kind| format!("{kind}:{group}:{step}"));
        redis::cmd("DEL").arg(&keys).exec_async(&mut self.redis).await.unwrap();
    }
}

fn key(group: &str, step: &Step) -> String {
    let kind = if step.counting == Counting::Steady { "q" } else { "w" };
    format!("{kind}:{group}:{}", step.key)
}

fn for_kit(step: &Step) -> store::Step {
    store::Step {
        key: step.key.clone(),
        quota: store::Quota {
            limit: step.quota.limit,
            period: Duration::from_millis(step.quota.period_ms),
            burst: step.quota.burst,
        },
        counting: match step.counting {
            Counting::Steady => store::Counting::Steady,
            Counting::Sliding => store::Counting::Sliding,
        },
        cost: step.cost,
    }
}

fn of_kit(verdict: store::Verdict) -> Verdict {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    Verdict {
        allowed: verdict.allowed,
        remaining: verdict.remaining,
        reset_after_ms: millis(verdict.reset_after),
        retry_after_ms: millis(verdict.retry_after),
    }
}

/// Steps of which the same key has the same quota mostly, and another one at times.
fn steps(random: &mut Rng) -> Vec<Step> {
    let number = random.usize(1..=4);
    let step = |_| {
        let name = random.u64(0..4);
        let mut fixed = Rng::with_seed(if random.u8(..) < 10 { random.u64(..) } else { name });
        let counting = if fixed.bool() { Counting::Steady } else { Counting::Sliding };
        let limit = LIMITS[fixed.usize(..LIMITS.len())];
        let burst = if fixed.bool() { limit } else { LIMITS[fixed.usize(..LIMITS.len())] };
        let quota = Quota { limit, period_ms: PERIODS[fixed.usize(..PERIODS.len())], burst };
        let costs = [0, 1, 1, 1, 2, limit / 2, limit, burst.saturating_sub(1), burst, burst.saturating_add(1)];
        Step { key: format!("s{name}"), quota, counting, cost: costs[random.usize(..costs.len())] }
    };
    (0..number).map(step).collect()
}

/// To where something changes, or next to it, or anywhere.
fn pause(random: &mut Rng, told: &[Verdict]) -> u64 {
    let millis = told.iter().flat_map(|verdict| [verdict.retry_after_ms, verdict.reset_after_ms]);
    let mut millis: Vec<_> = millis.filter(|millis| (1..10_000_000).contains(millis)).collect();
    millis.push(1);
    let edge = millis[random.usize(..millis.len())] * 1_000;
    match random.u8(..10) {
        0..=3 => 0,
        4 => random.u64(..1_000),
        5 => edge,
        6 => edge - 1,
        7 => edge + random.u64(..2_000),
        8 => random.u64(..100_000_000),
        _ => random.u64(..10_000_000_000),
    }
}

#[tokio::test]
async fn a_quota_counts_the_same_in_memory_in_redis_and_in_the_test_kit() {
    let server = Redis::start().await;
    let connection = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let (mut allowed, mut refused) = (0, 0);
    for seed in seeds(8) {
        server.ask("FLUSHALL").await;
        let mut random = Rng::with_seed(seed);
        let clock = Manual::in_2026(&mut random);
        let memory = MemoryStore::with_clock(gateway_state::DEFAULT_BYTES, clock.clone());
        let mut stores = Stores { clock, memory, host: TestHost::new(), redis: connection.clone() };
        let mut told = Vec::new();
        for turn in 0..400 {
            stores.advance(pause(&mut random, &told));
            let group = ["anna", "ben"][random.usize(..2)];
            if random.u8(..) < 5 {
                stores.delete(group, &format!("s{}", random.u8(..4))).await;
            }
            let steps = steps(&mut random);
            let alone = steps[0].counting == Counting::Steady && random.bool();
            let [memory, redis, kit] = stores.take(group, &steps, alone).await;
            assert_eq!(memory, redis, "in Redis, turn {turn} of seed {seed}: {steps:?} of {group}");
            assert_eq!(memory, kit, "in the test kit, turn {turn} of seed {seed}: {steps:?} of {group}");
            allowed += memory.iter().filter(|verdict| verdict.allowed).count();
            refused += memory.iter().filter(|verdict| !verdict.allowed).count();
            told = memory;
        }
    }
    assert!(allowed > 1_000 && refused > 1_000, "{allowed} allowed and {refused} refused");
}
