//! TLS towards upstreams: certificate verification.

use std::{io, path::Path, sync::Arc};

use gateway_core::model::{Protocol, UpstreamTls};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};

/// What it takes to open TLS connections to one upstream; the same for all workers.
#[derive(Clone)]
pub struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    /// Tells two configurations apart: the trusted CAs and the client certificate, in DER.
    identity: Arc<[Vec<u8>]>,
    verifies: bool,
}

impl ClientTls {
    /// With a `ca` only its certificates are trusted; otherwise the system's.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or holds no usable certificate or key.
    pub fn load(settings: &UpstreamTls, protocol: Protocol) -> io::Result<Self> {
        let certificates: Vec<CertificateDer<'static>> = match &settings.ca {
            Some(path) => read_certificates(path)?,
            None if settings.verify => rustls_native_certs::load_native_certs().certs,
            None => Vec::new(),
        };
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if added == 0 && settings.ca.is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "holds no usable certificate"));
        }
        // Named, because the default depends on what else is linked.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let anyone = Anyone(provider.clone());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let (mut config, shown) = match &settings.certificate {
            None => (builder.with_no_client_auth(), Vec::new()),
            Some(files) => {
                let chain = read_certificates(&files.cert)?;
                let key = PrivateKeyDer::from_pem_file(&files.key).map_err(invalid)?;
                (builder.with_client_auth_cert(chain.clone(), key).map_err(io::Error::other)?, chain)
            }
        };
        if !settings.verify {
            config.dangerous().set_certificate_verifier(Arc::new(anyone));
        }
        let offered: &[&[u8]] = match protocol {
            Protocol::Auto => &[b"h2", b"http/1.1"],
            Protocol::Http1 => &[b"http/1.1"],
            Protocol::Http2 => &[b"h2"],
            Protocol::Tcp => &[],
        };
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let identity = certificates.iter().chain(&shown).map(|c| c.to_vec()).collect();
        Ok(Self { config: Arc::new(config), identity, verifies: settings.verify })
    }

    /// The trusted CAs and the client certificate, in DER.
    pub(crate) fn certificates(&self) -> &[Vec<u8>] {
        &self.identity
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = self.identity == other.identity
            && self.verifies == other.verifies
            && self.config.alpn_protocols == other.config.alpn_protocols;
        Arc::ptr_eq(&self.config, &other.config) || same
    }
}

/// Accepts every certificate, and still verifies that the peer owns its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn invalid(error: pem::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn read_certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path).map_err(invalid)?.collect::<Result<_, _>>().map_err(invalid)
}
