//! Steps that take units of quotas: one, or several of which all or none are taken.

pub use crate::verdict::{Taken, Verdict};
use crate::{
    quota::{Level, Quota},
    window::{self, Window},
};

/// Steps that are taken together, at most.
pub const MAX_STEPS: usize = 16;

/// How units come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counting {
    /// Evenly, one after another.
    Steady,
    /// When they are a period old. The burst does not count.
    Sliding,
}

/// One of several steps that are taken together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The key within its group.
    pub key: String,
    /// How much there is.
    pub quota: Quota,
    /// How units come back.
    pub counting: Counting,
    /// 0 only asks.
    pub cost: u32,
}

/// What is remembered of a key between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Of one that is counted steadily.
    Level(Level),
    /// Of one that is counted in a sliding window.
    Window(Window),
}

impl Step {
    /// Takes the step by itself at `now`, in nanoseconds. What is remembered of another way of counting does not count.
    #[inline]
    pub fn take(&self, before: Option<Count>, now: u64) -> Taken<Count> {
        self.take_at_cost(self.cost, before, now)
    }

    #[inline]
    fn take_at_cost(&self, cost: u32, before: Option<Count>, now: u64) -> Taken<Count> {
        match self.counting {
            Counting::Steady => {
                let level = before.and_then(|before| if let Count::Level(level) = before { Some(level) } else { None });
                self.quota.take(level, cost, now).map(Count::Level)
            }
            Counting::Sliding => {
                let window =
                    before.and_then(|before| if let Count::Window(window) = before { Some(window) } else { None });
                window::take(self.quota, window, cost, now).map(Count::Window)
            }
        }
    }
}

/// Takes all of the steps, or none of them: then those that would have been allowed say what there is without the step. `before`
/// gives what is remembered of each step's key, by its place; two steps of one key both see what was there before.
pub fn take_all(steps: &[Step], mut before: impl FnMut(usize) -> Option<Count>, now: u64) -> Vec<Taken<Count>> {
    let mut all = true;
    let mut taken: Vec<_> = steps
        .iter()
        .enumerate()
        .map(|(place, step)| {
            let taken = step.take(before(place), now);
            all &= taken.verdict.allowed;
            taken
        })
        .collect();
    if !all {
        for (place, (step, taken)) in steps.iter().zip(&mut taken).enumerate() {
            if taken.verdict.allowed {
                *taken = step.take_at_cost(0, before(place), now);
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(counting: Counting, limit: u32, cost: u32) -> Step {
        Step { key: String::new(), quota: Quota { limit, period_ms: 1_000, burst: limit }, counting, cost }
    }

    #[test]
    fn all_are_taken_or_none() {
        for counting in [Counting::Steady, Counting::Sliding] {
            let steps = [step(counting, 10, 3), step(counting, 2, 2)];
            let taken = take_all(&steps, |_| None, 0);
            assert!(taken.iter().all(|taken| taken.verdict.allowed && taken.remember.is_some()));
            let counts: Vec<_> = taken.iter().map(|taken| taken.remember.map(|(count, _)| count)).collect();
            let refused = take_all(&steps, |place| counts[place], 1);
            assert!(refused.iter().all(|taken| taken.remember.is_none()));
            assert!(refused[0].verdict.allowed && !refused[1].verdict.allowed);
            assert_eq!(refused[0].verdict.remaining, 7, "as if it had not been asked for");
        }
    }

    #[test]
    fn what_was_counted_in_another_way_does_not_count() {
        let sliding = step(Counting::Sliding, 2, 2).take(None, 0).remember.map(|(count, _)| count);
        assert!(step(Counting::Steady, 2, 2).take(sliding, 0).verdict.allowed);
    }
}
