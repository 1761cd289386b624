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
    errors::OciDistributionError,
    manifest::{OciDescriptor, OciManifest},
    secrets::RegistryAuth,
};
use tokio::io::AsyncWrite;

use super::{CONNECT, Digest, Fetched, Kept, MOST_BYTES, SILENCE, Tag, USER_AGENT, explained};

/// The layers that are components, by who wrote the artifact: today's tools, and those before them.
const COMPONENT: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

pub(super) async fn fetch(text: &str, kept: &Kept) -> Result<Fetched, String> {
    let reference: Reference = text.parse().map_err(|error| format!("`{text}` is no reference: {error}"))?;
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
        // It is as good as it was.
        Err(Failed::Away(why)) => match known() {
            Some(bytes) => {
                let warning = format!("{text} cannot be asked for, what it was last time stays: {why}");
                Ok(Fetched { bytes, warning: Some(warning), tag: None })
            }
            None => Err(why),
        },
        Err(Failed::Wrong(why)) => Err(why),
    }
}

enum Failed {
    /// The registry cannot be reached, or is out of order.
    Away(String),
    /// It answers, and not with a component.
    Wrong(String),
}

impl From<OciDistributionError> for Failed {
    fn from(error: OciDistributionError) -> Self {
        let why = explained(&error);
        match error {
            OciDistributionError::RequestError(_) => Self::Away(why),
            OciDistributionError::ServerError { code, .. } if code >= 500 => Self::Away(why),
            _ => Self::Wrong(why),
        }
    }
}

async fn pull(reference: &Reference, kept: &Kept) -> Result<(Digest, Bytes), Failed> {
    let registry = reference.resolve_registry();
    let client = Client::new(ClientConfig {
        protocol: if is_here(registry) { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    });
    let auth = credentials(registry).map_err(Failed::Wrong)?;
    let (manifest, _) = client.pull_manifest(reference, &auth).await?;
    let OciManifest::Image(manifest) = manifest else {
        return Err(Failed::Wrong("it is an index of several artifacts, and not one with a component".to_owned()));
    };
    let layer = component_of(&manifest.layers).map_err(Failed::Wrong)?;
    let digest = layer.digest.strip_prefix("sha256:").and_then(Digest::parse);
    let digest = digest.ok_or_else(|| Failed::Wrong(format!("its digest `{}` is not of SHA-256", layer.digest)))?;
    if let Some(bytes) = kept.component(&digest) {
        return Ok((digest, bytes));
    }
    let most = usize::try_from(layer.size).unwrap_or_default();
    let mut bytes = AtMost { bytes: Vec::new(), most };
    // The client compares the digest.
    client.pull_blob(reference, layer, &mut bytes).await?;
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
fn component_of(layers: &[OciDescriptor]) -> Result<&OciDescriptor, String> {
    let found: Vec<_> = layers.iter().filter(|layer| COMPONENT.contains(&&*layer.media_type)).collect();
    let [layer] = found[..] else {
        let types: Vec<_> = layers.iter().map(|layer| &*layer.media_type).take(8).collect();
        let found = found.len();
        return Err(format!("it has {found} layers of {}, and not one: {}", COMPONENT[0], types.join(", ")));
    };
    match usize::try_from(layer.size) {
        Ok(size) if size <= MOST_BYTES => Ok(layer),
        _ => Err(format!("it is over {} MiB", MOST_BYTES >> 20)),
    }
}

/// Whether a registry is on this machine: it is spoken to in clear text then, as Docker does.
fn is_here(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Those that Docker's configuration has for the registry (`DOCKER_CONFIG`, `~/.docker/config.json`), programs that know them
/// included.
fn credentials(registry: &str) -> Result<RegistryAuth, String> {
    // By this name `docker login` keeps them.
    let name = if registry == "index.docker.io" { "https://index.docker.io/v1/" } else { registry };
    match docker_credential::get_credential(name) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => Err(format!(
            "Docker's configuration has an identity token for {registry}, which is not supported: log in with a name and a password"
        )),
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
            Err(format!("{helper}, which Docker's configuration names for {registry}, does not tell its credentials"))
        }
        Err(error) => Err(format!("Docker's configuration, about {registry}: {error}")),
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
        let none = component_of(&[layer("application/vnd.oci.image.layer.v1.tar+gzip", 1)]).unwrap_err();
        assert!(none.starts_with("it has 0 layers of application/wasm, and not one: application/vnd.oci"), "{none}");
        assert!(component_of(&[component.clone(), component]).is_err());
        assert_eq!(component_of(&[layer("application/wasm", 1 << 40)]).unwrap_err(), "it is over 256 MiB");
        assert!(component_of(&[layer("application/wasm", -1)]).is_err());
    }
}
