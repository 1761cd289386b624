//! Published vectors, and what must not be accepted.

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PSS_SHA256, RsaKeyPair},
};
use base64ct::{Base64UrlUnpadded, Encoding};

use super::{Algorithm as A, *};

const JWS_PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const RSA: &[u8] = include_bytes!("vectors/rfc7515-a2.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("vectors/rfc7515-a2.pub.pem");
const P256: &[u8] = include_bytes!("vectors/rfc7515-a3.pem");
const P256_PUBLIC: &[u8] = include_bytes!("vectors/rfc7515-a3.pub.pem");
const P521: &[u8] = include_bytes!("vectors/rfc7515-a4.pem");
const P521_PUBLIC: &[u8] = include_bytes!("vectors/rfc7515-a4.pub.pem");
const RSA_1024: &[u8] = include_bytes!("vectors/rsa1024.pem");
const RSA_8192: &[u8] = include_bytes!("vectors/rsa8192.pem");

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn url(text: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(text).unwrap()
}

fn sign(algorithm: A, key: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    KeyCache::default().sign(algorithm, KeyRef::Bytes(key), message)
}

fn verify(algorithm: A, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    KeyCache::default().verify(algorithm, KeyRef::Bytes(key), message, signature)
}

/// The signature is right, and neither it nor the message can be changed in any bit of what is looked at.
fn holds(algorithm: A, key: &[u8], message: &[u8], signature: &[u8]) {
    assert_eq!(verify(algorithm, key, message, signature), Ok(true), "{algorithm:?}");
    let changed = |bytes: &[u8], at: usize, bit: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << bit;
        bytes
    };
    for at in 0..signature.len() {
        let forged = changed(signature, at, (at % 8) as u8);
        assert_eq!(verify(algorithm, key, message, &forged), Ok(false), "{algorithm:?}: byte {at} of the signature");
    }
    for at in 0..message.len() {
        let forged = changed(message, at, (at % 8) as u8);
        assert_eq!(verify(algorithm, key, &forged, signature), Ok(false), "{algorithm:?}: byte {at} of the message");
    }
    for forged in [&[][..], &signature[1..], &signature[..signature.len() - 1], &[signature, &[0]].concat()] {
        assert_eq!(verify(algorithm, key, message, forged), Ok(false), "{algorithm:?}: {} bytes", forged.len());
    }
    let zeros = vec![0; signature.len()];
    assert_eq!(verify(algorithm, key, message, &zeros), Ok(false), "{algorithm:?}: zeros");
}

#[test]
fn hmac_is_that_of_rfc_4231() {
    let cases: [(&[u8], &[u8], [&str; 3]); 3] = [
        (
            &[0x0b; 20],
            b"Hi There",
            [
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ],
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            [
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ],
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            [
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            ],
        ),
    ];
    for (key, message, tags) in cases {
        for (algorithm, tag) in [A::Hs256, A::Hs384, A::Hs512].into_iter().zip(tags) {
            assert_eq!(sign(algorithm, key, message).unwrap(), hex(tag), "{algorithm:?}");
            holds(algorithm, key, message, &hex(tag));
        }
    }
}

#[test]
fn signatures_are_those_of_rfc_7515() {
    let key = url("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
    let message = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JWS_PAYLOAD}");
    let signature = url("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(sign(A::Hs256, &key, message.as_bytes()).unwrap(), signature);
    holds(A::Hs256, &key, message.as_bytes(), &signature);

    let message = format!("eyJhbGciOiJSUzI1NiJ9.{JWS_PAYLOAD}");
    let signature = url(concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU",
        "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d",
        "O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig",
        "cN_IoypGlUPQGe77Rw"
    ));
    assert_eq!(sign(A::Rs256, RSA, message.as_bytes()).unwrap(), signature);
    holds(A::Rs256, RSA_PUBLIC, message.as_bytes(), &signature);

    let message = format!("eyJhbGciOiJFUzI1NiJ9.{JWS_PAYLOAD}");
    let signature = url("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    holds(A::Es256, P256_PUBLIC, message.as_bytes(), &signature);

    let signature = url(concat!(
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2Y",
        "BJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
    ));
    holds(A::Es512, P521_PUBLIC, b"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA", &signature);
}

#[test]
fn ed25519_is_that_of_rfc_8032() {
    for (secret, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        // The structures of RFC 8410 §4 and §7.
        let private = [hex("302e020100300506032b657004220420"), hex(secret)].concat();
        let public = [hex("302a300506032b6570032100"), hex(public)].concat();
        assert_eq!(sign(A::EdDsa, &private, &hex(message)).unwrap(), hex(signature));
        holds(A::EdDsa, &public, &hex(message), &hex(signature));
    }
}

#[test]
fn each_kind_of_key_verifies_what_it_signed() {
    for (algorithms, private, public, length) in [
        (&[A::Rs256, A::Rs384, A::Rs512, A::Ps256, A::Ps384, A::Ps512][..], RSA, RSA_PUBLIC, 256),
        (&[A::Es256], P256, P256_PUBLIC, 64),
        (&[A::Es512], P521, P521_PUBLIC, 132),
    ] {
        for algorithm in algorithms {
            let signature = sign(*algorithm, private, b"header.payload").unwrap();
            assert_eq!(signature.len(), length);
            holds(*algorithm, public, b"header.payload", &signature);
            for other in algorithms.iter().filter(|other| *other != algorithm) {
                assert_eq!(verify(*other, public, b"header.payload", &signature), Ok(false), "{algorithm:?} {other:?}");
            }
        }
    }
    let random = SystemRandom::new();
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PSS_SHA256, &random, b"message", &mut signature).unwrap();
    let public = key.public_key().as_der().unwrap();
    assert_eq!(verify(A::Ps256, public.as_ref(), b"message", &signature), Ok(true));
}

#[test]
fn keys_of_another_kind_are_malformed() {
    let public = Err(CryptoError::Key(KeyError::NotPublic));
    let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let spki = ed25519.public_key().as_der().unwrap();
    for (algorithm, key) in [
        (A::Es256, ecdsa.public_key().as_ref()),
        (A::Es384, P256_PUBLIC),
        (A::Es384, P521_PUBLIC),
        (A::Es512, P256_PUBLIC),
        (A::Es256, P256),
        (A::Es256, spki.as_ref()),
        (A::EdDsa, ed25519.public_key().as_ref()),
        (A::EdDsa, P256_PUBLIC),
        (A::Rs256, P256_PUBLIC),
        (A::Rs256, RSA),
        (A::Rs256, b""),
        (A::Rs256, b"-----BEGIN PUBLIC KEY-----"),
        (A::Rs256, b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n"),
    ] {
        assert_eq!(verify(algorithm, key, b"", b""), public, "{algorithm:?}");
    }
    for (algorithm, key) in [
        (A::Es256, P521),
        (A::Es384, P256),
        (A::Es512, P256),
        (A::Es256, RSA),
        (A::Es256, P256_PUBLIC),
        (A::EdDsa, P256),
        (A::Ps256, P256),
        (A::Rs256, RSA_PUBLIC),
        (A::Rs256, RSA_1024),
        (A::Rs256, b"not a key"),
        (A::EdDsa, b""),
    ] {
        assert_eq!(sign(algorithm, key, b"").unwrap_err(), CryptoError::Key(KeyError::NotPrivate), "{algorithm:?}");
    }
    let slow = CryptoError::Key(KeyError::Slow { bits: 8192, most: 4096 });
    assert_eq!(sign(A::Rs256, RSA_8192, b"").unwrap_err(), slow);
}

#[test]
fn keys_are_kept_and_bounded_and_a_secret_is_not_found_by_its_bytes() {
    let mut keys = KeyCache::default();
    let secret = |name| KeyRef::Secret { name, value: P256 };
    let signature = keys.sign(A::Es256, secret("a"), b"m").unwrap();
    assert_eq!(keys.verify(A::Es256, KeyRef::Bytes(P256_PUBLIC), b"m", &signature), Ok(true));
    keys.sign(A::Es256, secret("a"), b"m").unwrap();
    assert_eq!(keys.len(), 2);
    keys.sign(A::Es256, KeyRef::Bytes(P256), b"m").unwrap();
    keys.sign(A::Es256, secret("b"), b"m").unwrap();
    assert_eq!(keys.len(), 4);
    // A reload has given the secret another value.
    let other = KeyRef::Secret { name: "a", value: &include_bytes!("vectors/rfc7515-a3.pem")[1..] };
    assert!(keys.sign(A::Es256, other, b"m").is_err());
    for _ in 0..20 {
        let key = Ed25519KeyPair::generate().unwrap();
        let public = key.public_key().as_der().unwrap();
        keys.verify(A::EdDsa, KeyRef::Bytes(public.as_ref()), b"", b"").unwrap();
    }
    assert_eq!(keys.len(), KeyCache::KEYS);
}

#[test]
fn derived_keys_are_those_of_rfc_5869() {
    let range = |from: u8, to: u8| (from..=to).collect::<Vec<_>>();
    for (key, salt, info, okm) in [
        (
            vec![0x0b; 22],
            range(0, 12),
            range(0xf0, 0xf9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            range(0, 0x4f),
            range(0x60, 0xaf),
            range(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            vec![0x0b; 22],
            Vec::new(),
            Vec::new(),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ] {
        assert_eq!(derive_key(Hash::Sha256, &key, &salt, &info, okm.len() / 2).unwrap(), hex(okm));
    }
    for (hash, most) in [(Hash::Sha256, 8160), (Hash::Sha384, 12_240), (Hash::Sha512, 16_320)] {
        assert_eq!(derive_key(hash, b"key", b"", b"", most).unwrap().len(), most);
        assert_eq!(derive_key(hash, b"key", b"", b"", most + 1), Err(CryptoError::TooLarge(most)));
        assert!(derive_key(hash, b"key", b"", b"", 0).unwrap().is_empty());
    }
}

#[test]
fn digests_are_those_of_fips_180() {
    for (hash, expected) in [
        (Hash::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            Hash::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            Hash::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ] {
        assert_eq!(digest(hash, b"abc").unwrap(), hex(expected));
    }
}

#[test]
fn ciphertexts_are_those_of_the_gcm_specification_and_of_rfc_8439() {
    let plaintext = hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let (key, nonce) = ("feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888");
    let associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let sunscreen = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    for (cipher, key, nonce, plaintext, associated, sealed) in [
        (
            Cipher::Aes128Gcm,
            hex(key),
            nonce,
            &plaintext[..],
            associated.clone(),
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            Cipher::Aes256Gcm,
            hex(&key.repeat(2)),
            nonce,
            &plaintext[..],
            associated,
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
        ),
        (
            Cipher::ChaCha20Poly1305,
            (0x80..=0x9f).collect(),
            "070000004041424344454647",
            &sunscreen[..],
            hex("50515253c0c1c2c3c4c5c6c7"),
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
        ),
    ] {
        let expected = [hex(nonce), hex(sealed)].concat();
        let sealed = aead::encrypt_with_nonce(cipher, &key, hex(nonce).try_into().unwrap(), plaintext, &associated);
        assert_eq!(sealed, expected, "{cipher:?}");
        assert_eq!(decrypt(cipher, &key, &sealed, &associated).unwrap(), plaintext, "{cipher:?}");
    }
}

#[test]
fn what_was_changed_or_encrypted_otherwise_is_not_decrypted_and_nothing_tells_why() {
    let refused = Err(CryptoError::NotAuthentic);
    for (cipher, length) in [(Cipher::Aes128Gcm, 16), (Cipher::Aes256Gcm, 32), (Cipher::ChaCha20Poly1305, 32)] {
        let key = random_bytes(length).unwrap();
        let sealed = encrypt(cipher, &key, b"plaintext", b"context").unwrap();
        assert_eq!(sealed.len(), 12 + 9 + 16);
        assert_ne!(sealed, encrypt(cipher, &key, b"plaintext", b"context").unwrap(), "each has a nonce of its own");
        assert_eq!(decrypt(cipher, &key, &sealed, b"context").unwrap(), b"plaintext");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut forged = sealed.clone();
                forged[at] ^= 1 << bit;
                assert_eq!(decrypt(cipher, &key, &forged, b"context"), refused, "{cipher:?}: bit {bit} of byte {at}");
            }
            assert_eq!(decrypt(cipher, &key, &sealed[..at], b"context"), refused, "{cipher:?}: {at} bytes");
        }
        assert_eq!(decrypt(cipher, &key, &[&*sealed, &[0]].concat(), b"context"), refused);
        for associated in [&b""[..], b"Context", b"context ", b"contex"] {
            assert_eq!(decrypt(cipher, &key, &sealed, associated), refused);
        }
        let other = random_bytes(length).unwrap();
        assert_eq!(decrypt(cipher, &other, &sealed, b"context"), refused);
        let empty = encrypt(cipher, &key, b"", b"").unwrap();
        assert_eq!(decrypt(cipher, &key, &empty, b"").unwrap(), b"");
        // As text, as `openssl rand -base64` writes it.
        let text = format!("{}\n", base64ct::Base64::encode_string(&key));
        assert_eq!(decrypt(cipher, text.as_bytes(), &sealed, b"context").unwrap(), b"plaintext");
        for key in [&key[1..], b"", &[0; 24]] {
            let malformed = CryptoError::Key(KeyError::Length { bytes: key.len(), needs: length });
            assert_eq!(encrypt(cipher, key, b"", b""), Err(malformed), "{cipher:?}");
            assert_eq!(decrypt(cipher, key, &sealed, b""), Err(malformed), "{cipher:?}");
        }
    }
}

#[test]
fn inputs_are_bounded() {
    let message = vec![0; MAX_MESSAGE_BYTES + 1];
    let key = vec![0; MAX_KEY_BYTES + 1];
    let context = vec![0; MAX_CONTEXT_BYTES + 1];
    let too_large = |limit| Some(CryptoError::TooLarge(limit));
    assert_eq!(sign(A::Hs256, b"key", &message).err(), too_large(MAX_MESSAGE_BYTES));
    assert_eq!(verify(A::Hs256, b"key", &message, b"").err(), too_large(MAX_MESSAGE_BYTES));
    assert_eq!(digest(Hash::Sha256, &message).err(), too_large(MAX_MESSAGE_BYTES));
    assert_eq!(encrypt(Cipher::Aes128Gcm, &[0; 16], &message, b"").err(), too_large(MAX_MESSAGE_BYTES));
    assert_eq!(encrypt(Cipher::Aes128Gcm, &[0; 16], b"", &context).err(), too_large(MAX_CONTEXT_BYTES));
    assert_eq!(derive_key(Hash::Sha256, b"key", &context, b"", 1).err(), too_large(MAX_CONTEXT_BYTES));
    assert_eq!(derive_key(Hash::Sha256, b"key", b"", &context, 1).err(), too_large(MAX_CONTEXT_BYTES));
    assert_eq!(random_bytes(MAX_RANDOM_BYTES + 1).err(), too_large(MAX_RANDOM_BYTES));
    let key_too_large = Some(CryptoError::Key(KeyError::TooLarge));
    assert_eq!(sign(A::Hs256, &key, b"").err(), key_too_large);
    assert_eq!(verify(A::Rs256, &key, b"", b"").err(), key_too_large);
    assert_eq!(derive_key(Hash::Sha256, &key, b"", b"", 1).err(), key_too_large);
    assert_eq!(encrypt(Cipher::Aes128Gcm, &key, b"", b"").err(), key_too_large);
    // What was encrypted at its longest can be decrypted.
    let longest = encrypt(Cipher::Aes128Gcm, &[0; 16], &message[1..], b"").unwrap();
    assert_eq!(decrypt(Cipher::Aes128Gcm, &[0; 16], &longest, b"").unwrap(), &message[1..]);
}

#[test]
fn random_bytes_are_as_many_as_asked_for_and_differ() {
    assert_eq!(random_bytes(0).unwrap().len(), 0);
    assert_eq!(random_bytes(MAX_RANDOM_BYTES).unwrap().len(), MAX_RANDOM_BYTES);
    assert_ne!(random_bytes(32).unwrap(), random_bytes(32).unwrap());
}
