//! Opening a connection to an endpoint: TCP, TLS.

use std::{io, net::SocketAddr, rc::Rc};

use gateway_core::model::{Endpoint, Protocol, UpstreamTls};
use gateway_telemetry::metrics::UpstreamMetrics;
use http::Uri;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    http1,
    http2::Mux,
    io::Io,
    permits::{ConnectionPermit, Open},
    tls::ClientTls,
};

/// A new connection. One of TCP is kept and counted like one of HTTP/1.1.
pub(crate) enum Connected {
    Http1(Box<http1::Connection>),
    Http2(Rc<Mux>),
}

/// Where an endpoint is and how it is spoken to.
pub(crate) struct Address {
    socket: SocketAddr,
    protocol: Protocol,
    secure: bool,
    tls: Option<(ClientTls, Result<ServerName<'static>, NotAServerName>)>,
}

/// Neither a host name nor an address, so that no certificate can have it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a server name")]
struct NotAServerName(String);

impl Address {
    pub(crate) fn new(
        url: &Uri,
        socket: SocketAddr,
        protocol: Protocol,
        settings: &UpstreamTls,
        tls: Option<&ClientTls>,
    ) -> Self {
        let secure = Endpoint::is_secure(url);
        let name = || {
            let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let name = settings.server_name.as_deref().unwrap_or(host);
            ServerName::try_from(name.to_owned()).map_err(|_| NotAServerName(name.to_owned()))
        };
        Self { socket, protocol, secure, tls: tls.filter(|_| secure).map(|tls| (tls.clone(), name())) }
    }

    pub(crate) fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// Whether connections to the one are as good as connections to the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (Some((mine, my_name)), Some((theirs, their_name))) => mine.is_same(theirs) && my_name == their_name,
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        };
        self.socket == other.socket && self.protocol == other.protocol && self.secure == other.secure && same_tls
    }

    pub(crate) async fn connect(
        &self,
        metrics: Option<&UpstreamMetrics>,
        place: Option<ConnectionPermit>,
        open: &Rc<Open>,
    ) -> io::Result<Connected> {
        let stream = TcpStream::connect(self.socket).await?;
        stream.set_nodelay(true)?;
        let (io, agreed) = match &self.tls {
            // Nothing that was meant to be secret goes out in clear text because something is missing here.
            None if self.secure => return Err(io::Error::other("there are no settings for TLS")),
            None => (Io::Plain(stream), self.protocol == Protocol::Http2),
            Some((tls, name)) => {
                let name = name.clone().map_err(io::Error::other)?;
                let stream = TlsConnector::from(tls.config.clone()).connect(name, stream).await?;
                let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                if self.protocol == Protocol::Http2 && !agreed {
                    return Err(io::Error::other("the endpoint did not agree to HTTP/2 (ALPN)"));
                }
                (Io::Tls(Box::new(stream)), agreed)
            }
        };
        let counted = (metrics.map(UpstreamMetrics::connected), place);
        if agreed {
            return Ok(Connected::Http2(Mux::begin(io, counted, open.clone()).await?));
        }
        Ok(Connected::Http1(http1::Connection::new(io, counted)))
    }
}
