//! Opening a connection to an endpoint: TCP, TLS.

use std::{io, net::SocketAddr};

use http::Uri;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{http1, io::Io, pass::Place, tls::ClientTls};
use crate::{config::model::UpstreamTls, telemetry::metrics::UpstreamMetrics};

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

    pub(super) async fn connect(
        &self,
        metrics: Option<&UpstreamMetrics>,
        place: Option<Place>,
    ) -> io::Result<Box<http1::Connection>> {
        let stream = TcpStream::connect(self.socket).await?;
        stream.set_nodelay(true)?;
        let io = match &self.tls {
            None => Io::Plain(stream),
            Some((tls, name)) => {
                let name = name.clone().map_err(io::Error::other)?;
                Io::Tls(Box::new(TlsConnector::from(tls.config.clone()).connect(name, stream).await?))
            }
        };
        Ok(http1::Connection::new(io, (metrics.map(UpstreamMetrics::connected), place)))
    }
}
