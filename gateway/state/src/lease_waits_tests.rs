use std::{sync::Arc, time::Duration};

use super::*;
use crate::{DEFAULT_BYTES, MemoryStore, new_lease};

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(DEFAULT_BYTES))
}

fn wait(store: &Arc<MemoryStore>, limit: u32, wake: Wake) -> LeaseWait {
    wait_again(store, limit, wake, None)
}

fn wait_again(store: &Arc<MemoryStore>, limit: u32, wake: Wake, earlier: Option<LeaseTurn>) -> LeaseWait {
    LeaseWait::in_memory(store, &store.lease_key("b", "k").unwrap(), limit, wake, earlier)
}

/// Whether it was called already; it waits on.
fn is_called(wait: &mut LeaseWait) -> bool {
    wait.waiting.as_mut().unwrap().called.try_recv().is_ok()
}

#[tokio::test]
async fn a_release_wakes_as_many_in_their_order_as_there_is_room_for() {
    let store = store();
    let held = [new_lease(), new_lease()];
    for lease in held {
        assert!(store.acquire("b", "k", lease, 2, None).unwrap().held);
    }
    let mut waiting: Vec<_> = (0..4).map(|_| wait(&store, 2, Wake::InTurn)).collect();
    let mut called = |expected: [bool; 4]| assert_eq!(std::array::from_fn(|i| is_called(&mut waiting[i])), expected);
    called([false; 4]);
    store.release_lease("b", "k", held[0]).unwrap();
    called([true, false, false, false]);
    store.look_for_room(&store.lease_key("b", "k").unwrap());
    called([false; 4]);
    store.release_lease("b", "k", held[1]).unwrap();
    called([false, true, false, false]);
    // Those that do not acquire a lease after all leave their places to the next ones.
    waiting.remove(0);
    assert_eq!(std::array::from_fn(|i| is_called(&mut waiting[i])), [false, true, false]);
    // One that leaves without having been called frees nothing.
    waiting.pop();
    waiting.clear();
    assert!(store.waiters.is_empty() && store.is_empty());
}

#[tokio::test]
async fn those_that_need_only_the_result_continue_together() {
    let store = store();
    let lease = new_lease();
    assert!(store.acquire("b", "k", lease, 1, None).unwrap().held);
    let mut waiting: Vec<_> = (0..3).map(|_| wait(&store, 1, Wake::All)).collect();
    assert!(!waiting.iter_mut().any(is_called));
    store.release_lease("b", "k", lease).unwrap();
    assert!(waiting.iter_mut().all(is_called));
}

#[tokio::test]
async fn an_exchange_that_waits_again_keeps_its_place() {
    let store = store();
    let (first, second) = (new_lease(), new_lease());
    assert!(store.acquire("b", "k", first, 1, None).unwrap().held);
    let earlier = wait(&store, 1, Wake::InTurn);
    let mut later = wait(&store, 1, Wake::InTurn);
    store.release_lease("b", "k", first).unwrap();
    let turn = earlier.room(Duration::from_secs(60)).await.expect("called");
    // One that has not waited is faster.
    assert!(store.acquire("b", "k", second, 1, None).unwrap().held);
    let mut again = wait_again(&store, 1, Wake::InTurn, Some(turn));
    assert!(!is_called(&mut later));
    store.release_lease("b", "k", second).unwrap();
    assert!(is_called(&mut again) && !is_called(&mut later));
}

#[tokio::test]
async fn a_lease_that_ends_by_its_time_to_live_makes_room_and_so_does_one_that_was_released_before() {
    let store = store();
    assert!(store.acquire("b", "k", new_lease(), 1, Some(1_000)).unwrap().held);
    let waiting = wait(&store, 1, Wake::InTurn);
    assert!(waiting.room(Duration::from_secs(60)).await.is_some(), "it has ended");
    assert!(wait(&store, 1, Wake::All).room(Duration::from_secs(60)).await.is_some(), "nothing is held");
    let lease = new_lease();
    assert!(store.acquire("b", "k", lease, 1, None).unwrap().held);
    assert!(wait(&store, 1, Wake::InTurn).room(Duration::from_millis(10)).await.is_none(), "the time is over");
    assert!(store.waiters.is_empty());
}
