//! From a registry (OCI distribution specification): an artifact with one layer that is a component.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    manifest::{OciDescriptor, OciManifest},
    secrets::RegistryAuth,
};
use tokio::io::AsyncWrite;

use super::{CONNECT, Digest, FetchError, Fetched, Kept, MOST_BYTES, SILENCE, Tag, USER_AGENT};

/// The layers that are components, by who wrote the artifact: today's tools, and those before them.
const COMPONENT: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

pub(super) async fn fetch(text: &str, kept: &Kept) -> Result<Fetched, FetchError> {
    let reference: Reference = text.parse().map_err(|error| FetchError::Reference(text.to_owned(), error))?;
    // What a digest names is always the same.
    let known = || kept.meant(text).and_then(|digest| kept.component(&digest));
    if reference.digest().is_some()
        && let Some(bytes) = known()
    {
        return Ok(bytes.into());
    }
    match pull(&reference, kept).await {
        Ok((digest, bytes)) => {
            kept.keep(&digest, &bytes);
            let tag = match reference.digest() {
                Some(_) => {
                    kept.learn(text, &digest);
                    None
                }
                None => Some(Tag { name: text.to_owned(), digest }),
            };
            Ok(Fetched { bytes, warning: None, tag })
        }
        Err(error) => match known().filter(|_| error.is_unavailable()) {
            Some(bytes) => {
                let warning = format!("{text} cannot be asked for, what it was last time stays: {error}");
                Ok(Fetched { bytes, warning: Some(warning), tag: None })
            }
            None => Err(error),
        },
    }
}

async fn pull(reference: &Reference, kept: &Kept) -> Result<(Digest, Bytes), FetchError> {
    let registry = reference.resolve_registry();
    let client = Client::new(ClientConfig {
        protocol: if is_here(registry) { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    });
    let auth = credentials(registry)?;
    let (manifest, _) = client.pull_manifest(reference, &auth).await.map_err(FetchError::Registry)?;
    let OciManifest::Image(manifest) = manifest else {
        return Err(FetchError::Index);
    };
    let layer = component_of(&manifest.layers)?;
    let digest = layer.digest.strip_prefix("sha256:").and_then(Digest::parse);
    let digest = digest.ok_or_else(|| FetchError::LayerDigest(layer.digest.clone()))?;
    if let Some(bytes) = kept.component(&digest) {
        return Ok((digest, bytes));
    }
    let most = usize::try_from(layer.size).unwrap_or_default();
    let mut bytes = AtMost { bytes: Vec::new(), most };
    // The client compares the digest.
    client.pull_blob(reference, layer, &mut bytes).await.map_err(FetchError::Registry)?;
    Ok((digest, bytes.bytes.into()))
}

/// Takes as many bytes as the manifest says, whatever the registry sends.
struct AtMost {
    bytes: Vec<u8>,
    most: usize,
}

impl AsyncWrite for AtMost {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, some: &[u8]) -> Poll<io::Result<usize>> {
        if some.len() > self.most - self.bytes.len() {
            return Poll::Ready(Err(io::Error::other("the registry sends more than the manifest says")));
        }
        self.bytes.extend_from_slice(some);
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The layer that is the component.
fn component_of(layers: &[OciDescriptor]) -> Result<&OciDescriptor, FetchError> {
    let found: Vec<_> = layers.iter().filter(|layer| COMPONENT.contains(&&*layer.media_type)).collect();
    let [layer] = found[..] else {
        let types: Vec<_> = layers.iter().map(|layer| &*layer.media_type).take(8).collect();
        return Err(FetchError::Layers { found: found.len(), wanted: COMPONENT[0], types: types.join(", ") });
    };
    match usize::try_from(layer.size) {
        Ok(size) if size <= MOST_BYTES => Ok(layer),
        _ => Err(FetchError::TooLarge(MOST_BYTES)),
    }
}

/// Whether a registry is on this machine: it is spoken to in clear text then, as Docker does.
fn is_here(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Those that Docker's configuration has for the registry (`DOCKER_CONFIG`, `~/.docker/config.json`), programs that know them
/// included.
fn credentials(registry: &str) -> Result<RegistryAuth, FetchError> {
    // By this name `docker login` keeps them.
    let name = if registry == "index.docker.io" { "https://index.docker.io/v1/" } else { registry };
    match docker_credential::get_credential(name) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => Err(FetchError::IdentityToken(registry.to_owned())),
        Err(
            CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError
            | CredentialRetrievalError::NoCredentialConfigured,
        ) => Ok(RegistryAuth::Anonymous),
        // So say those programs that have none.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => {
            Ok(RegistryAuth::Anonymous)
        }
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(FetchError::CredentialHelper { helper, registry: registry.to_owned() })
        }
        Err(error) => Err(FetchError::Credentials(registry.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn only_registries_on_this_machine_are_spoken_to_in_clear_text() {
        for here in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            assert!(is_here(here), "{here}");
        }
        for there in ["ghcr.io", "localhost.example.com:5000", "10.0.0.1:5000", "index.docker.io"] {
            assert!(!is_here(there), "{there}");
        }
    }

    #[tokio::test]
    async fn no_more_is_taken_than_the_manifest_says() {
        let mut bytes = AtMost { bytes: Vec::new(), most: 5 };
        bytes.write_all(b"12345").await.unwrap();
        assert!(bytes.write_all(b"6").await.is_err());
        assert_eq!(bytes.bytes, b"12345");
    }

    #[test]
    fn of_several_layers_the_one_that_is_a_component_is_taken() {
        let layer =
            |media_type: &str, size| OciDescriptor { media_type: media_type.into(), size, ..Default::default() };
        let component = layer("application/wasm", 10);
        let layers = [layer("text/plain", 1), component.clone()];
        assert_eq!(component_of(&layers).unwrap().size, 10);
        let none = component_of(&[layer("application/vnd.oci.image.layer.v1.tar+gzip", 1)]).unwrap_err().to_string();
        assert!(none.starts_with("it has 0 layers of application/wasm, and not one: application/vnd.oci"), "{none}");
        assert!(component_of(&[component.clone(), component]).is_err());
        assert_eq!(component_of(&[layer("application/wasm", 1 << 40)]).unwrap_err().to_string(), "it is over 256 MiB");
        assert!(component_of(&[layer("application/wasm", -1)]).is_err());
    }
}
