//! The one form of a path, from a client that normalises nothing to what the upstream sees.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Client, TestGateway, Upstream, client::Request, in_time, upstream::full};

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
            ("/a<b>`c", Ok("/a%3Cb%3E%60c")),
            ("/a%0d%0aX:y%09%7f", Ok("/a%0D%0AX:y%09%7F")),
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
            ("/a%2fb", Err(400)),
            ("/a%5Cb", Err(400)),
            ("/%2F", Err(400)),
            ("/a%zz", Err(400)),
            ("/a%", Err(400)),
        ],
    )
    .await;
}

#[tokio::test]
async fn encoded_slashes_are_kept_where_configured() {
    let keep = "paths: { encoded-slashes: keep }";
    let cases = [
        ("/a%2fb", Ok("/a%2Fb")),
        ("/a%2F%2Fb", Ok("/a%2F%2Fb")),
        ("/a%5cb", Ok("/a%5Cb")),
        ("/a/..%2fb", Err(400)),
        ("/a%2f..%5Cb", Err(400)),
    ];
    assert_arrives(keep, &cases).await;
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

/// A gateway before a service that decodes paths before it routes them, drops matrix parameters and merges slashes, as
/// WSGI and servlet containers do. `/admin` is not for clients; the settings are those of the open route.
async fn guarded(open: &str) -> (TestGateway, Upstream) {
    let upstream = Upstream::serving(|request| async move {
        let decoded = percent_encoding::percent_decode_str(request.uri().path()).decode_utf8_lossy().replace('\\', "/");
        let names = decoded.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
        let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        http::Response::new(full(if names.first() == Some(&"admin") { "secret" } else { "public" }))
    })
    .await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ service: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: open, match: {{ path: '/{{*rest}}' }}, upstream: service, {open} }}
  - {{ name: admin, match: {{ path: '/admin/{{*rest}}' }}, plugins: [{{ name: ip-rules, config: {{ deny: [127.0.0.0/8] }} }}], upstream: service }}
",
        upstream.address()
    ))
    .await;
    (gateway, upstream)
}

#[tokio::test]
async fn no_spelling_of_a_path_evades_the_plugins_of_its_route() {
    let spellings = [
        "/admin/secret",
        "/admin%2Fsecret",
        "/admin%2fsecret",
        "/admin%5Csecret",
        "/%2Fadmin/secret",
        "/%2fadmin%2fsecret",
        "/x%2F..%2Fadmin%2Fsecret",
        "/admin;x/secret",
        "/admin;x=1%2Fsecret",
        "/admin%3Bx/secret",
        "/;x/admin/secret",
        "//admin/secret",
        "/%61dmin/secret",
        "/./admin//secret",
    ];
    for open in [
        "",
        "paths: { encoded-slashes: keep }",
        "paths: { merge-slashes: false }",
        "paths: { matrix-parameters: keep }",
    ] {
        let (gateway, _upstream) = guarded(open).await;
        let mut http2 = Client::connect_http2(gateway.address()).await;
        for spelling in spellings {
            let request = format!("GET {spelling} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
            let answer = gateway.raw(request.as_bytes()).await;
            let refused = answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 403 ");
            assert!(refused, "{spelling} with {open:?}: {answer}");
            let absolute = format!("GET http://a{spelling} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = gateway.raw(absolute.as_bytes()).await;
            assert!(!answer.ends_with("secret"), "{spelling} as a URL with {open:?}: {answer}");
            let answer = http2.send(Request::get(spelling)).await;
            assert!(matches!(answer.status.as_u16(), 400 | 403), "{spelling} by HTTP/2 with {open:?}: {answer:?}");
        }
        assert_eq!(gateway.get("/public").await.text(), "public");
    }
}

#[tokio::test]
async fn a_route_can_keep_what_others_reject() {
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: open, match: {{ path: '/{{*rest}}' }}, upstream: echo }}
  - {{ name: registry, match: {{ path: '/v2/{{*rest}}' }}, upstream: echo, paths: {{ encoded-slashes: keep }} }}
  - {{ name: bucket, match: {{ host: s3.test, path: '/{{*rest}}' }}, upstream: echo, paths: {{ encoded-slashes: keep, merge-slashes: false }} }}
  - {{ name: projects, match: {{ path: '/api/v4/{{*rest}}' }}, upstream: echo, paths: {{ encoded-slashes: keep }} }}
  - {{ name: issues, match: {{ path: '/api/v4/projects/{{id}}/issues' }}, upstream: echo, paths: {{ encoded-slashes: keep }} }}
  - {{ name: decoded, match: {{ path: '/decoded/{{*rest}}' }}, upstream: echo, paths: {{ encoded-slashes: decode }} }}
  - {{ name: matrix, match: {{ path: '/matrix/{{*rest}}' }}, upstream: echo }}
",
        upstream.address()
    ))
    .await;
    for (host, target, expected) in [
        ("a", "/x%2Fy", Err(400)),
        ("a", "/v2/library%2Fnginx/manifests/latest", Ok("/v2/library%2Fnginx/manifests/latest")),
        ("a", "/v2%2Fx", Err(400)),
        ("s3.test", "/b/a//b%2Fc///d", Ok("/b/a//b%2Fc///d")),
        ("a", "/v2/a//b", Ok("/v2/a/b")),
        // The decoded path is another route's, which keeps slashes too.
        ("a", "/api/v4/projects/group%2Fproject/issues?x", Ok("/api/v4/projects/group%2Fproject/issues?x")),
        ("a", "/decoded/a%2F..%2Fb", Ok("/decoded/b")),
        ("a", "/decoded/..%2Fv2%2Fx", Err(400)),
        ("a", "/matrix/a;v=1/b;w", Ok("/matrix/a;v=1/b;w")),
        ("a", "/matrix;v=1/a", Err(400)),
    ] {
        let answer = gateway.send(Request::get(target).header("host", host)).await;
        let arrived = if answer.status == 200 {
            Ok(answer.json()["target"].as_str().unwrap().to_owned())
        } else {
            answer.problem();
            Err(answer.status.as_u16())
        };
        assert_eq!(arrived.as_deref().map_err(|status| *status), expected, "{host}{target}");
    }
}

#[tokio::test]
async fn a_route_is_found_in_the_reading_that_its_service_has() {
    let open = Upstream::named("open").await;
    let issues = Upstream::named("issues").await;
    let gateway = TestGateway::start(&format!(
        "paths: {{ encoded-slashes: keep }}
upstreams: {{ open: {{ endpoints: ['http://{}'] }}, issues: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: open, match: {{ path: '/{{*rest}}' }}, upstream: open }}
  - {{ name: issues, match: {{ path: '/projects/{{id}}/issues' }}, upstream: issues }}
",
        open.address(),
        issues.address()
    ))
    .await;
    assert_eq!(gateway.get("/projects/group%2Fproject/issues").await.text(), "issues");
    assert_eq!(gateway.get("/projects/group/project/issues").await.text(), "open");
    assert_eq!(gateway.get("/projects%2F7/issues").await.text(), "open");
}

#[tokio::test]
async fn the_target_asterisk_has_no_route() {
    let (gateway, _upstream) = echoing("").await;
    let ask = async |method: &str| {
        let request = format!("{method} * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        gateway.raw(request.as_bytes()).await[9..12].to_owned()
    };
    assert_eq!(ask("OPTIONS").await, "404");
    assert_eq!(ask("GET").await, "400");
}

/// Sends each part when the gateway has had the one before, and returns what comes back until the end.
async fn in_parts(gateway: &TestGateway, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for part in parts {
        stream.write_all(part).await.unwrap();
        // Neither time nor order is asserted: parts that arrive together are the easier case.
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    in_time("the connection's end", stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_a_uri_may_not_hold_passes_percent_encoded_in_a_query() {
    assert_arrives(
        "",
        &[
            (r#"/?symbols=["A","B"]"#, Ok("/?symbols=[%22A%22,%22B%22]")),
            (r#"/api/v1/query?query=up{job="x"}<1>0"#, Ok("/api/v1/query?query=up{job=%22x%22}%3C1%3E0")),
            (r#"http://example.com/?a="b""#, Ok("/?a=%22b%22")),
            ("/?a=`{}|\\^[]", Ok("/?a=`{}|\\^[]")),
        ],
    )
    .await;
    let (gateway, _upstream) = echoing("").await;
    let answer = in_parts(&gateway, &[b"GET /caf\xe9?\xff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]).await;
    assert!(answer.contains(r#""target":"/caf%E9?%FF""#), "{answer}");
}

#[tokio::test]
async fn a_query_is_encoded_in_every_request_of_a_connection_and_in_nothing_else() {
    let (gateway, upstream) = echoing("").await;
    let body = br#"{"a": "<b>"}"#;
    let post = format!("POST /?q=\"1\" HTTP/1.1\r\nHost: a\r\nX-A: \"<>\"\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let mut buffer = vec![0; 8192];
    for round in 0..3 {
        stream.write_all(post.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with('}') {
            let n = in_time("an answer", stream.read(&mut buffer)).await.unwrap();
            assert!(n > 0, "round {round}: {answer}");
            answer.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        assert!(answer.starts_with("HTTP/1.1 200 "), "round {round}: {answer}");
        assert!(answer.contains(r#""target":"/?q=%221%22""#), "round {round}: {answer}");
        assert!(answer.contains(r#"["x-a","\"<>\""]"#), "round {round}: {answer}");
        assert!(answer.contains(r#""body":"{\"a\": \"<b>\"}""#), "round {round}: {answer}");
    }
    assert_eq!(upstream.requests(), 3);
    // A chunked body that looks like a request, and a request after it.
    let chunked =
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\nGET /?\"smuggled\" HTTP/1.1\r\n\r\n\r\n0\r\n\r\n";
    let next = b"GET /?\"next\" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(&chunked[..60]).await.unwrap();
    stream.write_all(&chunked[60..]).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with('}') {
        let n = in_time("an answer", stream.read(&mut buffer)).await.unwrap();
        answer.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(answer.contains(r#"GET /?\"smuggled\" HTTP/1.1"#), "{answer}");
    stream.write_all(next).await.unwrap();
    let mut rest = Vec::new();
    in_time("the connection's end", stream.read_to_end(&mut rest)).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains(r#""target":"/?%22next%22""#), "{rest}");
    assert_eq!(upstream.requests(), 5);
}

#[tokio::test]
async fn a_request_line_may_come_in_pieces() {
    let (gateway, _upstream) = echoing("").await;
    let request: &[u8] = b"GET /a<b?c=\"d\" HTTP/1.1\r\nHost: a\r\nX-A: \"<\"\r\nConnection: close\r\n\r\n";
    for cut in [1, 4, 7, 12, 13, 30] {
        let answer = in_parts(&gateway, &[&request[..cut], &request[cut..]]).await;
        assert!(answer.contains(r#""target":"/a%3Cb?c=%22d%22""#), "cut at {cut}: {answer}");
        assert!(answer.contains(r#"["x-a","\"<\""]"#), "cut at {cut}: {answer}");
    }
    let bytes: Vec<&[u8]> = request.chunks(1).collect();
    let answer = in_parts(&gateway, &bytes).await;
    assert!(answer.contains(r#""target":"/a%3Cb?c=%22d%22""#), "{answer}");
}
