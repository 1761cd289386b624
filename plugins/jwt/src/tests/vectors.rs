//! The examples of the RFCs.

use std::time::Duration;

use plugin_sdk::testkit::TestExchange;
use serde_json::{Value, json};

use super::support::{accepted, bearer, plugin, refused};

/// `{"iss":"joe","exp":1300819380,"http://example.com/is_root":true}`, in the RFC's own white space.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn at(seconds: u64, jwk: Value, token: &str) -> TestExchange {
    let config = json!({
        "keys": [{ "jwk": jwk }],
        "issuer": "joe",
        "claims": [{ "claim": "http://example.com/is_root", "equals": true }],
    });
    let (host, mut plugin) = plugin(config);
    host.set_time(Duration::from_secs(seconds));
    plugin.request(bearer(token))
}

/// Valid until the second before its expiry, and with one character less never.
#[track_caller]
fn assert_vector(jwk: Value, header: &str, signature: &str) {
    let token = format!("{header}.{CLAIMS}.{signature}");
    let exchange = accepted(at(1_300_819_379, jwk.clone(), &token));
    assert_eq!(exchange.attribute("jwt.iss"), Some("joe"));
    refused(at(1_300_819_380, jwk.clone(), &token), 401, "expired");
    let tampered = format!("{header}.{}Y.{signature}", &CLAIMS[..CLAIMS.len() - 1]);
    refused(at(1_300_819_379, jwk, &tampered), 401, "signature");
}

#[test]
fn rfc_7515_a_1_hs256() {
    assert_vector(
        json!({
            "kty": "oct",
            "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        }),
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
}

#[test]
fn rfc_7515_a_2_rs256() {
    assert_vector(
        json!({
            "kty": "RSA",
            "n": concat!(
                "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ",
                "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2",
                "R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD",
                "TW9gb54h4FRWyuXpoQ",
            ),
            "e": "AQAB",
        }),
        "eyJhbGciOiJSUzI1NiJ9",
        concat!(
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU",
            "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d",
            "O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig",
            "cN_IoypGlUPQGe77Rw",
        ),
    );
}

#[test]
fn rfc_7515_a_3_es256() {
    assert_vector(
        json!({
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }),
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
}

/// Its payload is a sentence and not claims, so the signature is good and the token is not.
#[test]
fn rfc_8037_a_4_eddsa() {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    refused(at(0, jwk.clone(), &format!("{message}.{signature}")), 401, "claims");
    refused(at(0, jwk, &format!("{message}.{}", signature.replacen('h', "i", 1))), 401, "signature");
}

/// RFC 7515 A.5 is a token without a signature.
#[test]
fn rfc_7515_a_5_none_is_refused() {
    let jwk = json!({ "kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow" });
    refused(at(0, jwk, &format!("eyJhbGciOiJub25lIn0.{CLAIMS}.")), 401, "algorithm");
}

/// RFC 7519 §3.1 is the token of RFC 7515 A.1, and §6.1 that of A.5. RFC 7517 A.1 is a set of two keys, one of which is
/// for encryption: the other alone is asked.
#[test]
fn rfc_7517_a_1_a_key_set() {
    let set = json!({ "keys": [
        {
            "kty": "EC", "crv": "P-256", "use": "enc", "kid": "1",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        },
        {
            "kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
            "n": concat!(
                "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF",
                "V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9",
                "c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1",
                "jF44-csFCur-kEgU8awapJzKnqDKgw",
            ),
        },
    ] });
    let header = |kid: &str, alg: &str| super::support::encode(json!({ "alg": alg, "kid": kid }).to_string());
    let send = |header: String| {
        let (_, mut plugin) = plugin(json!({ "jwks": set }));
        plugin.request(bearer(&format!("{header}.{CLAIMS}.AAAA")))
    };
    refused(send(header("2011-04-29", "RS256")), 401, "signature");
    refused(send(header("2011-04-29", "PS256")), 401, "unknown-key");
    refused(send(header("1", "ES256")), 401, "unknown-key");
}
