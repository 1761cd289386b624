//! The one form of a path, from a client that normalises nothing to what the upstream sees.

use crate::support::{TestGateway, Upstream};

/// A gateway before an upstream that tells what it saw.
async fn echoing(settings: &str) -> (TestGateway, Upstream) {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "{settings}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: echo }}]
",
        upstream.address()
    ))
    .await;
    (gateway, upstream)
}

/// What the upstream sees for a target, or the status that answers instead. Sent raw: clients normalise too.
async fn arrives(gateway: &TestGateway, target: &str) -> Result<String, u16> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
    let answer = gateway.raw(request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{target}: {answer:?}"));
    let status: u16 = head[9..12].parse().unwrap();
    if status != 200 {
        assert!(head.contains("content-type: application/problem+json"), "{target}: {head}");
        return Err(status);
    }
    let seen: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    Ok(seen["target"].as_str().unwrap().to_owned())
}

async fn assert_arrives(settings: &str, cases: &[(&str, Result<&str, u16>)]) {
    let (gateway, _upstream) = echoing(settings).await;
    for (target, expected) in cases {
        assert_eq!(arrives(&gateway, target).await.as_deref().map_err(|status| *status), *expected, "{target}");
    }
}

#[tokio::test]
async fn the_upstream_sees_the_one_normal_form_of_a_path() {
    assert_arrives(
        "",
        &[
            ("/", Ok("/")),
            ("/a/b?c=d", Ok("/a/b?c=d")),
            ("/a/../b", Ok("/b")),
            ("/a/./b/.", Ok("/a/b/")),
            ("/a/b/..", Ok("/a/")),
            ("/a/%2e%2e/b", Ok("/b")),
            ("/a/%2E./b", Ok("/b")),
            ("//a///b", Ok("/a/b")),
            ("/a//../b", Ok("/b")),
            ("/%7Euser/%41", Ok("/~user/A")),
            ("/%c3%bc", Ok("/%C3%BC")),
            ("/%252e%252e/x", Ok("/%252e%252e/x")),
            ("/a;v=1/b;w", Ok("/a;v=1/b;w")),
            ("/a%3Bb", Ok("/a%3Bb")),
            ("/a?x=/../%2e%2e//%2f", Ok("/a?x=/../%2e%2e//%2f")),
            ("/a?", Ok("/a?")),
            ("http://example.com?q=1", Ok("/?q=1")),
            ("/..", Err(400)),
            ("/a/../../b", Err(400)),
            ("/%2e%2e/etc/passwd", Err(400)),
            ("/a/..;/b", Err(400)),
            ("/a/..;x=1/b", Err(400)),
            ("/a/%2e%2e;x/b", Err(400)),
            ("/a/..%2fb", Err(400)),
            ("/a/..%5Cb", Err(400)),
            ("/a\\b", Err(400)),
            ("/a%00b", Err(400)),
            ("/a%0d%0aX:y", Err(400)),
            ("/a%zz", Err(400)),
            ("/a%", Err(400)),
        ],
    )
    .await;
}

#[tokio::test]
async fn encoded_slashes_are_kept_if_not_said_otherwise() {
    assert_arrives("", &[("/a%2fb", Ok("/a%2Fb")), ("/a%2F%2Fb", Ok("/a%2F%2Fb")), ("/a%5cb", Ok("/a%5Cb"))]).await;
}

#[tokio::test]
async fn encoded_slashes_are_rejected_where_configured() {
    let reject = "paths: { encoded-slashes: reject }";
    assert_arrives(reject, &[("/a%2fb", Err(400)), ("/a%5Cb", Err(400)), ("/a?b=%2f", Ok("/a?b=%2f"))]).await;
}

#[tokio::test]
async fn encoded_slashes_are_decoded_before_dot_segments_where_configured() {
    let decode = "paths: { encoded-slashes: decode }";
    let cases = [
        ("/a%2fb", Ok("/a/b")),
        ("/a%2f..%2Fb", Ok("/b")),
        ("/a/%2F/b", Ok("/a/b")),
        ("/..%2fa", Err(400)),
        ("/a%5Cb", Err(400)),
        ("/a%252Fb", Ok("/a%252Fb")),
    ];
    assert_arrives(decode, &cases).await;
}

#[tokio::test]
async fn slashes_in_a_row_stay_where_configured() {
    let apart = "paths: { merge-slashes: false }";
    assert_arrives(apart, &[("//a///b", Ok("//a///b")), ("/a//../b", Ok("/a/b"))]).await;
}

#[tokio::test]
async fn a_path_is_routed_in_the_form_that_the_upstream_sees() {
    let open = Upstream::named("open").await;
    let guarded = Upstream::named("guarded").await;
    let gateway = TestGateway::start(&format!(
        "upstreams:
  open: {{ endpoints: ['http://{}'] }}
  guarded: {{ endpoints: ['http://{}'] }}
routes:
  - {{ name: open, match: {{ path: '/{{*rest}}' }}, upstream: open }}
  - {{ name: guarded, match: {{ path: '/admin/{{*rest}}' }}, upstream: guarded }}
",
        open.address(),
        guarded.address()
    ))
    .await;
    for target in ["/admin", "//admin", "/x/../admin/", "/%61dmin/x", "/./admin//x", "/x/%2e%2e/admin"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
        let answer = gateway.raw(request.as_bytes()).await;
        assert!(answer.ends_with("guarded"), "{target}: {answer}");
    }
}
