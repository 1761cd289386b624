//! File descriptors: how many this process may have, and how many of them clients may take.

use std::fmt;

use gateway_core::model::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process needs besides connections and what each worker has: logs, sinks, watchers, name servers.
const PROCESS: u64 = 64;
/// What a worker needs besides its listeners and connections.
const WORKER: u64 = 8;

/// Raises the limit as far as this process may. A shell and a service manager give little (1,024) for the sake of programs that
/// use select(2), which this one does not.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot raise the file descriptor limit");
    }
}

/// There are too few file descriptors for the connections that are configured.
pub(super) struct Few {
    wanted: usize,
    limit: usize,
    descriptors: u64,
    /// Nothing was configured, as far as can be told.
    pub(super) is_default: bool,
}

impl fmt::Display for Few {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, limit, descriptors, .. } = self;
        write!(
            f,
            "`limits.connections` is {wanted}, but of {descriptors} file descriptors only {limit} are for clients; raise the \
             limit (`ulimit -n`, `LimitNOFILE=`)"
        )
    }
}

/// Bounds the connections of clients by the file descriptors that there are. Half of them is for upstreams: a client that could
/// take the last one would be a client that cannot be served.
pub(super) fn bound(limits: &mut Limits, workers: usize, listeners: usize) -> Option<Few> {
    let descriptors = getrlimit(Resource::Nofile).current?;
    let (limit, wanted) = (for_clients(descriptors, workers, listeners), limits.connections);
    (wanted > limit).then(|| {
        limits.connections = limit;
        Few { wanted, limit, descriptors, is_default: wanted == Limits::CONNECTIONS }
    })
}

fn for_clients(most: u64, workers: usize, listeners: usize) -> usize {
    let own = PROCESS + workers as u64 * (WORKER + listeners as u64);
    usize::try_from(most.saturating_sub(own) / 2).unwrap_or(usize::MAX).max(1)
}
