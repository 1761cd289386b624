//! The one wasmtime engine, with the limits and the clock that all components share.

use std::{path::PathBuf, thread, time::Duration};

use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

/// What the epoch advances by: the grain of every time limit.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Stacks on which calls that can wait run.
const STACK: usize = 1024 * 1024;

/// Instances of all plugins on all workers together. They cost address space only until they are used.
const INSTANCES: u32 = 2000;
/// Python makes 38 core instances of one component.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
/// Interpreters have thousands of functions in one table.
const TABLE_ELEMENTS: usize = 50_000;

/// Where compiled code is kept from one start to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CodeCache {
    /// The user's cache directory.
    #[default]
    User,
    At(PathBuf),
    Off,
}

/// Makes the engine and starts its clock. What cannot be had is done without, and said in the log.
pub(super) fn engine(cache: &CodeCache) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // A call that waits has a fiber of its own, and nothing else in its store runs meanwhile.
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_init_cow(true)
        // Source lines in traps, of components that have them.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .parallel_compilation(true)
        .async_stack_size(STACK)
        .cache(open_cache(cache));
    config.allocation_strategy(pooling());
    let engine = match Engine::new(&config) {
        Ok(engine) => engine,
        Err(error) => {
            tracing::warn!(
                "cannot reserve address space for plugin instances, so each one is allocated anew: {error:#}"
            );
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Engine::new(&config)?
        }
    };
    start_clock(&engine)?;
    yield_to_workers();
    Ok(engine)
}

/// Compiling takes all cores for seconds, where a component holds an interpreter: requests go first. The threads are those of
/// rayon, which wasmtime compiles on; whose are there already stay as they are.
fn yield_to_workers() {
    const NICER: i32 = 10;
    // On Linux each thread has a niceness of its own. Where it cannot be had, it is as before.
    let begin = |_| {
        let _ = rustix::process::nice(NICER);
    };
    let _ = rayon::ThreadPoolBuilder::new().thread_name(|n| format!("compile-{n}")).start_handler(begin).build_global();
}

fn pooling() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 16)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * 2)
        .total_stacks(INSTANCES)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_tables_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_component_instance_size(8 * 1024 * 1024)
        .max_core_instance_size(8 * 1024 * 1024)
        .table_elements(TABLE_ELEMENTS);
    InstanceAllocationStrategy::Pooling(pool)
}

/// The thread holds the engine weakly and ends with it.
fn start_clock(engine: &Engine) -> wasmtime::Result<()> {
    let engine = engine.weak();
    thread::Builder::new().name("plugin-clock".to_owned()).spawn(move || {
        loop {
            thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    })?;
    Ok(())
}

fn open_cache(choice: &CodeCache) -> Option<Cache> {
    let directory = match choice {
        CodeCache::Off => return None,
        CodeCache::At(path) => path.clone(),
        CodeCache::User => user_cache()?.join("wasm-gateway").join("components"),
    };
    let mut config = CacheConfig::new();
    config.with_directory(&directory);
    match Cache::new(config) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!("no cache for compiled plugins in {}: {error:#}", directory.display());
            None
        }
    }
}

/// `XDG_CACHE_HOME` and its default, as in the XDG Base Directory Specification.
fn user_cache() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let found = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    if found.is_none() {
        tracing::debug!("no cache for compiled plugins: neither XDG_CACHE_HOME nor HOME is set");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pooling_allocator_can_be_reserved() {
        let mut config = Config::new();
        config.async_stack_size(STACK).allocation_strategy(pooling());
        Engine::new(&config).unwrap();
    }

    #[test]
    fn the_clock_ends_with_its_engine() {
        let engine = engine(&CodeCache::Off).unwrap();
        let weak = engine.weak();
        drop(engine);
        while weak.upgrade().is_some() {
            thread::yield_now();
        }
    }
}
