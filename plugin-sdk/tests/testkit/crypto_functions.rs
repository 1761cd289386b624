//! Signatures and keys, which are computed as in the gateway.

use super::*;

#[test]
fn signatures_are_really_checked() {
    TestHost::new().run(|| {
        // RFC 4231 §4.3.
        let tag: Vec<u8> = (0..64)
            .step_by(2)
            .map(|i| &"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"[i..i + 2])
            .map(|octet| u8::from_str_radix(octet, 16).expect("it is hexadecimal"))
            .collect();
        let message = b"what do ya want for nothing?";
        assert_eq!(crypto::verify(Algorithm::Hs256, b"Jefe", message, &tag), Ok(true));
        assert_eq!(crypto::verify(Algorithm::Hs256, b"Jefe", b"nothing", &tag), Ok(false));
        assert!(matches!(
            crypto::verify(Algorithm::Es256, b"no key", message, &tag),
            Err(CryptoError::MalformedKey(_)),
        ));
        assert_eq!("EdDSA".parse(), Ok(Algorithm::EdDsa));
        assert_eq!("none".parse::<Algorithm>(), Err(CryptoError::Unsupported));
    });
}

#[test]
fn a_secret_to_use_is_a_key_and_cannot_be_read() {
    let host = TestHost::new();
    host.set_secret_to_use("key", "s3cret");
    host.set_secret("both", "s3cret");
    host.run(|| {
        let tag = crypto::sign(Algorithm::Hs512, Key::Secret("key"), b"message")?;
        assert_eq!(tag, crypto::sign(Algorithm::Hs512, b"s3cret", b"message")?);
        assert!(crypto::verify(Algorithm::Hs512, Key::Secret("both"), b"message", &tag)?);
        assert!(matches!(secrets::get("key"), Err(SecretError::Denied(_))));
        assert_eq!(secrets::get("both"), Ok(b"s3cret".to_vec()));
        assert_eq!(
            crypto::sign(Algorithm::Hs512, Key::Secret("none"), b""),
            Err(CryptoError::Missing("none".to_owned()))
        );
        host.deny("key");
        assert_eq!(
            crypto::derive_key(HashFunction::Sha256, Key::Secret("key"), b"", b"", 16),
            Err(CryptoError::Denied("key".to_owned()))
        );
        Ok::<(), CryptoError>(())
    })
    .expect("both are keys");
    // No log has them.
    assert_eq!(format!("{:?} {:?}", Key::from(b"s3cret"), Key::Secret("key")), "Bytes(6 bytes) Secret(\"key\")");
}
