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

    /// Takes over the orders up to the one of that number, the last of which are these.
    pub(super) fn learn(&self, count: i64, latest: &[Bytes], responses: &Responses) {
        let seen = self.0.swap(count, Ordering::Relaxed);
        // A count that is smaller is that of a server that has begun anew.
        let new = count.saturating_sub(seen);
        if seen < 0 || new <= 0 {
            return;
        }
        match usize::try_from(new).ok().and_then(|new| latest.len().checked_sub(new)) {
            Some(known) => {
                for (bucket, key) in latest[known..].iter().filter_map(parsed) {
                    responses.forget(bucket, key);
                }
            }
            None => responses.clear(),
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

    use super::{super::super::responses::Stored, *};

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
            };
            responses.keep("b", key, stored);
        }
        responses
    }

    fn left(responses: &Responses) -> Vec<&'static str> {
        ["/a", "/b", "/c"].into_iter().filter(|key| !responses.find("b", key).is_empty()).collect()
    }

    fn orders(keys: &[&str]) -> Vec<Bytes> {
        keys.iter().map(|key| order("b", key).into()).collect()
    }

    #[test]
    fn what_is_new_is_forgotten_and_nothing_twice() {
        let (forgotten, responses) = (Forgotten::default(), kept());
        forgotten.learn(7, &[], &responses);
        assert_eq!(left(&responses), ["/a", "/b", "/c"], "of what was before the first connection nothing is here");
        forgotten.learn(8, &orders(&["/a"]), &responses);
        assert_eq!(left(&responses), ["/b", "/c"]);
        let again = kept();
        forgotten.learn(9, &orders(&["/a", "/b"]), &again);
        assert_eq!(left(&again), ["/a", "/c"], "the first of them was known");
        forgotten.learn(9, &[], &again);
        assert_eq!((left(&again).len(), forgotten.seen()), (2, 9));
    }

    #[test]
    fn who_has_missed_some_forgets_everything_and_a_server_that_begins_anew_changes_nothing() {
        let (forgotten, responses) = (Forgotten::default(), kept());
        forgotten.learn(7, &[], &responses);
        forgotten.learn(0, &[], &responses);
        forgotten.learn(1, &orders(&["/c"]), &responses);
        assert_eq!(left(&responses), ["/a", "/b"]);
        forgotten.learn(5000, &orders(&["/c"]), &responses);
        assert!(left(&responses).is_empty());
    }
}
