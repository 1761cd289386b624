//! A worker's instances: those of one plugin with one configuration (`pool`), which of all are idle (`idle`), and how a worker
//! makes room for other workers (`worker`).

mod idle;
mod pool;
mod running_timers;
mod worker;

pub(crate) use pool::Pool;
pub(crate) use running_timers::RunningTimers;
pub use worker::Pools;
