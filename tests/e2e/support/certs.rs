//! An authority of the test's own, its certificates as files, and clients that believe it.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::in_time;

/// Signs certificates, each of which is written where a configuration can name it.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A client's certificate with its key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the test's authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Writes `FILE.pem` and `FILE.key` for these names, and returns the certificate.
    pub fn issue(&self, folder: &Path, file: &str, names: &[&str]) -> CertificateDer<'static> {
        self.issue_for(&KeyPair::generate().expect("a key"), folder, file, names)
    }

    /// As `issue`, with an RSA key.
    pub fn issue_rsa(&self, folder: &Path, file: &str, names: &[&str]) -> CertificateDer<'static> {
        self.issue_for(&KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key"), folder, file, names)
    }

    fn issue_for(&self, key: &KeyPair, folder: &Path, file: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("valid names");
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        std::fs::write(folder.join(file).with_extension("pem"), certificate.pem()).expect("a file");
        std::fs::write(folder.join(file).with_extension("key"), key.serialize_pem()).expect("a file");
        certificate.der().clone()
    }

    /// A certificate for a client of this name.
    pub fn identify(&self, common_name: &str, names: Vec<SanType>) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        Identity { certificate, key: PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8") }
    }

    /// For clients that read files.
    pub fn write(&self, file: &Path) {
        std::fs::write(file, self.certificate.pem()).expect("a file");
    }

    /// A client that believes this authority and offers these protocols.
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_of_versions(alpn, rustls::ALL_VERSIONS)
    }

    pub fn client_of_versions(&self, alpn: &[&str], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        self.client_as(None, alpn, versions)
    }

    /// A client that takes keys of these kinds only, as its signature schemes and its cipher suites of TLS 1.2 say.
    pub fn client_of_keys(
        &self,
        schemes: &[SignatureScheme],
        suites: &[SupportedCipherSuite],
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a root certificate");
        let provider = CryptoProvider { cipher_suites: suites.to_vec(), ..aws_lc_rs::default_provider() };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider.clone()));
        let verifier = OfSchemes { inner: verifier.build().expect("a verifier"), schemes: schemes.to_vec() };
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("versions that fit the provider")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()
    }

    /// A client that shows a certificate of its own, whoever signed it.
    pub fn client_as(
        &self,
        identity: Option<&Identity>,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a root certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions that fit the provider")
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => builder
                .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())
                .expect("a certificate with its key"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }
}

/// Verifies as always, and tells the server of some signature schemes only.
#[derive(Debug)]
struct OfSchemes {
    inner: Arc<WebPkiServerVerifier>,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for OfSchemes {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// A handshake without a request, for looking at what was agreed. An address as the name sends no SNI.
pub async fn handshake(address: SocketAddr, name: &str, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    handshake_on(TcpStream::connect(address).await?, name, config).await
}

/// The same on a connection of the test's making.
pub async fn handshake_on(stream: TcpStream, name: &str, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    in_time("the TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}
