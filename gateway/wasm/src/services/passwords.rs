//! Passwords against their hashes. It is slow on purpose, so it happens on threads of its own, few at a time, and what
//! was right is remembered for a while.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::{hmac, rand};
pub(crate) use gateway_rules::crypto::check_password_hash as check;
use gateway_rules::crypto::verify_password as verify;
use tokio::sync::Semaphore;

/// Passwords that wait for a thread, over all workers. Those that come later are turned away.
const QUEUE: usize = 64;
/// Right pairs that each worker remembers.
const REMEMBERED: usize = 10_000;
const LONGEST: Duration = Duration::from_secs(3600);

/// Which pair of hash and password is asked about; says nothing about it to who does not have this process's key.
pub(crate) type Question = [u8; 32];

pub(crate) fn question(hash: &str, password: &[u8]) -> Question {
    static KEY: OnceLock<hmac::Key> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut bytes = [0; 32];
        // The system's random numbers do not fail once a process runs; if they did, a key would still be kept from
        // others by being in no other process.
        if rand::fill(&mut bytes).is_err() {
            bytes[..8].copy_from_slice(&fastrand::u64(..).to_ne_bytes());
        }
        hmac::Key::new(hmac::HMAC_SHA256, &bytes)
    });
    let mut context = hmac::Context::with_key(key);
    context.update(&(hash.len() as u64).to_be_bytes());
    context.update(hash.as_bytes());
    context.update(password);
    let mut question = Question::default();
    question.copy_from_slice(context.sign().as_ref());
    question
}

thread_local! {
    /// Until when. Each worker has its own, so that no request waits for another's lock.
    static RIGHT: RefCell<HashMap<Question, Instant, ahash::RandomState>> = RefCell::default();
}

pub(crate) fn is_remembered(question: &Question) -> bool {
    RIGHT.with_borrow(|right| right.get(question).is_some_and(|until| Instant::now() < *until))
}

/// Remembers a pair that was right.
pub(crate) fn remember(question: Question, time: Duration) {
    if time.is_zero() {
        return;
    }
    let now = Instant::now();
    RIGHT.with_borrow_mut(|right| {
        if right.len() >= REMEMBERED {
            right.retain(|_, until| now < *until);
        }
        if right.len() >= REMEMBERED
            && let Some(victim) = right.keys().next().copied()
        {
            right.remove(&victim);
        }
        right.insert(question, now + time.min(LONGEST));
    });
}

/// The threads for hashing, and the queue before them. One for the process.
pub struct Passwords {
    waiting: AtomicUsize,
    threads: Arc<Semaphore>,
}

impl Default for Passwords {
    /// On half of the processors: requests go on meanwhile.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, |n| n.get() / 2).max(1);
        Self { waiting: AtomicUsize::new(0), threads: Arc::new(Semaphore::new(threads)) }
    }
}

impl Passwords {
    /// A place in the queue; none if too many wait already.
    pub(crate) fn queue(self: &Arc<Self>) -> Option<QueuedVerification> {
        let free = |waiting| (waiting < QUEUE).then_some(waiting + 1);
        let taken = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free);
        taken.ok().map(|_| QueuedVerification(Arc::clone(self)))
    }
}

/// A place in the queue.
pub(crate) struct QueuedVerification(Arc<Passwords>);

impl QueuedVerification {
    /// Whether the password is right, found out on a thread for blocking work; `None` if there was no room for that. A call that
    /// is dropped does not stop the work, which ends on its thread.
    pub(crate) async fn find_out(self, question: Question, hash: String, password: Vec<u8>) -> Option<bool> {
        let permit = Arc::clone(&self.0.threads).acquire_owned().await.ok()?;
        // Another request with the same password was before us in the queue.
        if is_remembered(&question) {
            return Some(true);
        }
        let work = move || {
            let _permit = permit;
            verify(&hash, &password)
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}

impl Drop for QueuedVerification {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGON2: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$";
    const BCRYPT: &str = "$2y$04$";

    fn argon2(password: &str) -> String {
        use argon2::{
            Algorithm, Argon2, Params, Version,
            password_hash::{PasswordHasher, SaltString},
        };
        let salt = SaltString::encode_b64(b"salt-of-a-test").unwrap();
        let params = Params::new(64, 1, 1, None).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password.as_bytes(), &salt)
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_password_fits_its_own_hash_and_no_other() {
        for hash in [argon2("open sesame"), bcrypt::hash("open sesame", 4).unwrap()] {
            assert_eq!(check(&hash), Ok(()));
            assert!(verify(&hash, b"open sesame"));
            assert!(!verify(&hash, b"open sesamE") && !verify(&hash, b""));
        }
    }

    /// From the test vectors of the Openwall implementation.
    #[test]
    fn bcrypt_is_that_of_others() {
        let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert!(verify(hash, b"U*U") && !verify(hash, b"U*U*"));
    }

    #[test]
    fn hashes_that_are_none_or_cost_too_much_are_refused() {
        let long = "$argon2id$".repeat(100);
        for (hash, why) in [
            ("", "neither"),
            ("secret", "neither"),
            ("$apr1$x$y", "neither"),
            ("$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aaaa", "neither"),
            (long.as_str(), "bytes"),
            (&format!("{ARGON2}!!"), "PHC"),
            ("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ", "without"),
            ("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "more than"),
            (&format!("{BCRYPT}short"), "bcrypt"),
            ("$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "cost of 31"),
            ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "bcrypt"),
        ] {
            let found = check(hash).unwrap_err().to_string();
            assert!(found.contains(why), "{hash}: {found}");
        }
    }

    #[test]
    fn hash_and_password_are_told_apart_in_a_question() {
        assert_eq!(question("ab", b"c"), question("ab", b"c"));
        assert_ne!(question("ab", b"c"), question("a", b"bc"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_ends() {
        let one = question("a", b"1");
        assert!(!is_remembered(&one));
        remember(one, Duration::ZERO);
        assert!(!is_remembered(&one));
        remember(one, Duration::from_secs(60));
        assert!(is_remembered(&one));
        for i in 0..(REMEMBERED as u32 + 10) {
            remember(question("b", &i.to_be_bytes()), Duration::from_secs(60));
        }
        assert!(RIGHT.with_borrow(HashMap::len) <= REMEMBERED);
    }

    #[test]
    fn the_queue_is_bounded() {
        let passwords = Arc::new(Passwords::default());
        let places: Vec<_> = std::iter::repeat_with(|| passwords.queue()).take(QUEUE + 20).flatten().collect();
        assert_eq!(places.len(), QUEUE);
        drop(places);
        assert!(passwords.queue().is_some());
    }
}
