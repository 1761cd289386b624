//! What the gateway's rooms cost, each by itself and without a network. Every bench asserts its answers.
//!
//! `cargo bench -p gateway` runs them all, `cargo bench -p gateway -- call` those whose names have `call` in them.

mod heads;
mod metrics;
mod pipeline;
mod plugins;
mod routing;
mod support;

criterion::criterion_main!(heads::benches, metrics::benches, pipeline::benches, plugins::benches, routing::benches);
