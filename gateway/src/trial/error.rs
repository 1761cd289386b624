//! Why a trial cannot be made.

use std::{io, path::PathBuf};

use gateway_component::ComponentError;
use gateway_telemetry::sinks::OpenError;
use gateway_wasm::LoadError;
use http::{
    header::{InvalidHeaderValue, MaxSizeReached},
    status::InvalidStatusCode,
    uri::InvalidUri,
};
use thiserror::Error;

/// Why a component cannot be tried, or a file of cases not be used.
#[derive(Debug, Error)]
pub(crate) enum TrialError {
    #[error("{}: {}", .0.display(), .1)]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("{}: {}", .0.display(), .1)]
    Malformed(PathBuf, #[source] Box<serde_yaml::Error>),
    #[error("{}: there are no `cases` in it", .0.display())]
    NoCases(PathBuf),
    /// A step's request or response cannot be made.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// There is no engine to run it.
    #[error(transparent)]
    Engine(Box<dyn std::error::Error + Send + Sync>),
    /// The component cannot be compiled, or is no plugin.
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Noop(#[from] ComponentError),
    #[error(transparent)]
    Sinks(#[from] OpenError),
    /// The plugin refuses its configuration: what it says, one line each.
    #[error("{0}")]
    Configuration(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What of a step cannot be part of a message.
#[derive(Debug, Error)]
pub(crate) enum MessageError {
    #[error("`{0}` is not a method")]
    Method(String),
    #[error("path `{0}`: {1}")]
    Path(String, #[source] InvalidUri),
    #[error("`{0}` is no path")]
    NoPath(String),
    #[error("`{0}` is not the name of a field")]
    FieldName(String),
    #[error("the value of `{0}` cannot be sent")]
    FieldValue(String),
    #[error(transparent)]
    Fields(#[from] MaxSizeReached),
    #[error("`{0}` is not an address")]
    Client(String),
    #[error(transparent)]
    Status(#[from] InvalidStatusCode),
    /// The gateway's address cannot be the value of `Host`.
    #[error(transparent)]
    Host(#[from] InvalidHeaderValue),
}
