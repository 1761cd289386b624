//! Verified tokens, remembered until they expire, so that a client's second request costs a look-up.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    rc::Rc,
};

use plugin_jose::Identity;

use crate::{refusal::Refusal, rules::Validity};

/// What was found out about a token whose signature is good.
pub(crate) struct VerifiedToken {
    pub(crate) validity: Validity,
    /// Whose it is, or what it lacks.
    pub(crate) rights: Result<Identity, Refusal>,
}

/// What all remembered tokens may take, beside their number: an instance has a few tens of MiB.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A token of the memory, a slot of the clock.
struct CachedToken {
    token: Box<[u8]>,
    verified_token: Rc<VerifiedToken>,
    /// Asked for since the hand was here.
    used: bool,
}

/// A bounded map from tokens to passports. When it is full, the hand of a clock goes round, takes who has expired
/// or was not asked for since it last came by, and spares the others once.
pub(crate) struct TokenCache {
    slots: Vec<CachedToken>,
    /// Fingerprints of tokens and their slots. Only verified tokens get here, so nobody fills it with rubbish; and
    /// what is found is compared as a whole, so two tokens of one fingerprint only displace each other.
    index: HashMap<u64, usize, BuildHasherDefault<AsItIs>>,
    hand: usize,
    bytes: usize,
    capacity: usize,
}

impl TokenCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { slots: Vec::new(), index: HashMap::default(), hand: 0, bytes: 0, capacity }
    }

    pub(crate) fn get(&mut self, token: &[u8]) -> Option<Rc<VerifiedToken>> {
        let slot = self.slots.get_mut(*self.index.get(&fingerprint(token))?)?;
        if !same(&slot.token, token) {
            return None;
        }
        slot.used = true;
        Some(Rc::clone(&slot.verified_token))
    }

    pub(crate) fn insert(&mut self, token: &[u8], verified_token: Rc<VerifiedToken>, now: i64) {
        let slot = CachedToken { token: token.into(), verified_token, used: false };
        let size = slot.size();
        if self.capacity == 0 || size > MAX_BYTES {
            return;
        }
        let fingerprint = fingerprint(token);
        if let Some(old) = self.index.get(&fingerprint) {
            self.remove(*old);
        }
        while self.slots.len() >= self.capacity || self.bytes + size > MAX_BYTES {
            self.evict(now);
        }
        self.bytes += size;
        self.index.insert(fingerprint, self.slots.len());
        self.slots.push(slot);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    /// Moves the hand until a slot is free: at most once round and one further.
    fn evict(&mut self, now: i64) {
        loop {
            self.hand = if self.hand < self.slots.len() { self.hand } else { 0 };
            let Some(slot) = self.slots.get_mut(self.hand) else { return };
            if !slot.used || slot.verified_token.validity.is_over(now) {
                return self.remove(self.hand);
            }
            slot.used = false;
            self.hand += 1;
        }
    }

    fn remove(&mut self, position: usize) {
        let slot = self.slots.swap_remove(position);
        self.bytes -= slot.size();
        self.index.remove(&fingerprint(&slot.token));
        if let Some(moved) = self.slots.get(position) {
            self.index.insert(fingerprint(&moved.token), position);
        }
    }
}

impl CachedToken {
    fn size(&self) -> usize {
        size_of::<Self>()
            + size_of::<VerifiedToken>()
            + self.token.len()
            + self.verified_token.rights.as_ref().map_or(0, Identity::size)
    }
}

/// Whether two tokens are the same. Eight bytes at a time: WebAssembly has no instruction for comparing memory, and
/// the C library's loop takes a token byte by byte.
fn same(a: &[u8], b: &[u8]) -> bool {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    a.len() == b.len() && a_rest == b_rest && a.iter().zip(b).all(|(a, b)| word(a) == word(b))
}

/// Mixes the last 32 bytes, which are of the signature and so as good as random, and the length.
fn fingerprint(token: &[u8]) -> u64 {
    let tail = &token[token.len().saturating_sub(32)..];
    tail.chunks(8).fold(token.len() as u64, |hash, chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        // The constant is 2^64 by the golden ratio: base64 leaves two bits of each byte unused.
        let mixed = (hash.rotate_left(23) ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 32
    })
}

/// Fingerprints need no further hashing. It also keeps the random numbers that the standard hasher wants
/// out of the component's imports.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = fingerprint(bytes);
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::{MAX_BYTES, TokenCache, VerifiedToken};
    use crate::{refusal::Refusal, rules::Validity};

    fn verified_token(until: i64) -> Rc<VerifiedToken> {
        Rc::new(VerifiedToken { validity: Validity::new(0, until), rights: Err(Refusal::Claim) })
    }

    fn memory_of(capacity: usize, tokens: &[&str]) -> TokenCache {
        let mut memory = TokenCache::new(capacity);
        tokens.iter().for_each(|token| memory.insert(token.as_bytes(), verified_token(100), 0));
        memory
    }

    fn knows(memory: &mut TokenCache, token: &str) -> bool {
        memory.get(token.as_bytes()).is_some()
    }

    #[test]
    fn who_came_again_is_spared_when_room_is_needed() {
        let mut memory = memory_of(3, &["a", "b", "c"]);
        assert!(knows(&mut memory, "a") && knows(&mut memory, "c"));
        memory.insert(b"d", verified_token(100), 0);
        assert!(!knows(&mut memory, "b"));
        assert!(["a", "c", "d"].iter().all(|token| knows(&mut memory, token)));
    }

    #[test]
    fn who_has_expired_is_not_spared() {
        let mut memory = memory_of(2, &["a"]);
        memory.insert(b"b", verified_token(1000), 0);
        assert!(knows(&mut memory, "a") && knows(&mut memory, "b"));
        memory.insert(b"c", verified_token(1000), 100);
        assert!(!knows(&mut memory, "a") && knows(&mut memory, "b") && knows(&mut memory, "c"));
    }

    #[test]
    fn a_token_is_kept_once_and_compared_as_a_whole() {
        let tail = "the last 32 bytes are of the signature";
        let (one, two) = (format!("1{tail}"), format!("2{tail}"));
        let mut memory = memory_of(10, &[&one, &one]);
        assert_eq!(memory.slots.len(), 1);
        assert!(knows(&mut memory, &one) && !knows(&mut memory, &two));
        memory.insert(two.as_bytes(), verified_token(100), 0);
        assert!(knows(&mut memory, &two) && !knows(&mut memory, &one));
    }

    #[test]
    fn bytes_are_bounded_and_accounted_for() {
        let mut memory = TokenCache::new(100_000);
        let long = "x".repeat(60_000);
        for i in 0..500 {
            memory.insert(format!("{long}{i}").as_bytes(), verified_token(100), 0);
            assert!(memory.bytes <= MAX_BYTES && memory.index.len() == memory.slots.len());
        }
        assert!(memory.slots.len() > 60);
        while !memory.slots.is_empty() {
            memory.evict(100);
        }
        assert_eq!((memory.bytes, memory.index.len()), (0, 0));
        memory.insert(&vec![b'x'; MAX_BYTES], verified_token(100), 0);
        assert!(memory.slots.is_empty(), "one token must not displace all others");
    }
}
