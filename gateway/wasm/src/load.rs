//! From a file's bytes to a component that can be instantiated, with an error that says what to do for each
//! way in which it cannot.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs, io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use aws_lc_rs::digest;
use gateway_core::model::Grants;
use gateway_pipeline::{Phases, StageFailure};
use wasmtime::{
    Engine,
    component::{
        Component, ComponentExportIndex, Linker,
        types::{ComponentItem, Type},
    },
};

use super::{
    bindings::{PACKAGE, VERSION},
    capacity::Capacity,
    engine::{CodeCache, TABLES, engine},
    facts::{self, Facts, Wants},
    host::{self, wasi},
    instance::{Blueprint, Exports, Instance, Lending, Loan, Terms},
    output::LogRate,
    prepared::no_thread,
    services::Services,
    state::{Identity, State},
    threads::on_own_runtime,
};

const COMPONENT_BYTES: u64 = 256 * 1024 * 1024;
/// For instantiating a component and asking it about itself. Generous: this is not on any request's way.
const DESCRIBE_TIME: Duration = Duration::from_secs(10);
const DESCRIBE_MEMORY: usize = 512 * 1024 * 1024;

/// Loads components. One for the whole process; what it has loaded is compiled once and shared.
pub struct Runtime {
    engine: Engine,
    capacity: Arc<Capacity>,
    linker: Linker<State>,
    loaded: Mutex<HashMap<String, Weak<Loaded>>>,
}

/// A component that was compiled, linked and asked about itself.
pub struct Loaded {
    pub(super) blueprint: Blueprint,
    facts: Facts,
}

/// What a component's types say about it.
pub struct Examined {
    pub phases: Phases,
    pub wants: Wants,
    /// Every function that it imports, by interface.
    pub imports: BTreeMap<String, Vec<String>>,
}

/// Why a component cannot be used: what was found, what was expected, and the cure.
#[derive(Debug)]
pub enum LoadError {
    Unreadable(PathBuf, io::Error),
    TooLarge(u64),
    NotWasm,
    /// A core module, not a component.
    CoreModule,
    Invalid(String),
    /// An interface of ours in a version that we do not speak.
    OtherVersion {
        found: String,
    },
    /// Not a plugin at all.
    OtherWorld {
        found: Vec<String>,
    },
    /// A plugin that takes part in nothing.
    NoPhase,
    /// Imports that the gateway does not have.
    UnknownImports(Vec<String>),
    /// An import or export of another shape than the interface says.
    Mismatch(String),
    /// It failed when asked about itself.
    Describe(String),
    Manifest(String),
}

impl Runtime {
    pub fn new(cache: &CodeCache) -> anyhow::Result<Self> {
        let make = || -> wasmtime::Result<Self> {
            let (engine, capacity) = engine(cache)?;
            let mut linker = Linker::new(&engine);
            host::add_to_linker(&mut linker)?;
            Ok(Self { engine, capacity, linker, loaded: Mutex::default() })
        };
        make().map_err(|error| anyhow::anyhow!("cannot set up WebAssembly: {error:#}"))
    }

    /// Allows so many instances of all plugins together, or as many as the system has room for. Returns what is allowed.
    pub fn limit_instances(&self, limit: usize) -> usize {
        self.capacity.set_limit(limit)
    }

    /// Instances that all plugins may have together.
    pub fn instance_limit(&self) -> usize {
        self.capacity.limit()
    }

    pub fn load_file(&self, path: &Path) -> Result<Arc<Loaded>, LoadError> {
        self.load(&read(path)?)
    }

    /// What a component is by its types alone: nothing of it runs.
    pub fn examine(&self, bytes: &[u8]) -> Result<Examined, LoadError> {
        check_kind(bytes)?;
        self.compile(bytes).map(|(_, examined)| examined)
    }

    /// Compiles a component, or finds it among those that are in use.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Loaded>, LoadError> {
        check_kind(bytes)?;
        let digest = sha256(bytes);
        let known = |loaded: &mut HashMap<String, Weak<Loaded>>| loaded.get(&digest).and_then(Weak::upgrade);
        if let Some(loaded) = known(&mut self.lock()) {
            return Ok(loaded);
        }
        let (blueprint, examined) = self.compile(bytes)?;
        let manifest = describe(&blueprint)?;
        let Examined { phases, wants, imports } = examined;
        let facts = Facts {
            name: manifest.name,
            version: manifest.version,
            description: manifest.description,
            config_schema: manifest.config_schema,
            phases,
            wants,
            imports,
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
        // The map is whole between statements, whoever panicked.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles and links, without running anything.
    fn compile(&self, bytes: &[u8]) -> Result<(Blueprint, Examined), LoadError> {
        let component =
            Component::from_binary(&self.engine, bytes).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        let imports = imports(&self.engine, &component)?;
        let exports = exports(&self.engine, &component)?;
        let waits = imports.keys().any(|interface| can_wait(interface));
        let pre = self.linker.instantiate_pre(&component).map_err(|error| LoadError::Mismatch(format!("{error:#}")))?;
        let phases = Phases {
            request: exports.on_request.is_some(),
            response: exports.on_response.is_some(),
            complete: exports.on_complete.is_some(),
        };
        let blueprint = Blueprint {
            pre,
            exports,
            waits,
            lending: lending(&self.engine, &component)?,
            capacity: Arc::clone(&self.capacity),
            weight: weight(&component),
        };
        let wants = |interface: &str| imports.keys().any(|name| without_version(name) == ours(interface));
        let wants = Wants {
            upstreams: wants("http-client") || wants("documents") || wants("tcp"),
            store: wants("store") || wants("cache"),
            secrets: wants("secrets"),
            sinks: wants("sinks"),
            files: wants("files"),
        };
        Ok((blueprint, Examined { phases, wants, imports }))
    }
}

/// A component's bytes.
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
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Slots of the allocator that an instance takes: one for each memory, or pair of tables.
fn weight(component: &Component) -> usize {
    let (memories, tables) = component.resources_required().map_or((1, 1), |all| (all.num_memories, all.num_tables));
    (memories as usize).max((tables as usize).div_ceil(TABLES)).max(1)
}

/// The first eight bytes tell: magic, version, layer.
fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes {
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => Err(LoadError::CoreModule),
        [b'\0', b'a', b's', b'm', _, _, _, _, ..] => Ok(()),
        _ => Err(LoadError::NotWasm),
    }
}

/// The imported functions by interface, if all of them are known.
fn imports(engine: &Engine, component: &Component) -> Result<BTreeMap<String, Vec<String>>, LoadError> {
    let mut imports = BTreeMap::new();
    let mut unknown = Vec::new();
    for (name, item) in component.component_type().imports(engine) {
        let interface = without_version(name);
        if interface.starts_with(PACKAGE) && !is_our_version(name) {
            return Err(LoadError::OtherVersion { found: name.to_owned() });
        }
        let is_known = OURS.iter().any(|known| interface == ours(known)) || wasi::INTERFACES.contains(&interface);
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            unknown.push(name.to_owned());
            continue;
        };
        if !is_known || interface.starts_with("wasi:") && !name.contains("@0.2.") {
            unknown.push(name.to_owned());
            continue;
        }
        let is_function = |item: &ComponentItem| matches!(item, ComponentItem::ComponentFunc(_));
        let functions = instance.exports(engine).filter(|(_, item)| is_function(&item.ty));
        let functions: Vec<_> = functions.map(|(function, _)| function.to_owned()).collect();
        // An interface of types only asks for nothing.
        if !functions.is_empty() {
            imports.insert(name.to_owned(), functions);
        }
    }
    if unknown.is_empty() { Ok(imports) } else { Err(LoadError::UnknownImports(unknown)) }
}

const OURS: &[&str] = &[
    "http",
    "bodies",
    "log",
    "sinks",
    "metrics",
    "store",
    "http-client",
    "documents",
    "cache",
    "crypto",
    "secrets",
    "files",
    "streams",
    "tcp",
];

fn can_wait(interface: &str) -> bool {
    let interface = without_version(interface);
    interface == ours("bodies") || interface == ours("http-client") || wasi::can_wait(interface)
}

/// Finds the exported functions. Unknown exports are no matter: some languages' tools add their own.
fn exports(engine: &Engine, component: &Component) -> Result<Exports, LoadError> {
    let ty = component.component_type();
    let names: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let foreign = names.iter().find(|name| name.starts_with(PACKAGE) && !is_our_version(name));
    let find = |interface: &str, function: &str| -> Result<Option<ComponentExportIndex>, LoadError> {
        let Some(name) = names.iter().find(|name| without_version(name) == ours(interface)) else { return Ok(None) };
        let instance = component.get_export_index(None, name);
        let found = instance.and_then(|instance| component.get_export_index(Some(&instance), function));
        found.map(Some).ok_or_else(|| LoadError::Mismatch(format!("{name} exports no {function}")))
    };
    if let Some(name) = foreign {
        return Err(LoadError::OtherVersion { found: (*name).to_owned() });
    }
    let lifecycle = |function| {
        find("lifecycle", function)?
            .ok_or_else(|| LoadError::OtherWorld { found: names.iter().map(|name| (*name).to_owned()).collect() })
    };
    let exports = Exports {
        describe: lifecycle("describe")?,
        configure: lifecycle("configure")?,
        phases: find("attendance", "phases")?,
        endpoints: find("catalogue", "endpoints")?,
        openapi: find("catalogue", "openapi")?,
        on_request: find("request-filter", "on-request")?,
        on_response: find("response-filter", "on-response")?,
        on_part: find("response-stream", "on-response-part")?,
        on_complete: find("observer", "on-complete")?,
    };
    let has_phase = exports.on_request.is_some() || exports.on_response.is_some() || exports.on_complete.is_some();
    if has_phase { Ok(exports) } else { Err(LoadError::NoPhase) }
}

/// As what its phases want the request and the response; all of them the same.
fn lending(engine: &Engine, component: &Component) -> Result<Lending, LoadError> {
    let mut found = None;
    for (name, item) in component.component_type().exports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        if !name.starts_with(PACKAGE) {
            continue;
        }
        for (function, item) in instance.exports(engine) {
            let ComponentItem::ComponentFunc(ty) = item.ty else { continue };
            for (_, param) in ty.params() {
                let wanted = match param {
                    Type::Own(_) => Lending::Owned,
                    Type::Borrow(_) => Lending::Borrowed,
                    _ => continue,
                };
                if found.is_some_and(|found| found != wanted) {
                    return Err(LoadError::Mismatch(format!("{name} {function} wants handles of both kinds")));
                }
                found = Some(wanted);
            }
        }
    }
    Ok(found.unwrap_or(Lending::Borrowed))
}

/// Instantiates the component once, which also checks the types of its exports, and asks for its manifest.
fn describe(blueprint: &Blueprint) -> Result<facts::CheckedManifest, LoadError> {
    let terms = |services: &Services| -> Result<Terms, StageFailure> {
        let grants = Grants::default();
        let name = "(not yet configured)".into();
        Ok(Terms {
            identity: Arc::new(Identity { name, grants, standard: false, log_rate: LogRate::default() }),
            metrics: services.shared.metrics.plugin(services.worker, ""),
            memory: DESCRIBE_MEMORY,
            room: blueprint.reserve_for_trial()?,
        })
    };
    let services = || Rc::new(Services::without_worker(Arc::default()));
    let at_once = || {
        let services = services();
        let loan = || Loan { slot: None, services: &services, time: DESCRIBE_TIME, contention: None };
        Instance::create(blueprint, terms(&services)?, loan())?.describe(loan())
    };
    let on_fiber = async || {
        let services = services();
        let loan = || Loan { slot: None, services: &services, time: DESCRIBE_TIME, contention: None };
        let mut instance = Instance::create_on_fiber(blueprint, terms(&services)?, loan()).await?;
        instance.describe_on_fiber(loan()).await
    };
    let manifest = match blueprint.waits {
        true => on_own_runtime(on_fiber).unwrap_or_else(|error| Err(no_thread(&error))),
        false => at_once(),
    };
    let manifest = manifest.map_err(|failure| LoadError::Describe(failure.detail))?;
    facts::checked(manifest).map_err(LoadError::Manifest)
}

fn ours(interface: &str) -> String {
    format!("{PACKAGE}{interface}")
}

fn without_version(name: &str) -> &str {
    name.split('@').next().unwrap_or_default()
}

/// Within 0.1 nothing is ever taken away, so a component of any 0.1 release runs if we have what it imports.
fn is_our_version(name: &str) -> bool {
    name.split_once('@').is_some_and(|(_, version)| version.starts_with("0.1."))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::TooLarge(size) => write!(f, "{size} bytes are over the limit of {COMPONENT_BYTES}"),
            Self::NotWasm => f.write_str("not WebAssembly: expected a component in binary form"),
            Self::CoreModule => f.write_str(
                "a core WebAssembly module, not a component: build it for wasm32-wasip2, \
                 or make a component of it with `wasm-tools component new`",
            ),
            Self::Invalid(reason) => write!(f, "not a valid component: {reason}"),
            Self::OtherVersion { found } => {
                write!(f, "speaks {found}, and this gateway {PACKAGE}*@{VERSION}: build it against that version")
            }
            Self::OtherWorld { found } if found.is_empty() => {
                write!(f, "not a plugin: exports nothing, expected {PACKAGE}lifecycle@{VERSION}")
            }
            Self::OtherWorld { found } => {
                let found = found.join(", ");
                write!(f, "not a plugin: exports {found}, expected {PACKAGE}lifecycle@{VERSION}")
            }
            Self::NoPhase => {
                write!(f, "takes part in no phase: export request-filter, response-filter or observer of {PACKAGE}")
            }
            Self::UnknownImports(names) => {
                let names = names.join(", ");
                write!(f, "imports {names}, which this gateway does not have: it offers {PACKAGE}* and WASI 0.2")?;
                f.write_str(" without HTTP; calls to services go through its http-client")
            }
            Self::Mismatch(reason) => write!(f, "does not fit {PACKAGE}*@{VERSION}: {reason}"),
            Self::Describe(reason) => write!(f, "failed when asked to describe itself: {reason}"),
            Self::Manifest(reason) => write!(f, "describes itself badly: {reason}"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            _ => None,
        }
    }
}
