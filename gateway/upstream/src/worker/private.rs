//! Connections of one client only. NTLM and Negotiate authenticate a connection and not each request, so a
//! connection on which a client has authenticated itself must not serve other clients (RFC 9110 §16.4.2), and
//! must serve this client's next request, or it would have to begin anew. Such a connection is kept by its
//! endpoint for the client connection that it belongs to, and closes with that.

use std::{cell::OnceCell, rc::Rc};

use super::{
    endpoint::{Endpoint, InFlight, Owner},
    view::WorkerView,
};
use crate::connections::http1::Connection;

/// A client connection, as far as upstream connections can belong to it. It costs nothing until one does.
#[derive(Default)]
pub struct PrivateConnections(OnceCell<Rc<Owner>>);

impl PrivateConnections {
    /// The endpoint that has a connection of this client, if one that gets requests has.
    pub(crate) fn endpoint(&self, view: &WorkerView) -> Option<InFlight> {
        let owner = self.0.get()?;
        view.healthy().iter().find(|endpoint| endpoint.has_private(owner)).map(InFlight::new)
    }

    /// This client's connection to an endpoint.
    pub(crate) fn take(&self, endpoint: &Endpoint) -> Option<Box<Connection>> {
        endpoint.take_private(self.0.get()?)
    }

    /// Who owns what is kept from now on.
    pub(crate) fn owner(&self) -> Rc<Owner> {
        self.0.get_or_init(Rc::default).clone()
    }
}
