//! A file by HTTP, which is the right one if its digest is.

use bytes::{Bytes, BytesMut};

use super::{CONNECT, Digest, FetchError, Kept, MOST_BYTES, SILENCE, USER_AGENT};

pub(super) async fn fetch(url: &str, digest: &Digest, kept: &Kept) -> Result<Bytes, FetchError> {
    let bytes = download(url).await?;
    let found = Digest::of(&bytes);
    if found != *digest {
        return Err(FetchError::AnotherDigest { found, wanted: digest.clone() });
    }
    kept.keep(&found, &bytes);
    Ok(bytes)
}

async fn download(url: &str) -> Result<Bytes, FetchError> {
    // What it was asked for stands beside the error already, without the credentials that the library would show.
    let told = |error: reqwest::Error| FetchError::Http(error.without_url());
    let client = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).user_agent(USER_AGENT);
    let client = client.build().map_err(told)?;
    let mut response = client.get(url).send().await.map_err(told)?;
    if !response.status().is_success() {
        return Err(FetchError::Status(response.status()));
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        if bytes.len() + chunk.len() > MOST_BYTES {
            return Err(FetchError::TooLarge(MOST_BYTES));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
