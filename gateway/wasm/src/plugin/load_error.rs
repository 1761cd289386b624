//! Why a component cannot be loaded.

use std::{fmt, io, path::PathBuf};

use crate::bindings::{PACKAGE, VERSION};

/// The largest component that is read, in bytes.
pub(crate) const COMPONENT_BYTES: u64 = 256 * 1024 * 1024;

/// Why a component cannot be used: what was found, what was expected, and the cure.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// With its size in bytes.
    TooLarge(u64),
    /// It does not begin as WebAssembly does.
    NotWasm,
    /// A core module, not a component.
    CoreModule,
    /// The compiler refuses it, for this reason.
    Invalid(String),
    /// An interface of ours in a version that we do not speak.
    OtherVersion {
        /// Its name with the version.
        found: String,
    },
    /// Not a plugin at all.
    OtherWorld {
        /// What it exports.
        found: Vec<String>,
    },
    /// A plugin that takes part in nothing, and has no timers.
    NoPhase,
    /// Imports that the gateway does not have.
    UnknownImports(Vec<String>),
    /// An import or export of another shape than the interface says.
    Mismatch(String),
    /// It failed when asked about itself.
    Describe(String),
    /// What it says about itself breaks a rule: this one.
    Manifest(String),
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
                write!(
                    f,
                    "takes part in no phase: export request-filter, response-filter, observer or timers of {PACKAGE}"
                )
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
