//! The composition root: the only room that knows all others. It makes a configuration ready (`snapshot`),
//! hands it to the workers (`worker`), and keeps watch over reload and drain (`control`).

mod admin;
pub mod asked;
mod calls;
mod catalog;
mod control;
mod descriptors;
mod ending;
mod handover;
mod initial_fetch;
mod install;
mod memory;
mod openapi;
mod order;
mod reflected;
mod reload;
mod secrets;
mod shared;
mod signals;
mod snapshot;
mod supervised;
mod traces;
mod watch;
mod worker;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use gateway_config as config;
use gateway_config::lock::{self, Entry, Lock};
use gateway_core::model::LogFormat;
use gateway_wasm::{Facts, TimerSettings, Timers};
use thiserror::Error;
use tokio::{
    runtime::Runtime,
    sync::{mpsc as async_mpsc, oneshot},
};

pub(crate) use memory::PluginBudget;
pub use snapshot::StartError;

use control::Control;
use order::Order;
use shared::Shared;

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Read at start and at every reload.
    File(PathBuf),
    /// Relative paths in it count from `base`.
    Text { text: String, base: PathBuf },
}

/// How a gateway is run.
#[derive(Clone, Debug)]
pub struct Options {
    pub source: Source,
    /// The process is the gateway's own: signals drain it, reload it, reopen its sinks and replace it; it may
    /// have inherited listening sockets; its limit of file descriptors is raised; the service manager is
    /// notified of the state.
    pub signals: bool,
    /// A change of the file reloads.
    pub watch: bool,
    /// Compiled components are kept on disk between runs.
    pub code_cache: bool,
    /// The process's log is set up as the configuration says, but for these; left alone if absent.
    pub logging: Option<LogOverrides>,
    /// Runs the timers of plugins.
    pub timers: Arc<Timers>,
}

/// What the command line says about the log.
#[derive(Clone, Debug, Default)]
pub struct LogOverrides {
    pub format: Option<LogFormat>,
    pub level: Option<String>,
}

/// A running gateway. Dropping it ends it at once; `drain` ends it well.
pub struct Gateway {
    orders: async_mpsc::Sender<Order>,
    thread: Option<thread::JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

/// Everything is served when this returns.
fn prepare(options: Options, orders: async_mpsc::WeakSender<Order>) -> Result<(Control, Runtime), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((Control::start(options, orders, &runtime)?, runtime))
}

/// How many orders may wait; they come from operators only.
const ORDERS: usize = 16;

impl Gateway {
    /// Returns when every worker serves, or with everything that is wrong.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let (orders, inbox) = async_mpsc::channel(ORDERS);
        let (started, starting) = mpsc::channel();
        let theirs = orders.downgrade();
        let thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || match prepare(options, theirs) {
                Ok((control, runtime)) => {
                    // The thread that started this one may have gone; then the inbox is closed too, which ends this one.
                    let _ = started.send(Ok((control.addresses(), control.admin_address())));
                    control.run(&runtime, inbox);
                    // A compilation that was given up is not waited for.
                    runtime.shutdown_background();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            })
            .map_err(StartError::Io)?;
        let (addresses, admin) = starting
            .recv()
            .map_err(|_| StartError::Io(std::io::Error::other("the control thread ended unexpectedly")))??;
        Ok(Self { orders, thread: Some(thread), addresses, admin })
    }

    /// Where it listens, in the order of the configuration it started with.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Puts the source's present configuration in force, if nothing is wrong with it. Blocks.
    pub fn reload(&self) -> Result<(), StartError> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Reload { new_source: None, reply }, answer)?
    }

    /// As `reload`, with another text.
    pub fn reload_with(&self, source: Source) -> Result<(), StartError> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Reload { new_source: Some(source), reply }, answer)?
    }

    /// Lets requests in progress finish, up to the configured deadline, and ends. Blocks.
    pub fn drain(mut self) {
        let _ = self.orders.blocking_send(Order::Drain { delayed: false });
        self.join();
    }

    /// Waits until the gateway has ended by itself: by a signal.
    pub fn wait(mut self) {
        self.join();
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported where it happened.
            let _ = thread.join();
        }
    }

    fn order<T>(&self, order: Order, answer: oneshot::Receiver<T>) -> Result<T, StartError> {
        let gone = || StartError::Io(std::io::Error::other("the gateway has ended"));
        self.orders.blocking_send(order).map_err(|_| gone())?;
        answer.blocking_recv().map_err(|_| gone())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.orders.blocking_send(Order::Stop);
            self.join();
        }
    }
}

/// Does everything that `run` does before it listens.
pub fn check(source: &Source) -> Result<config::Checked, StartError> {
    check_with_timers(source).map(|(checked, _)| checked)
}

/// The timers of the plugins that are used, by the plugins' names.
pub type TimersByPlugin = Vec<(Arc<str>, Vec<TimerSettings>)>;

/// As `check`, with the timers.
pub fn check_with_timers(source: &Source) -> Result<(config::Checked, TimersByPlugin), StartError> {
    let shared = Shared::new(true)?;
    snapshot::read(source, &shared).map(|read| (read.checked, read.components.timers()))
}

/// What the components of a configuration are and may do, and what of it is approved.
pub struct Approval {
    /// Where it is written.
    pub file: PathBuf,
    pub before: BTreeMap<String, Entry>,
    pub now: BTreeMap<String, Entry>,
}

/// Looks at the components of a configuration, for `gateway.lock`.
pub fn to_approve(source: &Source) -> Result<Approval, StartError> {
    let shared = Shared::new(true)?;
    let (folder, now) = snapshot::to_approve(source, &shared)?;
    let before = Lock::read(&folder).map_err(|why| StartError::Io(std::io::Error::other(why)))?;
    let before = before.map(|lock| lock.entries().clone()).unwrap_or_default();
    Ok(Approval { file: folder.join(lock::FILE), before, now })
}

/// The JSON Schema (2020-12) of the configuration file, the standard plugins' configuration included.
pub fn schema() -> Result<serde_json::Value, StartError> {
    let shared = Shared::new(true)?;
    let mut components = catalog::Components::standard(&shared.runtime, &shared.reflected);
    config::schema(&mut components).map_err(|error| StartError::Io(std::io::Error::other(error)))
}

/// OpenAPI 3.1 of what the routes' plugins say that they have an answer for, as far as requests get there.
pub fn openapi(source: &Source, title: &str) -> Result<serde_json::Value, StartError> {
    let shared = Shared::new(true)?;
    let snapshot::Read { checked, mut components, .. } = snapshot::read(source, &shared)?;
    openapi::document(&checked.config, &mut components, title)
        .map_err(|error| StartError::Io(std::io::Error::other(error)))
}

/// Why nothing is known of a component.
#[derive(Debug, Error)]
pub enum InspectError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Standard(#[from] gateway_standard::Error),
    #[error("{}: {}", .0.display(), .1)]
    Component(PathBuf, #[source] gateway_wasm::LoadError),
}

/// Compiles a component and asks it about itself; a name without a path may be that of a standard plugin.
pub fn inspect(file: &Path) -> Result<Facts, InspectError> {
    let shared = Shared::new(true)?;
    let loaded = match standard_component(file)? {
        Some(bytes) => shared.runtime.load(bytes),
        None => shared.runtime.load_file(file),
    };
    let loaded = loaded.map_err(|error| InspectError::Component(file.to_owned(), error))?;
    Ok(loaded.facts().clone())
}

/// The standard plugin that a command's argument names, if there is no file of that name.
pub(crate) fn standard_component(file: &Path) -> Result<Option<&'static [u8]>, gateway_standard::Error> {
    let Some(name) = file.to_str().filter(|_| !file.exists()) else { return Ok(None) };
    gateway_standard::component(name)
}

/// How long workers get to answer, or to end.
const WORKER_PATIENCE: Duration = Duration::from_secs(30);
