//! TLS termination: which certificate answers which server name, which clients show one of their own, and which
//! sessions can be resumed.

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::aws_lc_rs::digest;
use gateway_core::model::{CertificateFiles, ClientCertificateMode, ClientCertificates, ListenerTls, TlsVersion};
use gateway_http::secured::{ClientCertificate, Secured, dns_names};
use gateway_telemetry::metrics::ConnectionFailure;
use rustls::{
    CipherSuite, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{
        ClientHello, NoClientAuth, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use smallvec::SmallVec;
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Sessions of clients that take no tickets, for each listener; a client that takes them keeps its own.
const SESSIONS: usize = 4096;

/// A listener's TLS, ready for all workers.
pub struct Termination {
    pub config: Arc<ServerConfig>,
    /// The client certificate settings, as loaded.
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
    /// Sessions belong to a listener, and outlive a reload only if its client certificate settings equal
    /// those of `before`: a client that resumes one is not asked for a certificate again. Tickets are sealed
    /// with keys that rustls changes every six hours. There is no early data (0-RTT), because it can be
    /// replayed.
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
///
/// Several may have the same name, with keys of different kinds, and the client says which kinds it takes (RFC 8446
/// §4.2.3). As in Envoy and HAProxy, one with an RSA key is for clients that take no other: all clients take RSA, and it
/// costs the most. Among those with keys of one kind, the first in the configuration answers.
struct Certificates {
    exact: HashMap<String, Keys>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Keys>,
    /// For clients that name no server or an unknown one.
    all: Keys,
}

/// In the order in which they are tried.
type Keys = SmallVec<[Arc<CertifiedKey>; 2]>;

impl Certificates {
    fn load(files: &[CertificateFiles]) -> io::Result<Self> {
        let mut all = Self { exact: HashMap::new(), wildcard: HashMap::new(), all: Keys::new() };
        for files in files {
            let key = Arc::new(load(files)?);
            let leaf = key.cert.first().ok_or_else(|| broken(&files.cert, "holds no certificate"))?;
            let leaf = EndEntityCert::try_from(leaf).map_err(|error| broken(&files.cert, error))?;
            for name in leaf.valid_dns_names() {
                let name = name.to_ascii_lowercase();
                let keys = match name.strip_prefix("*.") {
                    Some(rest) => all.wildcard.entry(rest.to_owned()),
                    None => all.exact.entry(name),
                };
                keys.or_default().push(key.clone());
            }
            all.all.push(key);
        }
        for keys in all.exact.values_mut().chain(all.wildcard.values_mut()) {
            keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
        }
        Ok(all)
    }

    /// The certificate for a name, of those that the client can use; one that it cannot if there is no other.
    fn find(&self, name: &str, client: &Client<'_>) -> Option<&Arc<CertifiedKey>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.exact.get(&name);
        let wildcard = name.split_once('.').and_then(|(_, rest)| self.wildcard.get(rest));
        let mut keys = exact.into_iter().chain(wildcard).flatten();
        let first = keys.clone().next();
        keys.find(|key| client.takes(key)).or(first)
    }

    fn any(&self, client: &Client<'_>) -> Option<&Arc<CertifiedKey>> {
        self.all.iter().find(|key| client.takes(key)).or(self.all.first())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let client = Client { schemes: hello.signature_schemes(), suites: hello.cipher_suites() };
        hello.server_name().and_then(|name| self.find(name, &client)).or_else(|| self.any(&client)).cloned()
    }
}

/// What a client says about the keys that it takes.
struct Client<'a> {
    schemes: &'a [SignatureScheme],
    suites: &'a [CipherSuite],
}

impl Client<'_> {
    /// Whether a handshake with this key can succeed. In TLS 1.2 the cipher suite names the kind of key as well.
    fn takes(&self, key: &CertifiedKey) -> bool {
        let kind = match key.key.algorithm() {
            SignatureAlgorithm::RSA => "_ECDHE_RSA_",
            _ => "_ECDHE_ECDSA_",
        };
        let fits =
            |suite: &CipherSuite| suite.as_str().is_some_and(|name| name.starts_with("TLS13_") || name.contains(kind));
        key.key.choose_scheme(self.schemes).is_some() && self.suites.iter().any(fits)
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
