//! Quotas in Redis: a script decides what is taken (`take.lua`), and says what was there; verdicts are made of that here, by the
//! same rules as those of the store in memory.

use std::sync::OnceLock;

use gateway_rules::{
    quota::Level,
    take::{Count, Counting, Step, Verdict, take_all},
    window::Window,
};
use redis::{ErrorKind, RedisError, RedisResult, Script, aio::ConnectionLike};

const NANOS_PER_MICRO: u64 = 1_000;

/// What the script returns: its time in microseconds, whether all steps were taken, and two numbers for each of them.
pub type Returned = (u64, u8, Vec<Vec<u64>>);

/// Takes the steps, whose keys lie in one slot.
///
/// # Errors
///
/// What Redis says, or something else than the script returns.
pub(super) async fn take(
    keys: &[String],
    steps: &[Step],
    connection: &mut impl ConnectionLike,
) -> RedisResult<Vec<Verdict>> {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| Script::new(concat!(include_str!("clock.lua"), include_str!("take.lua"))));
    let mut call = script.prepare_invoke();
    for key in keys {
        call.key(key);
    }
    for argument in steps.iter().flat_map(arguments) {
        call.arg(argument);
    }
    let returned = call.invoke_async(connection).await?;
    let strange = || RedisError::from((ErrorKind::UnexpectedReturnType, "not what the script returns"));
    verdicts(steps, returned).ok_or_else(strange)
}

/// Arguments of the script for a step.
pub fn arguments(step: &Step) -> [u64; 5] {
    let way = match step.counting {
        Counting::Steady => 0,
        Counting::Sliding => 1,
    };
    let quota = step.quota;
    [way, quota.limit.into(), quota.period_micros(), quota.burst.into(), step.cost.into()]
}

/// What came of the steps; `None` if this is not what the script returns for them.
pub fn verdicts(steps: &[Step], (micros, taken, before): Returned) -> Option<Vec<Verdict>> {
    let now = micros.checked_mul(NANOS_PER_MICRO)?;
    let count = |place: usize| {
        let (step, &[first, second]) = (steps.get(place)?, before.get(place)?.first_chunk()?);
        Some(match step.counting {
            Counting::Steady => Count::Level(Level::of(step.quota, first, second, now)),
            Counting::Sliding => Count::Window(Window::of(step.quota, first, second, now)),
        })
    };
    let verdicts: Vec<_> = take_all(steps, count, now).into_iter().map(|taken| taken.verdict).collect();
    let all = verdicts.iter().all(|verdict| verdict.allowed);
    let is_whole = before.len() == steps.len() && before.iter().all(|numbers| numbers.len() == 2);
    (is_whole && all == (taken == 1)).then_some(verdicts)
}

#[cfg(test)]
mod tests {
    use gateway_rules::quota::Quota;

    use super::*;

    #[test]
    fn an_answer_that_does_not_fit_the_steps_is_none() {
        let quota = Quota { limit: 10, period_ms: 1_000, burst: 10 };
        let step = Step { key: String::new(), quota, counting: Counting::Steady, cost: 4 };
        let steps = std::slice::from_ref(&step);
        assert_eq!(verdicts(steps, (5, 1, vec![vec![3, 500_000]])).unwrap()[0].remaining, 2);
        assert_eq!(verdicts(steps, (5, 1, vec![vec![7, 0]])), None, "it does not fit, and was taken");
        assert_eq!(verdicts(steps, (5, 1, vec![])), None);
        assert_eq!(verdicts(steps, (5, 1, vec![vec![3]])), None);
    }
}
