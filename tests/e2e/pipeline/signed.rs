//! Keys that a plugin uses without reading them, and the smaller things that the guest `signer` does.

use std::fs;

use aws_lc_rs::{
    hmac,
    signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey},
};
use rcgen::{KeyPair, PublicKeyData};

use crate::support::{Response, TestGateway, Upstream, client::Request, guests};

const SECRET: &str = "for the gateway alone";

/// A gateway on which `signer` does a deed with the secret `own`, for which it is granted this.
async fn granted(grants: &str, deed: &str, with: &str, more: &str) -> (TestGateway, Upstream) {
    let upstream = Upstream::echo().await;
    let folder = guests::folder();
    fs::write(folder.path().join("own.txt"), format!("{SECRET}\n")).unwrap();
    let yaml = format!(
        "secrets: {{ own: {{ file: own.txt }}, other: {{ file: own.txt }} }}
plugins: {{ signer: {{ component: signer.wasm, grants: {{ secrets: {grants} }} }} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: signer, config: {{ do: {deed}, with: '{with}' }} }}], upstream: echo }}]
{more}
",
        upstream.address()
    );
    (TestGateway::start_in(folder, &yaml).await, upstream)
}

/// What it says to the upstream of a deed.
async fn said(grants: &str, deed: &str, with: &str) -> String {
    let (gateway, _upstream) = granted(grants, deed, with, "").await;
    out(&gateway.get("/path").await)
}

fn out(response: &Response) -> String {
    response.upstream_saw("x-out").join(",")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte =
        |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap_or_else(|_| panic!("not hexadecimal: {text}"));
    (0..text.len()).step_by(2).map(byte).collect()
}

#[tokio::test]
async fn a_plugin_signs_with_a_secret_that_it_cannot_read() {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), b"/path");
    let expected = format!("{} true false", hex(tag.as_ref()));
    assert_eq!(said("{ own: use }", "sign", "own").await, expected);
    assert_eq!(said("{ own: read }", "sign", "own").await, expected);
    assert_eq!(said("[own]", "sign", "own").await, expected);
    assert_eq!(said("{ own: use }", "seal", "own").await, "/path true");

    assert_eq!(said("{ own: use }", "read", "own").await, "secret denied: own");
    assert_eq!(said("{ own: read }", "read", "own").await, SECRET);
}

#[tokio::test]
async fn a_secret_that_is_not_granted_is_no_key() {
    for deed in ["sign", "seal", "sign-es256"] {
        assert_eq!(said("{ own: use }", deed, "other").await, "secret denied: other", "{deed}");
        assert_eq!(said("{ own: use }", deed, "absent").await, "secret denied: absent", "{deed}");
    }
    // What it is not, is said without what it is.
    let malformed = said("{ own: use }", "sign-es256", "own").await;
    assert!(malformed.starts_with("malformed key: ") && !malformed.contains(SECRET), "{malformed}");
}

#[tokio::test]
async fn a_private_key_in_pem_is_used_until_a_reload_replaces_it() {
    let (upstream, folder) = (Upstream::echo().await, guests::folder());
    let file = folder.path().join("own.txt");
    let mut keys = [(); 2].map(|()| KeyPair::generate().expect("a key on P-256"));
    let yaml = format!(
        "secrets: {{ own: {{ file: own.txt }} }}
plugins: {{ signer: {{ component: signer.wasm, grants: {{ secrets: {{ own: use }} }} }} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [{{ name: signer, config: {{ do: sign-es256, with: own }} }}], upstream: echo }}]
",
        upstream.address()
    );
    fs::write(&file, keys[0].serialize_pem()).unwrap();
    let mut gateway = TestGateway::start_in(folder, &yaml).await;
    for turn in 0..2 {
        for path in ["/one", "/two"] {
            let signature = unhex(&out(&gateway.get(path).await));
            let signs = |key: &KeyPair| {
                let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.der_bytes());
                public.verify(path.as_bytes(), &signature).is_ok()
            };
            assert_eq!((signs(&keys[0]), signs(&keys[1])), (true, false), "{turn} {path}");
        }
        keys.swap(0, 1);
        fs::write(&file, keys[0].serialize_pem()).unwrap();
        gateway.reload(&yaml).await.expect("the same configuration");
    }
}

#[tokio::test]
async fn a_gauge_is_set_and_added_to_over_all_workers() {
    let (gateway, _upstream) = granted("[own]", "gauge", "-2.5", "").await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    let page = gateway.metrics().await;
    let name = "gateway_plugin_signer_level";
    for line in [
        format!("# TYPE {name} gauge"),
        format!("{name}{{plugin=\"signer\",kind=\"set\"}} -2.5"),
        format!("{name}{{plugin=\"signer\",kind=\"added\"}} -10.0"),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn an_attribute_is_removed_by_itself_and_in_a_list_of_edits() {
    let (gateway, _upstream) = granted("[own]", "forget", "", "").await;
    let response = gateway.get("/").await;
    assert!(
        out(&response).starts_with("d / the edit is not allowed"),
        "what is the gateway's stays: {}",
        out(&response)
    );
    assert_eq!(response.upstream_saw("x-made"), ["made"]);
}

#[tokio::test]
async fn the_status_is_read_with_the_other_items_of_a_selection() {
    let (gateway, _upstream) = granted("[own]", "status", "", "").await;
    assert_eq!(gateway.get("/").await.header("x-status"), "200");
}

#[tokio::test]
async fn a_plugin_knows_the_trace_that_the_upstream_sees() {
    let client = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let with = |parent: &'static str| Request::get("/").header("traceparent", parent);
    let (gateway, _upstream) = granted("[own]", "trace", "", "").await;
    assert_eq!(out(&gateway.send(with(client)).await), client, "forwarded as it came");
    for parent in ["none", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"] {
        assert_eq!(out(&gateway.send(with(parent)).await), "", "not valid: {parent}");
    }
    assert_eq!(out(&gateway.get("/").await), "");

    // Where the traces go does not matter here.
    let traced = "tracing: { otlp: { upstream: echo, protocol: http } }";
    let (gateway, _upstream) = granted("[own]", "trace", "", traced).await;
    for (request, trace) in [(Request::get("/"), ""), (with(client), "4bf92f3577b34da6a3ce929d0e0e4736")] {
        let response = gateway.send(request).await;
        let (plugins, upstreams) = (out(&response), response.upstream_saw("traceparent").join(","));
        assert_eq!((plugins.len(), &plugins[..35]), (55, &upstreams[..35]), "{plugins} {upstreams}");
        assert!(plugins[3..].starts_with(trace) && plugins.ends_with("-01"), "{plugins}");
        assert_ne!(plugins, upstreams, "the request to the upstream has a span of its own");
    }
    let (gateway, _upstream) =
        granted("[own]", "trace", "", "tracing: { otlp: { upstream: echo, protocol: http }, sampling: { ratio: 0 } }")
            .await;
    let response = gateway.get("/").await;
    assert!(out(&response).ends_with("-00"), "{}", out(&response));
    assert_eq!(response.upstream_saw("traceparent"), [out(&response)]);
}
