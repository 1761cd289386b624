//! From a file's bytes to a component that can be instantiated, with an error that says what to do for each
//! way in which it cannot.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use aws_lc_rs::digest;
use gateway_core::model::{DataUse, Grants};
use gateway_pipeline::{Phases, StageFailure};
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use super::{
    data_use::data_use,
    facts::{self, Facts, Wants},
    inspect::{body_exports, check_kind, exports, handle_ownership, imports, ours, waits, weight, without_version},
    load_error::{COMPONENT_BYTES, LoadError},
};
use crate::{
    admission::Capacity,
    engine::{
        CodeCache, Slots, engine,
        threads::{no_thread, on_own_runtime},
    },
    host,
    instance::{
        Blueprint, CallScope, Instance, InstanceParameters,
        output::LogRate,
        plugin_identity::{Denials, Identity},
        state::State,
    },
    services::Services,
};

/// For instantiating a component and asking it about itself. Generous: this is not on any request's way.
const DESCRIBE_TIME: Duration = Duration::from_secs(10);
const DESCRIBE_MEMORY: usize = 512 * 1024 * 1024;

/// Loads components. One for the whole process; what it has loaded is compiled once and shared.
pub struct Runtime {
    engine: Engine,
    capacity: Arc<Capacity>,
    direct: Linker<State>,
    waiting: Linker<State>,
    loaded: Mutex<HashMap<String, Weak<Loaded>>>,
}

/// The memory of the instances of all plugins together, as it is when it is asked for.
#[derive(Clone)]
pub struct PluginMemory(Arc<Capacity>);

impl PluginMemory {
    /// How much is accounted for, and how much may be, in bytes.
    pub fn used_and_limit(&self) -> (u64, u64) {
        let (used, limit) = self.0.memory();
        (used as u64, limit as u64)
    }
}

/// A component that was compiled, linked and asked about itself.
pub struct Loaded {
    pub(crate) blueprint: Blueprint,
    facts: Facts,
}

/// What a component's types say about it.
pub struct Examined {
    /// The phases that it exports functions for.
    pub phases: Phases,
    /// Which grants it needs.
    pub wants: Wants,
    /// The data of exchanges that its functions read and write.
    pub data: DataUse,
    /// Every function that it imports, by interface.
    pub imports: BTreeMap<String, Vec<String>>,
    /// The exported interfaces by which it gets bodies.
    pub body_exports: Vec<String>,
    /// Whether it can have timers.
    pub timers: bool,
}

impl Examined {
    /// The interfaces that decide what it can access: what it imports, and by which exports it gets bodies.
    pub fn interfaces(&self) -> impl Iterator<Item = &String> {
        self.imports.keys().chain(&self.body_exports)
    }
}

impl Runtime {
    /// Makes the wasmtime engine and starts its clock.
    ///
    /// # Errors
    ///
    /// The system has no thread or no memory for it.
    pub fn new(cache: &CodeCache) -> anyhow::Result<Self> {
        let make = || -> wasmtime::Result<Self> {
            let (engine, Slots { serving, trials }) = engine(cache)?;
            let mut direct = Linker::new(&engine);
            host::add_to_linker(&mut direct)?;
            let mut waiting = direct.clone();
            host::add_waiting_to_linker(&mut waiting)?;
            let capacity = Capacity::new(serving, trials);
            Ok(Self { engine, capacity, direct, waiting, loaded: Mutex::default() })
        };
        make().map_err(|error| anyhow::anyhow!("cannot set up WebAssembly: {error:#}"))
    }

    /// Limits the instances of all plugins together, at most to what the system has room for, which is the limit if there is none.
    /// Returns the limit in force.
    pub fn limit_instances(&self, limit: Option<usize>) -> usize {
        self.capacity.set_limit(limit.unwrap_or(usize::MAX))
    }

    /// Limits the memory of the instances of all plugins together, in bytes.
    pub fn limit_memory(&self, bytes: usize) {
        self.capacity.set_memory_limit(bytes);
    }

    /// The memory of the instances of all plugins together.
    pub fn memory(&self) -> PluginMemory {
        PluginMemory(Arc::clone(&self.capacity))
    }

    /// Instances that all plugins may have together.
    pub fn instance_limit(&self) -> usize {
        self.capacity.limit()
    }

    /// [`read`] and [`Runtime::load`].
    ///
    /// # Errors
    ///
    /// As both of them.
    pub fn load_file(&self, path: &Path) -> Result<Arc<Loaded>, LoadError> {
        self.load(&read(path)?)
    }

    /// What a component is by its types alone: nothing of it runs.
    ///
    /// # Errors
    ///
    /// It is no component, or not one that this gateway can run.
    pub fn examine(&self, bytes: &[u8]) -> Result<Examined, LoadError> {
        check_kind(bytes)?;
        self.compile(bytes).map(|(_, examined)| examined)
    }

    /// Compiles a component and asks it about itself, or finds it among those that are in use. Blocks for as long as compiling takes,
    /// so not for workers.
    ///
    /// # Errors
    ///
    /// As [`Runtime::examine`]; or the component fails to describe itself.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Loaded>, LoadError> {
        check_kind(bytes)?;
        let digest = sha256(bytes);
        let known = |loaded: &mut HashMap<String, Weak<Loaded>>| loaded.get(&digest).and_then(Weak::upgrade);
        if let Some(loaded) = known(&mut self.lock()) {
            return Ok(loaded);
        }
        let (blueprint, examined) = self.compile(bytes)?;
        let manifest = describe(&blueprint)?;
        let Examined { phases, wants, data, imports, body_exports, timers } = examined;
        let facts = Facts {
            name: manifest.name,
            version: manifest.version,
            description: manifest.description,
            config_schema: manifest.config_schema,
            phases,
            wants,
            data,
            imports,
            body_exports,
            timers,
            waits: blueprint.waits,
            size: bytes.len(),
            digest: digest.clone(),
        };
        let loaded = Arc::new(Loaded { blueprint, facts });
        let mut all = self.lock();
        all.retain(|_, loaded| loaded.strong_count() > 0);
        all.insert(digest, Arc::downgrade(&loaded));
        Ok(loaded)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<Loaded>>> {
        // The map is consistent between statements, even after a panic.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles and links, without running anything.
    fn compile(&self, bytes: &[u8]) -> Result<(Blueprint, Examined), LoadError> {
        let component =
            Component::from_binary(&self.engine, bytes).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        let imports = imports(&self.engine, &component)?;
        let exports = exports(&self.engine, &component)?;
        let pre = |linker: &Linker<State>| {
            linker.instantiate_pre(&component).map_err(|error| LoadError::Mismatch(format!("{error:#}")))
        };
        let phases = exports.phases();
        let blueprint = Blueprint {
            direct: pre(&self.direct)?,
            waiting: pre(&self.waiting)?,
            exports,
            waits: waits(&imports),
            handle_ownership: handle_ownership(&self.engine, &component)?,
            capacity: Arc::clone(&self.capacity),
            weight: weight(&component),
        };
        let wants = |interface: &str| imports.keys().any(|name| without_version(name) == ours(interface));
        let wants = Wants {
            upstreams: ["http-client", "documents", "tcp", "upstreams"].into_iter().any(wants),
            store: wants("store") || wants("cache"),
            secrets: wants("secrets"),
            sinks: wants("sinks"),
            files: wants("files"),
        };
        let body_exports = body_exports(&self.engine, &component);
        let data = data_use(&imports, &body_exports, phases);
        let timers = blueprint.exports.on_timer.is_some();
        Ok((blueprint, Examined { phases, wants, data, imports, body_exports, timers }))
    }
}

/// Reads a component's bytes.
///
/// # Errors
///
/// The file cannot be read, or is larger than 256 MiB.
pub fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error| LoadError::Unreadable(path.to_owned(), error);
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > COMPONENT_BYTES {
        return Err(LoadError::TooLarge(size));
    }
    fs::read(path).map_err(unreadable)
}

/// In hexadecimal, as `Facts` has it.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

impl Loaded {
    /// What is known of it before it is configured.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Instantiates the component once, which also checks the types of its exports, and asks for its manifest.
fn describe(blueprint: &Blueprint) -> Result<facts::CheckedManifest, LoadError> {
    let parameters = |services: &Services| -> Result<InstanceParameters, StageFailure> {
        let grants = Grants::default();
        let name = "(not yet configured)".into();
        Ok(InstanceParameters {
            identity: Arc::new(Identity {
                name,
                grants,
                standard: false,
                log_rate: LogRate::default(),
                denials: Denials::default(),
            }),
            metrics: services.shared.metrics.plugin(services.worker, ""),
            memory: DESCRIBE_MEMORY,
            room: blueprint.reserve_for_trial()?,
        })
    };
    let services = || Rc::new(Services::without_worker(Arc::default()));
    let at_once = || {
        let services = services();
        let scope = || CallScope { slot: None, services: &services, time: DESCRIBE_TIME };
        Instance::create(blueprint, parameters(&services)?, scope())?.describe(scope())
    };
    let on_fiber = async || {
        let services = services();
        let scope = || CallScope { slot: None, services: &services, time: DESCRIBE_TIME };
        let mut instance = Instance::create_on_fiber(blueprint, true, parameters(&services)?, scope()).await?;
        instance.describe_on_fiber(scope()).await
    };
    let manifest = match blueprint.waits.always {
        true => on_own_runtime(on_fiber).unwrap_or_else(|error| Err(no_thread(&error))),
        false => at_once(),
    };
    let manifest = manifest.map_err(|failure| LoadError::Describe(failure.detail))?;
    facts::checked(manifest).map_err(LoadError::Manifest)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
