//! The books of a shard, and who makes room for whom.

use super::*;

const MINE: u64 = 1;
const OTHER: u64 = 2;

/// Room for so many entries with keys of four bytes and values of one.
fn shard(entries: usize) -> Shard {
    Shard::new(entries * (OVERHEAD + 5), RandomState::with_seeds(1, 2, 3, 4))
}

fn value(len: usize) -> Value {
    Value::Bytes(vec![7; len].into())
}

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

fn put(shard: &mut Shard, payer: u64, number: u32, guard: Guard, now: u64) {
    assert!(shard.put(payer, &key(number), value(1), guard, FOREVER, now));
}

fn has(shard: &mut Shard, number: u32, now: u64) -> bool {
    shard.get(&key(number), now).is_some()
}

#[test]
fn the_entry_used_longest_ago_makes_room() {
    let mut shard = shard(3);
    for n in 0..3 {
        put(&mut shard, MINE, n, Guard::None, 0);
    }
    assert!(has(&mut shard, 0, 0));
    put(&mut shard, MINE, 3, Guard::None, 0);
    assert!(!has(&mut shard, 1, 0));
    assert!([0, 2, 3].iter().all(|n| has(&mut shard, *n, 0)));
}

#[test]
fn a_flood_of_one_payer_takes_nothing_of_another_one_below_its_part() {
    let mut shard = shard(100);
    for n in 0..50 {
        put(&mut shard, OTHER, n, Guard::None, 0);
    }
    for n in 1000..5000 {
        put(&mut shard, MINE, n, Guard::Exhausted(10), 0);
    }
    assert!((0..50).all(|n| has(&mut shard, n, 0)));
    assert_eq!(shard.len(), 100);
    // A third one that comes later gets its part too.
    for n in 10_000..10_033 {
        put(&mut shard, 3, n, Guard::None, 0);
    }
    assert!((10_000..10_033).all(|n| has(&mut shard, n, 0)));
}

#[test]
fn what_rejects_requests_is_evicted_after_everything_else() {
    let mut shard = shard(10);
    put(&mut shard, MINE, 0, Guard::Exhausted(100), 0);
    shard.refuses(&key(0), 100, 0);
    put(&mut shard, MINE, 1, Guard::Exhausted(100), 0);
    for n in 1000..2000 {
        put(&mut shard, MINE, n, Guard::None, 0);
    }
    assert!(has(&mut shard, 0, 0) && has(&mut shard, 1, 0));
    for n in 2000..3000 {
        put(&mut shard, MINE, n, Guard::Exhausted(100), 0);
    }
    assert!(has(&mut shard, 0, 0) && !has(&mut shard, 1, 0));
    // Once it lets requests through it is worth no more than others.
    for n in 3000..3020 {
        put(&mut shard, MINE, n, Guard::None, 100);
    }
    assert!(!has(&mut shard, 0, 100));
}

#[test]
fn what_is_new_does_not_displace_what_rejects_requests() {
    let mut shard = shard(10);
    for n in 0..10 {
        put(&mut shard, MINE, n, Guard::Exhausted(100), 0);
        shard.refuses(&key(n), 100, 0);
    }
    put(&mut shard, MINE, 10, Guard::None, 0);
    put(&mut shard, MINE, 11, Guard::Exhausted(100), 0);
    assert!((0..10).all(|n| has(&mut shard, n, 0)) && !has(&mut shard, 10, 0) && !has(&mut shard, 11, 0));
    // Another payer's part is not at its disposal.
    put(&mut shard, OTHER, 12, Guard::None, 0);
    assert!(has(&mut shard, 12, 0));
}

#[test]
fn what_has_expired_goes_before_what_is_old() {
    let mut shard = shard(3);
    put(&mut shard, MINE, 0, Guard::None, 0);
    shard.put(MINE, &key(1), value(1), Guard::Refusing(10), 10, 0);
    put(&mut shard, MINE, 2, Guard::None, 0);
    put(&mut shard, MINE, 3, Guard::None, 10);
    assert!(!has(&mut shard, 1, 10));
    assert!([0, 2, 3].iter().all(|n| has(&mut shard, *n, 10)));
}

#[test]
fn what_can_never_fit_is_refused_and_displaces_nothing() {
    let mut shard = shard(10);
    put(&mut shard, MINE, 0, Guard::None, 0);
    assert!(!shard.put(MINE, b"b", value(10 * (OVERHEAD + 5)), Guard::None, FOREVER, 0));
    assert!(has(&mut shard, 0, 0));
}

#[test]
fn a_smaller_bound_holds_at_once() {
    let mut shard = shard(100);
    for n in 0..100 {
        put(&mut shard, MINE, n, Guard::None, 0);
    }
    shard.resize(10 * (OVERHEAD + 5), 0);
    assert_eq!(shard.len(), 10);
    assert!(has(&mut shard, 99, 0));
}

#[test]
fn later_writes_sweep_what_has_expired() {
    let mut shard = shard(1_000);
    for n in 0..100 {
        shard.put(MINE, &key(n), value(1), Guard::None, 10, 0);
    }
    for n in 100..120 {
        put(&mut shard, MINE, n, Guard::None, 10);
    }
    assert_eq!(shard.len(), 20);
    assert_eq!(shard.bytes(), 20 * (OVERHEAD + 4 + 1));
}

#[test]
fn a_deadline_that_moves_is_kept_to() {
    let mut shard = shard(10);
    let mut until = |n, deadline, now| shard.put(MINE, &key(n), value(1), Guard::None, deadline, now);
    until(0, 10, 0);
    until(0, 30, 0);
    until(1, 30, 0);
    until(1, 10, 0);
    until(2, 10, 0);
    until(2, FOREVER, 0);
    until(3, FOREVER, 20);
    assert_eq!(shard.len(), 3);
    assert!(has(&mut shard, 0, 29));
    assert!(!has(&mut shard, 0, 30));
    assert!(has(&mut shard, 2, u64::MAX - 1));
}

#[test]
fn void_tickets_do_not_pile_up() {
    let mut shard = shard(10);
    for n in 0..10_000 {
        shard.put(MINE, b"a", value(1), Guard::None, 1_000_000 - n, 0);
        shard.put(MINE, b"b", value(1), Guard::None, 1_000_000, 0);
        shard.remove(b"b");
    }
    assert!(shard.tickets() <= 70);
}

#[test]
fn a_random_walk_keeps_the_books() {
    let mut shard = Shard::new(50 * 350, RandomState::with_seeds(1, 2, 3, 4));
    let mut seed = 1_u64;
    for now in 0..20_000_u64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = ((seed >> 33) % 97).to_be_bytes();
        let payer = (seed >> 50) % 5;
        let guard = match (seed >> 45) % 3 {
            0 => Guard::None,
            1 => Guard::Exhausted(now + 5),
            _ => Guard::Refusing(now + 5),
        };
        match (seed >> 60) % 5 {
            0 => shard.remove(&key),
            1 => drop(shard.get(&key, now)),
            2 => drop(shard.put(payer, &key, value((seed >> 20) as usize % 200), guard, FOREVER, now)),
            3 => shard.refuses(&key, now + 20, now),
            _ => drop(shard.put(payer, &key, value(5), guard, now + (seed >> 40) % 300, now)),
        }
        let entries: Vec<_> = shard.slots.iter().filter_map(|slot| slot.entry.as_ref()).collect();
        assert_eq!(shard.bytes, entries.iter().map(|entry| entry.bytes()).sum::<usize>());
        assert!(!shard.is_over());
        let sizes: BTreeSet<_> = shard.payers.iter().map(|(payer, account)| (account.bytes, *payer)).collect();
        assert_eq!(shard.by_size, sizes);
        for (id, payer) in &shard.payers {
            let own: Vec<_> = entries.iter().filter(|entry| entry.payer == *id).collect();
            assert_eq!(payer.bytes, own.iter().map(|entry| entry.bytes()).sum::<usize>());
            let (mut at, mut linked) = (payer.newest, 0);
            while at != NONE {
                linked += 1;
                at = shard.slots[at as usize].older;
            }
            assert_eq!(linked + payer.guarded.len(), own.len());
        }
    }
}
