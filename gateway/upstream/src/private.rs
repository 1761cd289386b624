//! Connections of one client only. NTLM and Negotiate authenticate a connection and not each request, so a connection on
//! which a client has authenticated itself must not serve anybody else (RFC 9110 §16.4.2), and must serve this client's
//! next request, or it would have to begin anew. Such a connection is kept by its endpoint for the client connection that it
//! belongs to, and closes with that.

use std::{
    cell::{OnceCell, RefCell},
    rc::{Rc, Weak},
};

use super::{
    endpoint::{Busy, Endpoint},
    http1::Connection,
    view::View,
};

/// A client connection, as far as upstream connections can belong to it. It costs nothing until one does.
#[derive(Default)]
pub struct PrivateConnections(OnceCell<Rc<Owner>>);

/// Who owns private connections, and which endpoints have one.
#[derive(Default)]
pub(super) struct Owner(RefCell<Vec<Weak<Endpoint>>>);

impl PrivateConnections {
    /// The endpoint that has a connection of this client, if one that gets requests has.
    pub(super) fn endpoint(&self, view: &View) -> Option<Busy> {
        let owner = self.0.get()?;
        view.fit().iter().find(|endpoint| endpoint.has_private(owner)).map(Busy::new)
    }

    /// This client's connection to an endpoint.
    pub(super) fn take(&self, endpoint: &Endpoint) -> Option<Box<Connection>> {
        endpoint.take_private(self.0.get()?)
    }

    /// Who owns what is kept from now on.
    pub(super) fn owner(&self) -> Rc<Owner> {
        self.0.get_or_init(Rc::default).clone()
    }
}

impl Owner {
    /// For the client's next request to this endpoint.
    pub(super) fn keep(self: &Rc<Self>, endpoint: &Rc<Endpoint>, connection: Box<Connection>) {
        let mut endpoints = self.0.borrow_mut();
        endpoints.retain(|known| known.strong_count() > 0);
        if !endpoints.iter().any(|known| std::ptr::eq(known.as_ptr(), Rc::as_ptr(endpoint))) {
            endpoints.push(Rc::downgrade(endpoint));
        }
        drop(endpoints);
        endpoint.put_private(self, connection);
    }
}

impl Drop for Owner {
    /// The client has gone, and so has what it was authenticated on.
    fn drop(&mut self) {
        for endpoint in self.0.take().iter().filter_map(Weak::upgrade) {
            endpoint.close_ownerless();
        }
    }
}
