//! What the configuration names on disk and in the environment.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use rustls::{
    Error, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};

/// Larger PEM files and secrets are a mistake.
const MOST: u64 = 1024 * 1024;
/// What a plugin reads is kept in memory, and once more in each of its instances.
pub(super) const MOST_FOR_PLUGINS: u64 = 16 * 1024 * 1024;

/// The whole file, if it is a file and not too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_up_to(path, MOST)
}

pub(super) fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let cannot = |reason: &str| format!("cannot read `{}`: {reason}", path.display());
    let file = File::open(path).map_err(|e| cannot(&reason(&e)))?;
    let is_directory = file.metadata().map_err(|e| cannot(&reason(&e)))?.is_dir();
    if is_directory {
        return Err(cannot("it is a folder"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| cannot(&reason(&e)))?;
    if bytes.len() as u64 > most {
        return Err(cannot(&format!("it is over {} MiB", most >> 20)));
    }
    Ok(bytes)
}

/// An operating system's error without its number.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("`{}` holds no certificate in PEM form", path.display())),
        Err(_) => Err(format!("`{}` is damaged: not valid PEM", path.display())),
    }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(&bytes, b"ENCRYPTED PRIVATE KEY") => {
            format!("the private key in `{}` is encrypted; decrypt it, for example with `openssl pkey`", path.display())
        }
        pem::Error::NoItemsFound => format!("`{}` holds no private key in PEM form", path.display()),
        _ => format!("`{}` is damaged: not valid PEM", path.display()),
    })
}

/// Both together, if the key belongs to the first certificate and they can be used.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
        Error::InconsistentKeys(_) => "the private key does not belong to the certificate".to_owned(),
        Error::InvalidCertificate(_) => "the certificate is not valid".to_owned(),
        other => format!("the private key cannot be used: {}", other.to_string().to_lowercase()),
    })
}

/// Whether all certificates in a file can be trusted as authorities.
pub(super) fn authorities(path: &Path) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|_| format!("`{}` holds a certificate that is not valid", path.display()))?;
    }
    Ok(())
}

/// Whether a file can be appended to: its folder is there, it is no folder itself, and an ordinary file can be written.
pub(super) fn can_append(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Err(format!("`{}` is a folder", path.display()));
    }
    // A pipe would wait for its reader.
    if path.is_file()
        && let Err(error) = File::options().append(true).open(path)
    {
        return Err(format!("cannot write `{}`: {}", path.display(), reason(&error)));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(format!("there is no folder `{}`", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Whether a file can be renamed when it is full: what is neither there nor an ordinary file (a device, a pipe,
/// a link) would be something else afterwards.
pub(super) fn can_rotate(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            Err(format!("`{}` is not an ordinary file and cannot be rotated; leave out `rotate`", path.display()))
        }
        _ => Ok(()),
    }
}

/// The same for every way of writing the path to a file that may not be there yet.
pub(super) fn identity(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
