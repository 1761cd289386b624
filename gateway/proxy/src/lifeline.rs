//! The client's connection, as an exchange on it sees it.

use std::rc::Rc;

use gateway_core::timers::Timer;
use gateway_http::interim::Interim;

/// What an exchange has of its client's connection.
pub struct Delivery {
    /// By which the client has to take each part of the response, where the connection as a whole cannot tell whether it does.
    pub timer: Option<Rc<Timer>>,
    pub interim: Rc<dyn Interim>,
}

/// A connection with a client, which has to know when it is at rest.
pub trait Lifeline {
    fn begin_exchange(&self) -> Delivery;
    /// `request_is_whole` unless part of the request's body is left on the connection.
    fn end_exchange(&self, request_is_whole: bool);
    /// The connection ends because the client took nothing for too long.
    fn is_stalled(&self) -> bool;
}
