//! Checksums and signatures: what `sha256sum --check` and `cosign verify-blob --key` verify.

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64ct::{Base64, Encoding};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::json;

use crate::{hash::sha256, project::json};

pub const SUMS: &str = "SHA256SUMS";
pub const PUBLIC_KEY: &str = "gateway.pub";

/// An ECDSA key on the curve P-256, as `cosign generate-key-pair` and `openssl genpkey` make them.
pub struct Key(EcdsaKeyPair);

impl Key {
    /// Reads a key in PKCS#8 that is not encrypted.
    pub fn read(file: &Path) -> Result<Self> {
        let cannot =
            || format!("{} is not a private key: `BEGIN PRIVATE KEY`, ECDSA P-256, not encrypted", file.display());
        let pem = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let key =
            PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|error| anyhow!("{error:?}")).with_context(cannot)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_pkcs8_der());
        Ok(Self(pair.map_err(|error| anyhow!("{error}")).with_context(cannot)?))
    }

    /// Base64 of the signature in DER, over the SHA-256 of the content. Two signatures differ: each has a random number in
    /// it.
    pub fn sign(&self, content: &[u8]) -> Result<String> {
        let signature = self.0.sign(&SystemRandom::new(), content).context("cannot sign")?;
        Ok(Base64::encode_string(signature.as_ref()))
    }

    /// The public key as PEM.
    pub fn public(&self) -> Result<String> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().context("cannot write the public key")?;
        let text = Base64::encode_string(der.as_ref());
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
    }
}

/// What cosign signs of an image: the digest of its manifest ("simple signing").
pub fn image_payload(digest: &str) -> Vec<u8> {
    json(&json!({
        "critical": {
            "identity": { "docker-reference": "" },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    }))
}

/// A line for each file.
pub fn sums<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    files.into_iter().map(|(name, content)| format!("{}  {name}\n", sha256(content))).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::project::Run;

    fn openssl(folder: &Path, args: &str) -> Result<String> {
        Command::new("openssl").args(args.split(' ')).current_dir(folder).output_text()
    }

    #[test]
    fn openssl_verifies_a_signature_and_refuses_it_for_other_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        openssl(folder.path(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem").unwrap();
        openssl(folder.path(), "pkey -in key.pem -pubout -out expected.pem").unwrap();
        let key = Key::read(&file("key.pem")).unwrap();
        assert_eq!(key.public().unwrap(), fs::read_to_string(file("expected.pem")).unwrap());
        fs::write(file("key.pub"), key.public().unwrap()).unwrap();
        fs::write(file("a"), "content").unwrap();
        fs::write(file("b"), "Content").unwrap();
        fs::write(file("sig.b64"), key.sign(b"content").unwrap()).unwrap();
        openssl(folder.path(), "base64 -d -A -in sig.b64 -out sig").unwrap();
        openssl(folder.path(), "dgst -sha256 -verify key.pub -signature sig a").unwrap();
        openssl(folder.path(), "dgst -sha256 -verify key.pub -signature sig b").unwrap_err();
    }

    #[test]
    fn other_keys_are_refused_with_what_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        for make in ["genpkey -algorithm ED25519 -out key.pem", "ecparam -name prime256v1 -genkey -noout -out key.pem"]
        {
            openssl(folder.path(), make).unwrap();
            let error = Key::read(&folder.path().join("key.pem")).err().unwrap();
            assert!(error.to_string().contains("ECDSA P-256"), "{error}");
        }
    }

    #[test]
    fn sha256sum_checks_the_sums() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "content").unwrap();
        fs::write(folder.path().join(SUMS), sums([("a", &b"content"[..])])).unwrap();
        let check = || Command::new("sha256sum").args(["--check", "--strict", SUMS]).current_dir(folder.path()).run();
        check().unwrap();
        fs::write(folder.path().join("a"), "Content").unwrap();
        check().unwrap_err();
    }
}
