//! An exchange from the head of its request to its end. `handle` tells the whole story on one page.

#![warn(unreachable_pub)]

mod active_exchange;
mod admit;
mod affinity;
mod background;
mod client;
mod failure_response;
mod forward;
mod handle;
mod handler;
mod lifeline;
mod messages;
mod observing;
mod outgoing;
mod site;
mod tasks;
mod tunnel;

pub use admit::refused_by_parser;
pub use client::{Client, ListenerName};
pub use gateway_pipeline::{Close, Forwarded, Message, Side};
pub use handle::handle;
pub use handler::{Handler, HandlerFailure, Handling};
pub use lifeline::{Delivery, Lifeline};
pub use site::{Site, SiteRoute, SiteUnrouted, Split, Target, Worker};
pub use tasks::Tasks;
pub use tunnel::{Parting, ResponseBody, Tunnel};
