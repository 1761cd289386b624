//! What clients have changed through one gateway (RFC 9111 §4.4), so that the others do not answer from their memory what is no
//! longer so. In Redis itself it is gone at once.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;

use super::super::responses::Responses;

/// Orders that are remembered. Who has missed more forgets everything.
pub(super) const REMEMBERED: usize = 4096;

/// How many orders this gateway knows of; they are counted by the server.
pub(super) struct Forgotten(AtomicI64);

impl Default for Forgotten {
    fn default() -> Self {
        // What was before the first connection does not matter to a memory that was empty.
        Self(AtomicI64::new(-1))
    }
}

impl Forgotten {
    pub(super) fn seen(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes over what there was since so many orders: up to the one of that number, the last of which are these. Answers that
    /// come late have some that are known, and none of them is obeyed twice.
    pub(super) fn learn(&self, since: i64, count: i64, latest: &[Bytes], responses: &Responses) {
        // A count that is smaller may be that of a server that has begun anew.
        let known = self.0.swap(count, Ordering::Relaxed);
        let told = i64::try_from(latest.len()).unwrap_or(i64::MAX);
        if since >= 0 && count.saturating_sub(since) > told {
            return responses.clear();
        }
        let first = count.saturating_sub(told).saturating_add(1);
        for (_, order) in (first..).zip(latest).filter(|(number, _)| *number > known) {
            if let Some((bucket, key)) = parsed(order) {
                responses.forget(bucket, key);
            }
        }
    }
}

/// An order as it is written down: bucket and key, with a zero between them.
pub(super) fn order(bucket: &str, key: &str) -> String {
    format!("{bucket}\0{key}")
}

fn parsed(order: &Bytes) -> Option<(&str, &str)> {
    std::str::from_utf8(order).ok()?.split_once('\0')
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use http::{HeaderMap, StatusCode};

    use super::{
        super::super::{CacheKey, responses::Stored},
        *,
    };

    fn kept() -> Responses {
        let responses = Responses::new(1 << 20);
        for key in ["/a", "/b", "/c"] {
            let stored = Stored {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: Bytes::from_static(b"body"),
                note: Bytes::new(),
                variant: Box::default(),
                tags: Default::default(),
                until: Instant::now() + Duration::from_secs(60),
                invalidations: 0,
            };
            responses.keep(CacheKey::anonymous("b", key), stored);
        }
        responses
    }

    fn left(responses: &Responses) -> Vec<&'static str> {
        ["/a", "/b", "/c"].into_iter().filter(|key| !responses.find(CacheKey::anonymous("b", key)).is_empty()).collect()
    }

    fn orders(keys: &[&str]) -> Vec<Bytes> {
        keys.iter().map(|key| order("b", key).into()).collect()
    }

    #[test]
    fn what_is_new_is_forgotten_and_nothing_twice() {
        let (forgotten, responses) = (Forgotten::default(), kept());
        forgotten.learn(-1, 7, &[], &responses);
        assert_eq!(left(&responses), ["/a", "/b", "/c"], "of what was before the first connection nothing is here");
        forgotten.learn(7, 8, &orders(&["/a"]), &responses);
        assert_eq!(left(&responses), ["/b", "/c"]);
        let again = kept();
        forgotten.learn(7, 9, &orders(&["/a", "/b"]), &again);
        assert_eq!(left(&again), ["/a", "/c"], "the first of them was known");
        forgotten.learn(9, 9, &[], &again);
        assert_eq!((left(&again).len(), forgotten.seen()), (2, 9));
    }

    #[test]
    fn answers_in_another_order_than_the_questions_make_nobody_forget_more() {
        let (forgotten, responses) = (Forgotten::default(), kept());
        forgotten.learn(-1, 6, &[], &responses);
        forgotten.learn(6, 8, &orders(&["/a", "/b"]), &responses);
        forgotten.learn(6, 7, &orders(&["/a"]), &responses);
        forgotten.learn(8, 9, &orders(&["/other"]), &responses);
        assert_eq!(left(&responses), ["/c"]);
    }

    #[test]
    fn who_has_missed_some_forgets_everything_and_a_server_that_begins_anew_changes_nothing() {
        let (forgotten, responses) = (Forgotten::default(), kept());
        forgotten.learn(-1, 7, &[], &responses);
        forgotten.learn(7, 0, &[], &responses);
        forgotten.learn(0, 1, &orders(&["/c"]), &responses);
        assert_eq!(left(&responses), ["/a", "/b"]);
        forgotten.learn(1, 5000, &orders(&["/c"]), &responses);
        assert!(left(&responses).is_empty());
    }
}
