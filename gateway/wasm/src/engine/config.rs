//! The one wasmtime engine, with the limits and the clock that all components share.

use std::{fs, path::PathBuf};

use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use super::epoch;

/// Stacks on which calls that can wait run.
const STACK: usize = 1024 * 1024;

/// Instances that serve, of all plugins on all workers together, where the system has room for them. They cost address space
/// only until they are used, 4 GiB each of 128 TiB, and some microseconds each at the start, for the guard of a stack. How many are
/// used is a matter of their memory (`admission`).
const INSTANCES: u32 = 8_000;
const LEAST_INSTANCES: u32 = 256;
/// Instances for trying configurations, beside those that serve.
const TRIALS: u32 = 128;
/// Mappings that one instance may take: its memory is in up to four pieces, its stack in two. As many again are left to the
/// rest of the process.
const MAPPINGS: u32 = 12;
/// The kernel's default for mappings of a process.
const MAX_MAP_COUNT: u32 = 65_530;
/// Tables of one slot.
pub(crate) const TABLES: usize = 2;
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
    /// This directory, which is made if it is missing.
    At(PathBuf),
    /// Nowhere: everything is compiled at each start.
    Off,
}

/// How many slots for instances the allocator has.
pub(crate) struct Slots {
    /// For instances that serve.
    pub(crate) serving: usize,
    /// For trying configurations, beside those.
    pub(crate) trials: usize,
}

/// Makes the engine and starts its clock, and says how many instances it has room for. What cannot be had is done without,
/// and said in the log.
pub(crate) fn engine(cache: &CodeCache) -> wasmtime::Result<(Engine, Slots)> {
    let slots = slots(fs::read_to_string("/proc/sys/vm/max_map_count").ok().as_deref());
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
    config.allocation_strategy(pooling(slots));
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
    epoch::follow(&engine)?;
    yield_to_workers();
    Ok((engine, Slots { serving: slots as usize, trials: TRIALS as usize }))
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

/// Instances that the kernel has room for.
fn slots(max_map_count: Option<&str>) -> u32 {
    let mappings = max_map_count.and_then(|text| text.trim().parse().ok()).unwrap_or(MAX_MAP_COUNT);
    (mappings / MAPPINGS).clamp(LEAST_INSTANCES, INSTANCES)
}

/// Every instance holds a reservation for as many slots as it needs, so none of these limits is ever met.
fn pooling(slots: u32) -> InstanceAllocationStrategy {
    let all = slots + TRIALS;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(all)
        .total_core_instances(all * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(all)
        .total_tables(all * TABLES as u32)
        .total_stacks(all)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_tables_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_component_instance_size(8 * 1024 * 1024)
        .max_core_instance_size(8 * 1024 * 1024)
        .table_elements(TABLE_ELEMENTS);
    InstanceAllocationStrategy::Pooling(pool)
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
        config.async_stack_size(STACK).allocation_strategy(pooling(slots(None)));
        Engine::new(&config).unwrap();
    }

    #[test]
    fn there_are_no_more_slots_than_the_kernel_maps() {
        assert_eq!(slots(Some("1048576\n")), INSTANCES);
        assert_eq!(slots(Some("24000\n")), 2000);
        assert_eq!(slots(Some("100\n")), LEAST_INSTANCES);
        assert_eq!(slots(Some("what\n")), MAX_MAP_COUNT / MAPPINGS);
    }

    #[test]
    fn the_clock_lets_an_engine_go() {
        let (engine, _) = engine(&CodeCache::Off).unwrap();
        let weak = engine.weak();
        drop(engine);
        while weak.upgrade().is_some() {
            std::thread::yield_now();
        }
    }
}
