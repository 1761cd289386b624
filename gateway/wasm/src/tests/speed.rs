//! What a call costs. Not a test of anything: `cargo test --release -p gateway-wasm --lib speed -- --ignored --nocapture`.

use super::*;

const CALLS: u32 = 200_000;

fn nanos(what: &str, calls: u32, mut run: impl FnMut()) {
    for _ in 0..calls / 10 {
        run();
    }
    let began = Instant::now();
    for _ in 0..calls {
        run();
    }
    println!("{what:60} {:>8} ns", began.elapsed().as_nanos() / u128::from(calls));
}

#[test]
#[ignore = "a measurement"]
fn speed_of_calls() {
    let stage = naughty_with(json!({ "do": "mark", "when": "absent" })).stage();
    let mut lent = slot();
    nanos("warm, reads one header", CALLS, || drop(at_once(&stage, &mut lent)));

    let stage = naughty("mark").stage();
    nanos("warm, reads one header and sets one", CALLS, || drop(at_once(&stage, &mut lent)));

    let mut used = naughty("mark");
    used.isolation = Isolation::Request;
    let stage = used.stage();
    nanos("new instance, configured, reads one header and sets one", CALLS / 20, || {
        drop(at_once(&stage, &mut slot()));
    });

    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = Use::of(test_guests::waiter(), json!({ "do": "count" })).stage();
    tokio.block_on(async {
        let began = Instant::now();
        for _ in 0..CALLS {
            drop(in_time(&stage, &mut lent).await);
        }
        println!("{:60} {:>8} ns", "warm, on a fiber, sets one header", began.elapsed().as_nanos() / u128::from(CALLS));
    });
}
