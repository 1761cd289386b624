//! Components from elsewhere: by HTTP with a digest, and from OCI registries. What was fetched is kept on
//! disk by its digest, so that nothing is fetched twice, and an unavailable registry does not prevent a
//! start.

mod error;
mod http;
mod kept;
mod oci;

use std::{fmt, sync::mpsc, thread, time::Duration};

use aws_lc_rs::digest;
use bytes::Bytes;

pub(crate) use error::FetchError;
pub(crate) use kept::{Kept, Tag};

/// Of a component.
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// For all of a fetch, programs that know credentials included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte.
const SILENCE: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("gateway/", env!("CARGO_PKG_VERSION"));

/// SHA-256 in hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Digest(String);

impl Digest {
    /// `None` if it is not 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| Self(text.to_ascii_lowercase()))
    }

    fn of(bytes: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, bytes);
        Self(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Http {
        url: String,
        digest: Digest,
    },
    /// `REGISTRY/REPOSITORY:TAG`, or with `@sha256:DIGEST` of the manifest.
    Oci(String),
}

/// What was fetched.
pub(crate) struct Fetched {
    pub bytes: Bytes,
    /// What the operator should know: it is not as fresh as it might be.
    pub warning: Option<String>,
    /// The tag that stands for it now. To be remembered when a configuration with it is installed (`Kept::remember`), so that a
    /// component that was rejected does not take the place of the one that runs.
    pub tag: Option<Tag>,
}

impl From<Bytes> for Fetched {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, warning: None, tag: None }
    }
}

/// Fetches what is wanted, or finds it where it was kept. Blocks; not for workers.
///
/// # Errors
///
/// It cannot be had, is another one than it should be, or is no component.
pub(crate) fn fetch(wanted: Wanted, kept: &Kept) -> Result<Fetched, FetchError> {
    if let Wanted::Http { digest, .. } = &wanted
        && let Some(bytes) = kept.component(digest)
    {
        return Ok(bytes.into());
    }
    let kept = kept.clone();
    let (done, result) = mpsc::channel();
    let fetching = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let fetched = match runtime {
            Ok(runtime) => runtime.block_on(async {
                let fetching = async {
                    match wanted {
                        Wanted::Http { url, digest } => http::fetch(&url, &digest, &kept).await.map(Fetched::from),
                        Wanted::Oci(reference) => oci::fetch(&reference, &kept).await,
                    }
                };
                // So that an abandoned download stops.
                tokio::time::timeout(FETCH_TIMEOUT, fetching).await.unwrap_or(Err(FetchError::Timeout(FETCH_TIMEOUT)))
            }),
            Err(error) => Err(FetchError::Start(error)),
        };
        // The receiver may be gone.
        let _ = done.send(fetched);
    };
    thread::Builder::new().name("fetch".into()).spawn(fetching).map_err(FetchError::Start)?;
    // A program that knows credentials blocks the thread that runs it, which does not come to an end in time then.
    result.recv_timeout(FETCH_TIMEOUT + CONNECT).unwrap_or(Err(FetchError::Timeout(FETCH_TIMEOUT)))
}
