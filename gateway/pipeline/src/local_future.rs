//! Futures of one worker.

use std::{future::Future, pin::Pin};

/// A future that stays on its worker.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
