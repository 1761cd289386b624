//! Which forwarding headers are trusted, and what the upstream gets.

use super::*;

const HOST: HeaderValue = HeaderValue::from_static("api.example:8443");

fn proxies() -> Vec<IpNet> {
    vec!["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")]
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn announced(peer: &str, fields: &[(&'static str, &'static str)]) -> (Client, HeaderMap) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let known_headers = KnownHeaders::of(&headers);
    let peer = Peer::new(address(peer), false, &proxies());
    let (client, forwarding) = peer.announce(&mut headers, known_headers, &HOST, &proxies());
    if let Some(forwarding) = forwarding {
        forwarding.add_to(&mut headers);
    }
    (client, headers)
}

#[track_caller]
fn assert_fields(headers: &HeaderMap, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        let found: Vec<_> = headers.get_all(*name).iter().collect();
        assert_eq!(found, [value], "{name}");
    }
}

#[test]
fn a_client_is_announced() {
    let (client, headers) = announced("192.0.2.7", &[]);
    assert_eq!(client, Client { address: address("192.0.2.7"), scheme: "http" });
    assert_fields(
        &headers,
        &[
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "api.example:8443"),
            ("forwarded", "for=192.0.2.7;host=\"api.example:8443\";proto=http"),
        ],
    );
}

#[test]
fn an_ipv6_client_is_quoted_in_forwarded() {
    let (_, headers) = announced("2001:db8::1", &[]);
    assert_fields(&headers, &[("x-forwarded-for", "2001:db8::1")]);
    assert!(headers["forwarded"].to_str().is_ok_and(|text| text.starts_with("for=\"[2001:db8::1]\";host=")));
}

#[test]
fn an_ipv4_peer_of_a_socket_for_both_families_is_ipv4() {
    let (client, headers) = announced("::ffff:192.0.2.7", &[]);
    assert_eq!(client.address, address("192.0.2.7"));
    assert_fields(&headers, &[("x-forwarded-for", "192.0.2.7")]);
    assert!(Peer::new(address("::ffff:10.1.1.1"), false, &proxies()).is_trusted());
}

#[test]
fn nothing_that_a_client_claims_is_believed() {
    let (client, headers) = announced(
        "192.0.2.7",
        &[
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-client-cert", "x"),
            ("x-real-ip", "198.51.100.1"),
            ("x_forwarded_for", "198.51.100.1"),
            ("x-real_ip", "198.51.100.1"),
            ("forwarded", "for=198.51.100.1;proto=https"),
        ],
    );
    assert_eq!(client, Client { address: address("192.0.2.7"), scheme: "http" });
    assert_eq!(headers.keys_len(), 6);
    assert_fields(
        &headers,
        &[
            ("x-forwarded-for", "192.0.2.7"),
            ("x-real-ip", "192.0.2.7"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "api.example:8443"),
            ("x-forwarded-port", "8443"),
        ],
    );
}

#[test]
fn a_trusted_proxy_is_believed_and_appended() {
    let (client, headers) = announced(
        "10.0.0.1",
        &[
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "www.example"),
            ("x-forwarded-port", "443"),
        ],
    );
    assert_eq!(client, Client { address: address("192.0.2.7"), scheme: "https" });
    assert_fields(
        &headers,
        &[
            ("x-forwarded-for", "192.0.2.7, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "www.example"),
            ("x-forwarded-port", "443"),
            ("forwarded", "for=192.0.2.7, for=10.0.0.1;host=\"api.example:8443\";proto=http"),
        ],
    );
}

#[test]
fn the_client_is_the_right_most_address_that_is_not_trusted() {
    for (list, expected) in [
        ("198.51.100.9, 192.0.2.7", "192.0.2.7"),
        ("198.51.100.9, 192.0.2.7, 10.2.2.2,10.3.3.3", "192.0.2.7"),
        ("10.9.9.9, 10.2.2.2", "10.9.9.9"),
        ("192.0.2.7, unknown, 10.2.2.2", "10.2.2.2"),
        ("nonsense", "10.0.0.1"),
        (" , ", "10.0.0.1"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:10.2.2.2", "10.2.2.2"),
    ] {
        assert_eq!(announced("10.0.0.1", &[("x-forwarded-for", list)]).0.address, address(expected), "{list}");
    }
    let lines = [("x-forwarded-for", "198.51.100.9"), ("x-forwarded-for", "192.0.2.7")];
    let (client, headers) = announced("fd00::1", &lines);
    assert_eq!(client.address, address("192.0.2.7"));
    assert_fields(&headers, &[("x-forwarded-for", "198.51.100.9, 192.0.2.7, fd00::1")]);
}

#[test]
fn forwarded_alone_is_believed_and_makes_the_older_list() {
    let sent = "for=\"[2001:db8::1]:99\";proto=https;host=\"a,b;c\", For=unknown;by=_x, for=192.0.2.7;PROTO=\"https\"";
    let (client, headers) = announced("10.0.0.1", &[("forwarded", sent)]);
    assert_eq!(client, Client { address: address("192.0.2.7"), scheme: "https" });
    assert_fields(
        &headers,
        &[
            ("x-forwarded-for", "2001:db8::1, unknown, 192.0.2.7, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", &format!("{sent}, for=10.0.0.1;host=\"api.example:8443\";proto=http")),
        ],
    );
}

#[test]
fn a_forwarded_that_a_proxy_only_let_pass_is_not_believed() {
    let fields = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=198.51.100.1;proto=https, for=192.0.2.7")];
    let (client, headers) = announced("10.0.0.1", &fields);
    assert_eq!(client, Client { address: address("192.0.2.7"), scheme: "http" });
    assert_fields(&headers, &[("forwarded", "for=192.0.2.7, for=10.0.0.1;host=\"api.example:8443\";proto=http")]);
}

#[test]
fn a_forwarded_with_an_open_quote_is_dropped() {
    let (client, headers) = announced("10.0.0.1", &[("forwarded", "for=192.0.2.7;host=\"x")]);
    assert_eq!(client.address, address("10.0.0.1"));
    assert_fields(&headers, &[("forwarded", "for=10.0.0.1;host=\"api.example:8443\";proto=http")]);
}

#[test]
fn a_chain_of_gateways_keeps_both_lists() {
    let fields = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7;host=\"h\";proto=https")];
    let (client, headers) = announced("10.0.0.1", &fields);
    assert_eq!(client.scheme, "https");
    let sent = "for=192.0.2.7;host=\"h\";proto=https, for=10.0.0.1;host=\"api.example:8443\";proto=http";
    assert_fields(&headers, &[("forwarded", sent), ("x-forwarded-for", "192.0.2.7, 10.0.0.1")]);
}

#[test]
fn scheme_host_and_port_are_those_beside_the_clients_address_or_the_first() {
    let sent = |lists: [&'static str; 4]| {
        let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"];
        let fields: Vec<_> = names.into_iter().zip(lists).filter(|(_, list)| !list.is_empty()).collect();
        let (client, headers) = announced("10.0.0.1", &fields);
        let value = |name: &str| headers[name].to_str().expect("text").to_owned();
        assert_eq!(value("x-forwarded-proto"), client.scheme);
        assert_eq!(value("x-real-ip"), client.address.to_string());
        format!("{} {}://{} {}", client.address, client.scheme, value("x-forwarded-host"), value("x-forwarded-port"))
    };
    assert_eq!(sent(["192.0.2.7", "https", "a", "1"]), "192.0.2.7 https://a 1");
    assert_eq!(sent(["192.0.2.7, 10.2.2.2", "https,http", "a, b", "1 ,2"]), "192.0.2.7 https://a 1");
    assert_eq!(sent(["9.9.9.9, 192.0.2.7", "https, http", "a, b", "1, 2"]), "192.0.2.7 http://b 2");
    assert_eq!(sent(["192.0.2.7", "https, http", "a, b", "1, 2"]), "192.0.2.7 https://a 1");
    assert_eq!(sent(["", "WSS", "a:81", ""]), "10.0.0.1 https://a:81 81");
    assert_eq!(sent(["", "ws", "[::1]", ""]), "10.0.0.1 http://[::1] 80");
    assert_eq!(sent(["", "https", "", ""]), "10.0.0.1 https://api.example:8443 8443");
}

#[test]
fn a_value_that_is_not_valid_is_replaced() {
    let fields = [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "javascript"),
        ("x-forwarded-host", "a\"b, c"),
        ("x-forwarded-port", "65536"),
    ];
    let (client, headers) = announced("10.0.0.1", &fields);
    assert_eq!(client.scheme, "http");
    let expected =
        [("x-forwarded-proto", "http"), ("x-forwarded-host", "api.example:8443"), ("x-forwarded-port", "8443")];
    assert_fields(&headers, &expected);
}

#[test]
fn forwarded_says_it_in_the_clients_element() {
    let chain =
        "for=9.9.9.9;proto=http;host=evil, for=192.0.2.7;host=\"a:81\";proto=https, for=10.2.2.2;proto=http;host=b";
    let (client, headers) = announced("10.0.0.1", &[("forwarded", chain)]);
    assert_eq!(client, Client { address: address("192.0.2.7"), scheme: "https" });
    assert_fields(&headers, &[("x-forwarded-host", "a:81"), ("x-forwarded-port", "81")]);
    // What a trusted proxy says of a client that it does not name.
    let (client, headers) = announced("10.0.0.1", &[("forwarded", "proto=https;host=a")]);
    assert_eq!(client, Client { address: address("10.0.0.1"), scheme: "https" });
    assert_fields(&headers, &[("x-forwarded-host", "a"), ("x-forwarded-port", "443")]);
}

#[test]
fn a_proxy_that_sends_no_list_is_believed_about_the_address() {
    let (client, headers) = announced("10.0.0.1", &[("x-real-ip", "192.0.2.7")]);
    assert_eq!(client.address, address("192.0.2.7"));
    assert_fields(&headers, &[("x-real-ip", "192.0.2.7"), ("x-forwarded-for", "192.0.2.7, 10.0.0.1")]);
    // A proxy that sends one may have let a client's own field pass.
    let fields = [("x-real-ip", "198.51.100.1"), ("x-forwarded-for", "192.0.2.7")];
    let (client, headers) = announced("10.0.0.1", &fields);
    assert_eq!(client.address, address("192.0.2.7"));
    assert_fields(&headers, &[("x-real-ip", "192.0.2.7")]);
}

#[test]
fn a_trusted_proxy_that_says_nothing_is_the_client() {
    let (client, headers) = announced("10.0.0.1", &[]);
    assert_eq!(client.address, address("10.0.0.1"));
    assert_fields(&headers, &[("x-forwarded-for", "10.0.0.1")]);
}

#[test]
fn the_element_follows_the_authority_and_is_made_once_for_each() {
    let peer = Peer::new(address("192.0.2.7"), true, &[]);
    let sent = |host: &'static str| {
        let mut headers = HeaderMap::new();
        let known_headers = KnownHeaders::of(&headers);
        let (_, forwarding) = peer.announce(&mut headers, known_headers, &HeaderValue::from_static(host), &[]);
        forwarding.expect("the client sent none").add_to(&mut headers);
        headers.remove("forwarded").expect("it is set")
    };
    let (first, again) = (sent("a"), sent("a"));
    assert_eq!(first, "for=192.0.2.7;host=\"a\";proto=https");
    assert_eq!(first.as_bytes().as_ptr(), again.as_bytes().as_ptr(), "it was made twice");
    assert_eq!(sent("b"), "for=192.0.2.7;host=\"b\";proto=https");
    assert_eq!(sent(""), "for=192.0.2.7;proto=https");
}
