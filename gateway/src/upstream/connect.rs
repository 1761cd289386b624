//! Opening a connection to an endpoint: name, TCP, TLS, HTTP/1.1.

use std::{io, net::SocketAddr};

use http::Uri;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, task::AbortHandle};
use tokio_rustls::TlsConnector;

use super::{pass::Place, tls::ClientTls};
use crate::{
    config::model::UpstreamTls,
    http::body::Body,
    telemetry::metrics::{Held, UpstreamMetrics},
};

/// The most bytes that the head of an upstream's response may have. The most fields are hyper's default, 100, up
/// to which it parses without allocating.
const MAX_RESPONSE_HEAD: usize = 256 * 1024;

/// A connection of which the next request can make use, if it is at rest. Dropped at rest, it is closed in good
/// order; dropped while a request or its response is under way, it ends at once, so that an upstream that takes
/// no more of a request than it cared to answer cannot keep it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Body>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.sender.is_ready() {
            self.task.abort();
        }
    }
}

/// Where an endpoint is and how it is spoken to.
pub(super) struct Address {
    socket: SocketAddr,
    tls: Option<(ClientTls, Result<ServerName<'static>, String>)>,
}

impl Address {
    pub(super) fn new(url: &Uri, socket: SocketAddr, settings: &UpstreamTls, tls: Option<&ClientTls>) -> Self {
        let secure = url.scheme_str() == Some("https");
        let name = || {
            let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let name = settings.server_name.as_deref().unwrap_or(host);
            ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` is not a server name"))
        };
        Self { socket, tls: tls.filter(|_| secure).map(|tls| (tls.clone(), name())) }
    }

    pub(super) fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// Whether connections to the one are as good as connections to the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (Some((mine, my_name)), Some((theirs, their_name))) => mine.is_same(theirs) && my_name == their_name,
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        };
        self.socket == other.socket && same_tls
    }

    /// A new connection, driven by a task of this thread until it closes.
    pub(super) async fn connect(
        &self,
        metrics: Option<&UpstreamMetrics>,
        place: Option<Place>,
    ) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.socket).await?;
        stream.set_nodelay(true)?;
        let open = || (metrics.map(UpstreamMetrics::connected), place);
        match &self.tls {
            None => handshake(TokioIo::new(stream), open()).await,
            Some((tls, name)) => {
                let name = name.clone().map_err(io::Error::other)?;
                let stream = TlsConnector::from(tls.config.clone()).connect(name, stream).await?;
                handshake(TokioIo::new(stream), open()).await
            }
        }
    }
}

async fn handshake<T>(io: T, open: (Option<Held>, Option<Place>)) -> io::Result<Connection>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_header_size(MAX_RESPONSE_HEAD);
    let (sender, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
    let task = tokio::task::spawn_local(async move {
        // What goes wrong also reaches the request that was under way, which reports it.
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "upstream connection ended");
        }
        drop(open);
    });
    Ok(Connection { sender, task: task.abort_handle() })
}
