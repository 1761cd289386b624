//! A certificate for `localhost`, in files, as the configuration wants it.

use std::{fs, io, path::Path};

use rcgen::{CertificateParams, KeyPair};

/// Names of the files in the demo's folder.
pub(super) const CERTIFICATE: &str = "demo.pem";
pub(super) const KEY: &str = "demo.key";

/// Makes a key and a certificate that is signed with it.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = CertificateParams::new(names).and_then(|params| params.self_signed(&key));
    fs::write(folder.join(CERTIFICATE), certificate.map_err(io::Error::other)?.pem())?;
    fs::write(folder.join(KEY), key.serialize_pem())
}
