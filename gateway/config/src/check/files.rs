//! What the configuration names on disk and in the environment.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};
use thiserror::Error;

/// Larger PEM files and secrets are a mistake.
const MOST: u64 = 1024 * 1024;
/// What a plugin reads is kept in memory, and once more in each of its instances.
pub(super) const MOST_FOR_PLUGINS: u64 = 16 * 1024 * 1024;

/// Why a file or its contents cannot be used.
#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error("cannot read `{}`: {}", .0.display(), reason(.1))]
    Read(PathBuf, #[source] io::Error),
    #[error("cannot read `{}`: it is a folder", .0.display())]
    ReadFolder(PathBuf),
    #[error("cannot read `{}`: it is over {} MiB", .0.display(), .1 >> 20)]
    TooLarge(PathBuf, u64),
    #[error("`{}` is damaged: not valid PEM", .0.display())]
    Damaged(PathBuf, #[source] pem::Error),
    #[error("`{}` holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    #[error("`{}` holds a certificate that is not valid", .0.display())]
    InvalidAuthority(PathBuf, #[source] rustls::Error),
    #[error("the private key in `{}` is encrypted; decrypt it, for example with `openssl pkey`", .0.display())]
    EncryptedKey(PathBuf),
    #[error("`{}` holds no private key in PEM form", .0.display())]
    NoKey(PathBuf),
    #[error("the private key does not belong to the certificate")]
    KeyOfAnother,
    #[error("the certificate is not valid")]
    InvalidCertificate(#[source] rustls::Error),
    #[error("the private key cannot be used: {}", .0.to_string().to_lowercase())]
    UnusableKey(#[source] rustls::Error),
    #[error("`{}` is a folder", .0.display())]
    WriteFolder(PathBuf),
    #[error("cannot write `{}`: {}", .0.display(), reason(.1))]
    Write(PathBuf, #[source] io::Error),
    #[error("there is no folder `{}`", .0.display())]
    NoFolder(PathBuf),
    #[error("`{}` is not an ordinary file and cannot be rotated; leave out `rotate`", .0.display())]
    NotRotatable(PathBuf),
}

/// The whole file, if it is a file and not too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    read_up_to(path, MOST)
}

pub(super) fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let unreadable = |error| FileError::Read(path.to_owned(), error);
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(FileError::ReadFolder(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(FileError::TooLarge(path.to_owned(), most));
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

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(FileError::NoCertificate(path.to_owned())),
        Err(error) => Err(FileError::Damaged(path.to_owned(), error)),
    }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(&bytes, b"ENCRYPTED PRIVATE KEY") => {
            FileError::EncryptedKey(path.to_owned())
        }
        pem::Error::NoItemsFound => FileError::NoKey(path.to_owned()),
        error => FileError::Damaged(path.to_owned(), error),
    })
}

/// Both together, if the key belongs to the first certificate and they can be used.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, FileError> {
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => FileError::KeyOfAnother,
        error @ rustls::Error::InvalidCertificate(_) => FileError::InvalidCertificate(error),
        other => FileError::UnusableKey(other),
    })
}

/// Whether all certificates in a file can be trusted as authorities.
pub(super) fn authorities(path: &Path) -> Result<(), FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| FileError::InvalidAuthority(path.to_owned(), error))?;
    }
    Ok(())
}

/// Whether a file can be appended to: its folder is there, it is no folder itself, and an ordinary file can be written.
pub(super) fn can_append(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Err(FileError::WriteFolder(path.to_owned()));
    }
    // A pipe would wait for its reader.
    if path.is_file()
        && let Err(error) = File::options().append(true).open(path)
    {
        return Err(FileError::Write(path.to_owned(), error));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(FileError::NoFolder(folder.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Whether a file can be renamed when it is full: what is neither there nor an ordinary file (a device, a pipe,
/// a link) would be something else afterwards.
pub(super) fn can_rotate(path: &Path) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => Err(FileError::NotRotatable(path.to_owned())),
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
