//! Lines, names, hosts and targets that are not quite right.

use super::{SMUGGLED, Scene, get, is_problem, post};
use crate::support::strict::RawClient;

#[tokio::test]
async fn lines_that_are_folded_or_broken_otherwise_are_refused() {
    let scene = Scene::new().await;
    for fields in [
        // obs-fold
        "X-A: 1\r\n Transfer-Encoding: chunked",
        "X-A: 1\r\n\tContent-Length: 5",
        " X-First: folded into the request line",
        // bare CR
        "X-A: 1\rTransfer-Encoding: chunked",
        "X-A: 1\r\rX-B: 2",
        "X-A\r: 1",
        // NUL and other control characters
        "X-A: 1\0",
        "X-\0A: 1",
        "X-A: \u{1}",
        "X-A: \u{7f}",
        // names
        "Content-Length : 5",
        "Transfer-Encoding\t: chunked",
        "X A: 1",
        "X(A): 1",
        ": no name",
        "no colon",
        "X-\u{e9}: 1",
    ] {
        scene.refuses(400, post(fields, "hello")).await;
    }
}

#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_goes_on_as_a_proper_end() {
    let scene = Scene::new().await;
    // RFC 9112 §2.2 allows it; whoever comes next gets to see CRLF only.
    let request = "POST /x HTTP/1.1\nHost: a.example\nX-A: 1\nContent-Length: 5\n\nhello";
    scene.forwards(request, "POST /x HTTP/1.1\nhost: a.example\nx-a: 1\ncontent-length: 5\n\nhello").await;
}

#[tokio::test]
async fn there_is_one_valid_host() {
    let scene = Scene::new().await;
    for hosts in [
        "X-No: host",
        "Host: a.example\r\nHost: a.example",
        "Host: a.example\r\nHost: b.example",
        "Host:",
        "Host: a.example, b.example",
        "Host: a example",
        "Host: user@a.example",
        "Host: a.example/path",
        "Host: a.example:port",
        "Host: a.example:99999",
        "Host: a.example:80:80",
        "Host: [::1",
        "Host: a.example\\",
        "Host: a%2eexample",
    ] {
        scene.refuses(400, format!("GET /x HTTP/1.1\r\n{hosts}\r\n\r\n{SMUGGLED}")).await;
    }
}

#[tokio::test]
async fn an_absolute_target_decides_and_host_says_the_same_afterwards() {
    let scene = Scene::new().await;
    let expected = "GET /x?y HTTP/1.1\nhost: b.example\n\n";
    scene.forwards("GET http://b.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n", expected).await;
    for target in [
        "http://user@b.example/x",
        "http://user:secret@b.example/x",
        "ftp://b.example/x",
        "http:///x",
        "http://b.example:port/x",
        "b.example:80",
        "//b.example/x HTTP/1.1\r\nHost:",
    ] {
        scene.refuses(400, format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n{SMUGGLED}")).await;
    }
}

#[tokio::test]
async fn request_lines_have_one_form() {
    let scene = Scene::new().await;
    let host = "\r\nHost: a.example\r\n\r\n";
    for line in [
        "GET\t/x\tHTTP/1.1",
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        " GET /x HTTP/1.1",
        "GET /x HTTP/1.1 ",
        "GET /x y HTTP/1.1",
        "GET /x",
        "GET",
        "/x HTTP/1.1",
        "GET /x HTTP/1.2",
        "GET /x HTTP/2.0",
        "GET /x HTTP/0.9",
        "GET /x http/1.1",
        "GET /x HTTP/1.1\0",
        "GET /x\0 HTTP/1.1",
        "GET /x\rHTTP/1.1",
        "G(T /x HTTP/1.1",
        "GET x HTTP/1.1",
        "GET /\u{1}x HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        scene.refuses(400, format!("{line}{host}{SMUGGLED}")).await;
    }
    for line in ["get /x HTTP/1.1", "MADE-UP /x HTTP/1.1"] {
        scene.forwards(format!("{line}{host}"), &format!("{line}\nhost: a.example\n\n")).await;
    }
}

#[tokio::test]
async fn a_request_of_http_0_9_is_refused() {
    let scene = Scene::new().await;
    scene.refuses(400, "GET /smuggled\r\n").await;
    scene.refuses(400, "GET /smuggled\n").await;
}

#[tokio::test]
async fn half_of_the_http_2_preface_is_half_a_request() {
    let scene = Scene::new().await;
    for part in ["P", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let mut client = RawClient::connect(scene.gateway.address()).await;
        let response = client.say(part).await.response().await;
        // The third one is a whole head of a version that is not HTTP/1.
        assert!([400, 408].contains(&response.status()), "{part:?}: {response}");
        is_problem(&response, part);
        client.is_closed().await;
    }
}

#[tokio::test]
async fn escapes_in_a_path_become_neither_lines_nor_spaces() {
    let scene = Scene::new().await;
    for target in ["/%00", "/x%", "/%zz", "/\\x", "/../x", "*"] {
        let mut client = RawClient::connect(scene.gateway.address()).await;
        let response = client.say(get(target)).await.response().await;
        assert_eq!(response.status(), 400, "{target}");
        is_problem(&response, target);
        assert_eq!(scene.seen().await, Vec::<String>::new());
    }
    for (target, expected) in [
        ("/%0d%0aX-Smuggled:%201", "/%0D%0AX-Smuggled:%201"),
        ("/x%0aGET%20/smuggled", "/x%0AGET%20/smuggled"),
        ("/x%20HTTP/1.1?%0d%0aX-Smuggled:%201", "/x%20HTTP/1.1?%0d%0aX-Smuggled:%201"),
        ("/x<HTTP/1.1>?\"HTTP/1.1\"", "/x%3CHTTP/1.1%3E?%22HTTP/1.1%22"),
    ] {
        let expected = format!("GET {expected} HTTP/1.1\nhost: a.example\n\n");
        scene.forwards(get(target), &expected).await;
    }
}
