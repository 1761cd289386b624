//! What came of taking units of a quota.

/// What came of a step. Durations are rounded up, so that a client that waits as long as told is not refused again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the units were there, and were taken.
    pub allowed: bool,
    /// Units left at once, after this step.
    pub remaining: u32,
    /// Until the whole burst is there again; `u64::MAX` for never.
    pub reset_after_ms: u64,
    /// Until this step would be allowed; 0 if it was, `u64::MAX` for never (it costs more than the burst, or
    /// the limit is 0).
    pub retry_after_ms: u64,
}

impl Verdict {
    pub(crate) const NEVER: Self =
        Self { allowed: false, remaining: 0, reset_after_ms: u64::MAX, retry_after_ms: u64::MAX };
}

/// A verdict and, where the step was allowed and cost something, what to remember and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<T> {
    /// The result that the plugin gets.
    pub verdict: Verdict,
    /// What is remembered from now on, and for how many nanoseconds at least.
    pub remember: Option<(T, u64)>,
    /// For how long, in nanoseconds, the same step would be refused from now on; 0 if it would be allowed, or never can be.
    pub refuses_for: u64,
}

impl<T> Taken<T> {
    pub(crate) fn map<U>(self, remembered: impl FnOnce(T) -> U) -> Taken<U> {
        let Self { verdict, remember, refuses_for } = self;
        Taken { verdict, remember: remember.map(|(what, lasts)| (remembered(what), lasts)), refuses_for }
    }
}
