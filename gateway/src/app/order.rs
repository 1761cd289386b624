//! What others want of the control thread.

use tokio::sync::oneshot;

use super::{
    Source, StartError,
    admin::{Applied, ApplyOptions, NotApplied, Origin},
};

/// Orders are carried out one after the other.
pub(super) enum Order {
    Reload {
        new_source: Option<Source>,
        reply: oneshot::Sender<Result<(), StartError>>,
    },
    /// A text of an operator's. Where the configuration comes from stays as it is.
    Apply {
        text: String,
        origin: Origin,
        options: ApplyOptions,
        reply: oneshot::Sender<Result<Applied, NotApplied>>,
    },
    /// Ends well, and after `timeouts.drain-delay` if it is `delayed`.
    Drain {
        delayed: bool,
    },
    /// Reopens sink files after they were renamed.
    Reopen,
    /// Starts the program anew, hands the sockets over, and ends well when the new process serves.
    Upgrade,
    /// Ends at once.
    Stop,
}
