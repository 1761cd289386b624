//! TLS termination: which certificate answers which server name.

use std::{collections::HashMap, fmt, io, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use webpki::EndEntityCert;

use crate::config::model::{CertificateFiles, ListenerTls, TlsVersion};

/// Loads a listener's certificates. The error names the file.
pub fn server_config(tls: &ListenerTls) -> io::Result<Arc<ServerConfig>> {
    let versions: &[_] = match tls.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates::load(&tls.certificates)?));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Certificates by the names in them (RFC 6125 §6.4.3: a wildcard stands for one whole leftmost label).
struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// For clients that name no server or an unknown one: the first in the file.
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    fn load(files: &[CertificateFiles]) -> io::Result<Self> {
        let mut all = Self { exact: HashMap::new(), wildcard: HashMap::new(), default: None };
        for files in files {
            let key = Arc::new(load(files)?);
            let leaf = key.cert.first().ok_or_else(|| broken(&files.cert, "holds no certificate"))?;
            let leaf = EndEntityCert::try_from(leaf).map_err(|error| broken(&files.cert, error))?;
            for name in leaf.valid_dns_names() {
                let name = name.to_ascii_lowercase();
                // The first certificate in the file that has a name keeps it.
                match name.strip_prefix("*.") {
                    Some(rest) => all.wildcard.entry(rest.to_owned()).or_insert_with(|| key.clone()),
                    None => all.exact.entry(name).or_insert_with(|| key.clone()),
                };
            }
            all.default.get_or_insert(key);
        }
        Ok(all)
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(wildcard)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.default.as_ref()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("exact", &self.exact.keys())
            .field("wildcard", &self.wildcard.keys())
            .finish()
    }
}

fn load(files: &CertificateFiles) -> io::Result<CertifiedKey> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(|certificates| certificates.collect::<Result<_, _>>())
        .map_err(|error| broken(&files.cert, error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| broken(&files.key, error))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| broken(&files.key, error))
}

fn broken(path: &Path, error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
}
