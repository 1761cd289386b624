//! The tests' guests as components, built by this crate's build script.

const GUESTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// Misbehaves as its configuration says (`naughty/src/lib.rs`); imports nothing that can wait.
pub const NAUGHTY: &[u8] = guest("guest-naughty");

/// Waits for bodies, upstreams and clocks as its configuration says (`waiter/src/lib.rs`).
pub const WAITER: &[u8] = guest("guest-waiter");

/// Runs scripts that come with requests (`scripted/src/lib.rs`).
pub const SCRIPTED: &[u8] = guest("guest-scripted");

/// The example to copy (`examples/plugins/hello-rust/src/lib.rs`).
pub const HELLO: &[u8] = guest("example-hello");

const fn guest(name: &str) -> &'static [u8] {
    let mut index = 0;
    while index < GUESTS.len() {
        if same(GUESTS[index].0, name) {
            return GUESTS[index].1;
        }
        index += 1;
    }
    panic!("each guest has a folder here or among the examples")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}
