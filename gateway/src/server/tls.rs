//! TLS termination: which certificate answers which server name, which clients show one of their own, and which
//! sessions can be resumed.

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::aws_lc_rs::digest;
use rustls::{
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{
        ClientHello, NoClientAuth, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    config::model::{CertificateFiles, ClientCertificateMode, ClientCertificates, ListenerTls, TlsVersion},
    http::secured::{ClientCertificate, Secured},
    telemetry::metrics::ConnectionFailure,
};

/// Sessions of clients that take no tickets, for each listener; a client that takes them keeps its own.
const SESSIONS: usize = 4096;

/// A listener's TLS, ready for all workers.
pub struct Termination {
    pub config: Arc<ServerConfig>,
    /// What it believes about clients, as it was when it was loaded.
    clients: Option<Believed>,
    /// The leaves, in the order of the configuration.
    leaves: Vec<CertificateDer<'static>>,
}

/// Whose certificates clients may show.
#[derive(PartialEq, Eq)]
struct Believed {
    authorities: Vec<CertificateDer<'static>>,
    mode: ClientCertificateMode,
}

impl Termination {
    /// Loads a listener's certificates. The error names the file.
    ///
    /// Sessions belong to a listener, and outlive a reload only if it believes the same about clients as `before`:
    /// whoever resumes one is not asked for a certificate again. Tickets are sealed with keys that rustls changes
    /// every six hours. There is no early data (0-RTT), because it can be replayed.
    pub fn load(tls: &ListenerTls, before: Option<&Self>) -> io::Result<Self> {
        let versions: &[_] = match tls.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = tls.client_certificates.as_ref().map(Believed::load).transpose()?;
        let verifier = match &clients {
            Some(believed) => believed.verifier(&provider)?,
            None => Arc::new(NoClientAuth),
        };
        let certificates = Certificates::load(&tls.certificates)?;
        let leaves = certificates.all.iter().filter_map(|key| key.cert.first().cloned()).collect();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        match before.filter(|before| before.clients == clients) {
            Some(before) => {
                config.ticketer = before.config.ticketer.clone();
                config.session_storage = before.config.session_storage.clone();
            }
            None => {
                config.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
                config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            }
        }
        Ok(Self { config: Arc::new(config), clients, leaves })
    }
}

impl Termination {
    /// What operators may know of its certificates.
    pub fn shown(&self) -> impl Iterator<Item = Shown> {
        self.leaves.iter().filter_map(Shown::read)
    }
}

/// A certificate as operators see it. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
    /// Hexadecimal.
    pub serial: String,
    /// SHA-256, hexadecimal.
    pub fingerprint: String,
    pub not_before: i64,
    pub not_after: i64,
}

impl Shown {
    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let digest = digest::digest(&digest::SHA256, certificate);
        Some(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            names: dns_names(certificate),
            serial: parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            fingerprint: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }
}

/// The DNS names in a certificate, in lower case.
pub fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let leaf = EndEntityCert::try_from(certificate);
    leaf.map(|leaf| leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()).unwrap_or_default()
}

impl Believed {
    fn load(clients: &ClientCertificates) -> io::Result<Self> {
        let read = |path: &PathBuf| certificates(path);
        let authorities = clients.ca.iter().map(read).collect::<io::Result<Vec<_>>>()?.concat();
        Ok(Self { authorities, mode: clients.mode })
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> io::Result<Arc<dyn ClientCertVerifier>> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.clone()).map_err(io::Error::other)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = match self.mode {
            ClientCertificateMode::Required => builder,
            ClientCertificateMode::Optional => builder.allow_unauthenticated(),
        };
        builder.build().map_err(io::Error::other)
    }
}

/// What a connection says about itself and its client after the handshake. A resumed session has the certificate
/// that its client showed when it began.
pub(super) fn secured(connection: &ServerConnection) -> Secured {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "1.3",
    };
    let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let client = connection.peer_certificates().and_then(|chain| ClientCertificate::read(chain.first()?));
    Secured { version, cipher, server_name: connection.server_name().map(Into::into), client: client.map(Box::new) }
}

/// What an operator has to look at when a handshake fails.
pub(super) fn failure_of(error: &io::Error) -> ConnectionFailure {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            ConnectionFailure::ClientCertificate
        }
        _ => ConnectionFailure::TlsHandshake,
    }
}

/// Certificates by the names in them (RFC 6125 §6.4.3: a wildcard stands for one whole leftmost label).
struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// The first one is for clients that name no server or an unknown one.
    all: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    fn load(files: &[CertificateFiles]) -> io::Result<Self> {
        let mut all = Self { exact: HashMap::new(), wildcard: HashMap::new(), all: Vec::new() };
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
            all.all.push(key);
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
        hello.server_name().and_then(|name| self.find(name)).or(self.all.first()).cloned()
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
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| broken(&files.key, error))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| broken(&files.key, error))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<_, _>>())
        .map_err(|error| broken(path, error))
}

fn broken(path: &Path, error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
}
