//! TLS towards upstreams: whom we believe.

use std::{io, path::Path, sync::Arc};

use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};

/// What it takes to open TLS connections to one upstream; the same for all workers.
#[derive(Clone)]
pub struct ClientTls {
    pub config: Arc<ClientConfig>,
    /// Tells two configurations apart: the certificates believed, in DER.
    roots: Arc<[Vec<u8>]>,
}

impl ClientTls {
    /// With `ca`, a PEM file, only its certificates are believed; otherwise the system's.
    pub fn load(ca: Option<&Path>) -> io::Result<Self> {
        let certificates: Vec<CertificateDer<'static>> = match ca {
            Some(path) => read_certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if added == 0 && ca.is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "holds no usable certificate"));
        }
        // Named, because the default depends on what else is linked.
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), roots: certificates.iter().map(|c| c.to_vec()).collect() })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) || self.roots == other.roots
    }
}

fn read_certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let invalid = |error: rustls::pki_types::pem::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    CertificateDer::pem_file_iter(path).map_err(invalid)?.collect::<Result<_, _>>().map_err(invalid)
}
