//! What a plugin whose data is limited can change, by any function and in any phase, with the guest `prober`.

use super::data_grants::{SECRET, request, upstream, written, yaml};
use crate::support::{Client, TestGateway, Upstream, client::Request, eventually, guests, upstream::full};

const LIMITED: &str = "request-headers: { read: ['*'], write: [X-Acme-*] }, response-headers: { write: [x-acme-*] }, \
                       attributes: { read: ['*'], write: [acme.*] }, body: { read: [request] }";

#[tokio::test]
async fn a_plugin_changes_nothing_of_a_request_that_it_is_not_granted() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start_in(guests::folder(), &yaml(upstream.address(), LIMITED, "edit", "fail")).await;
    for mut client in [Client::connect(gateway.address()).await, Client::connect_http2(gateway.address()).await] {
        let response = client.send(request()).await;
        assert_eq!(response.status, 200, "{}", response.text());
        for (name, value) in [
            ("authorization", "Bearer s3cret"),
            ("cookie", "id=s3cret"),
            ("x-lang", "de"),
            ("x_lang", SECRET),
            ("x-secret", SECRET),
            // The attribute that an earlier plugin has set, as a later one sees it.
            ("x-note", SECRET),
        ] {
            assert_eq!(response.upstream_saw(name), [value], "{name}");
        }
        let seen = response.json();
        assert_eq!(
            (&seen["method"], &seen["target"], &seen["body"]),
            (&"POST".into(), &"/s3cret/path?token=s3cret".into(), &"body".into())
        );
        assert_eq!(response.upstream_saw("x-acme-user"), ["forged"], "what is granted is done");
        let mut forged = seen["headers"].as_array().unwrap().iter().filter(|header| header[1] == "forged");
        assert!(forged.all(|header| header[0] == "x-acme-user"), "{seen}");
    }
    let denied = |data, access| [("plugin", "prober"), ("data", data), ("access", access)];
    for data in ["request-headers", "response-headers", "attributes", "request-body", "response-body"] {
        assert!(gateway.metric("gateway_wasm_data_denied_total", &denied(data, "write")).await > Some(0), "{data}");
    }
    assert_eq!(gateway.metric("gateway_wasm_data_denied_total", &denied("request-headers", "read")).await, None);
}

#[tokio::test]
async fn a_plugin_changes_nothing_of_a_response_that_it_is_not_granted() {
    let upstream = upstream().await;
    let gateway = TestGateway::start_in(guests::folder(), &yaml(upstream.address(), LIMITED, "edit", "fail")).await;
    for mut client in [Client::connect(gateway.address()).await, Client::connect_http2(gateway.address()).await] {
        let response = client.send(request()).await;
        assert_eq!((response.status.as_u16(), response.text().as_str()), (200, "hello"));
        // Neither by the edits that it planned with the request, nor by those of the response.
        for (name, values) in [("x-secret", vec![SECRET]), ("location", vec![SECRET]), ("x-acme-user", vec!["forged"])]
        {
            assert_eq!(response.header_values(name), values, "{name}");
        }
        assert!(!response.headers.contains_key("authorization") && !response.headers.contains_key("cookie"));
    }
    // What is not granted is `forbidden`, and the rest of a list of edits is applied.
    eventually("lines about all phases", async || written(&gateway).len() == 4).await;
    for line in written(&gateway) {
        for result in line["results"].as_array().unwrap() {
            let result = result.as_str().unwrap();
            let expected = match result.split_once(' ').unwrap().0 {
                "x-acme-user" | "acme.tier" => "Ok(())",
                "body" => "Err(Unavailable)",
                "edits" => "Err(RefusedEdit { index: 0, error: Forbidden })",
                _ => "Err(Forbidden)",
            };
            assert!(result.ends_with(expected), "{result}");
        }
    }
}

#[tokio::test]
async fn a_response_of_a_plugin_has_only_what_it_is_granted_and_stays_a_refusal() {
    let upstream = Upstream::echo().await;
    for on_error in ["fail", "skip"] {
        let limited = "response-headers: { write: [x-acme-*] }, body: { read: [request] }";
        let gateway =
            TestGateway::start_in(guests::folder(), &yaml(upstream.address(), limited, "respond", on_error)).await;
        let response = gateway.get("/").await;
        assert_eq!((response.status.as_u16(), response.text().as_str()), (403, ""));
        assert_eq!(
            (response.header("x-acme-user"), response.header("x-secret"), response.header("content-type")),
            ("mine", "", "")
        );
    }
    assert_eq!(upstream.requests(), 0);
    let granted = "response-headers: { write: [x-secret, content-type] }, body: { read: [request], write: [response] }";
    let gateway = TestGateway::start_in(guests::folder(), &yaml(upstream.address(), granted, "respond", "fail")).await;
    let response = gateway.get("/").await;
    assert_eq!(
        (response.text().as_str(), response.header("x-secret"), response.header("x-acme-user")),
        ("forged", "forged", "")
    );
}

#[tokio::test]
async fn a_plugin_that_fails_on_purpose_removes_no_header_that_it_may_not_write() {
    let upstream = Upstream::serving(async |request: http::Request<hyper::body::Incoming>| {
        let saw = format!("{:?} {:?}", request.headers().get("authorization"), request.headers().get("x-acme-user"));
        http::Response::builder().header("x-secret", SECRET).body(full(saw)).expect("a response")
    })
    .await;
    let gateway = TestGateway::start_in(guests::folder(), &yaml(upstream.address(), LIMITED, "trap", "skip")).await;
    let response = gateway.send(Request::get("/").header("authorization", "Bearer a").header("x-acme-user", "b")).await;
    // Of what it may write, nothing of the client's goes on where it is skipped.
    assert_eq!((response.text().as_str(), response.header("x-secret")), ("Some(\"Bearer a\") None", SECRET));
}

#[tokio::test]
async fn a_cache_that_cannot_read_what_decides_about_storing_stores_nothing() {
    let upstream = Upstream::serving(async |request: http::Request<hyper::body::Incoming>| {
        let language = request.headers().get("accept-language").cloned();
        let response =
            http::Response::builder().header("cache-control", "max-age=60").header("vary", "accept-language");
        let language = language.as_ref().map_or("none", |value| value.to_str().unwrap());
        response.body(full(language.to_owned())).expect("a response")
    })
    .await;
    let yaml = |grants: &str| {
        format!(
            "plugins: {{ cache: {{ grants: {{ {grants} }} }} }}
upstreams: {{ up: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, plugins: [cache], upstream: up }}]
",
            upstream.address()
        )
    };
    let all = "response-headers: { read: ['*'], write: ['*'] }";
    for (grants, hits) in [
        (format!("request-headers: {{ read: ['*'] }}, {all}"), true),
        // It could not tell the variants apart.
        (format!("request-headers: {{ read: [host, ':path'] }}, {all}"), false),
        // It could not tell paths or hosts apart.
        (format!("request-headers: {{ read: [accept-language, host] }}, {all}"), false),
        (format!("request-headers: {{ read: [accept-language, ':path'] }}, {all}"), false),
        // It could not see that there are variants, or that the response is private.
        ("response-headers: { read: [cache-control], write: ['*'] }".to_owned(), false),
        ("response-headers: { read: [vary], write: ['*'] }".to_owned(), false),
        // It could not give what it has stored.
        ("response-headers: { read: ['*'] }".to_owned(), false),
    ] {
        let gateway = TestGateway::start(&yaml(&grants)).await;
        let get =
            async |language: &str| gateway.send(Request::get("/").header("accept-language", language)).await.text();
        let before = upstream.requests();
        assert_eq!(
            (get("de").await, get("en").await, get("de").await),
            ("de".into(), "en".into(), "de".into()),
            "{grants}"
        );
        assert_eq!(upstream.requests() - before, if hits { 2 } else { 3 }, "{grants}");
    }
}
