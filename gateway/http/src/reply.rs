//! The gateway's own answers: problem details as JSON (RFC 9457), which say what failed and nothing about why.

use std::time::SystemTime;

use bytes::Bytes;
use gateway_core::error::Failure;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::request_id::X_REQUEST_ID;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// RFC 9457 §3.1. With `about:blank`, the title is the status's own (§4.2.1).
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    request_id: &'a str,
}

/// The reply to a request that failed. `Allow`, `Connection` and the like are the caller's to add.
pub fn problem(failure: Failure, id: &HeaderValue) -> Response<Bytes> {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    // 404, 405 and 414 may be stored without being asked to (RFC 9110 §15.1), and would outlive a reload.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, id.clone());
    let mut response = Response::new(body(failure, id));
    *response.status_mut() = failure.status();
    *response.headers_mut() = headers;
    response
}

/// The same as bytes of HTTP/1.1, for a connection on which no request exists yet; it is to be closed then.
pub fn problem_http1(failure: Failure, id: &HeaderValue) -> Vec<u8> {
    let body = body(failure, id);
    let status = failure.status();
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         content-length: {}\r\nconnection: close\r\ndate: {}\r\nx-request-id: ",
        status.as_u16(),
        title(status),
        body.len(),
        httpdate::fmt_http_date(SystemTime::now()),
    );
    [head.as_bytes(), id.as_bytes(), b"\r\n\r\n", &body].concat()
}

fn body(failure: Failure, id: &HeaderValue) -> Bytes {
    let status = failure.status();
    let problem = Problem {
        r#type: "about:blank",
        title: title(status),
        status: status.as_u16(),
        detail: failure.detail(),
        request_id: id.to_str().unwrap_or_default(),
    };
    serde_json::to_vec(&problem).expect("strings and numbers are JSON").into()
}

fn title(status: StatusCode) -> &'static str {
    // 499 has no name of its own; it is never sent.
    status.canonical_reason().unwrap_or("Error")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: HeaderValue = HeaderValue::from_static("a\"1");

    #[test]
    fn a_problem_names_status_and_request_and_nothing_else() {
        let reply = problem(Failure::NoRoute, &ID);
        assert_eq!(reply.status(), 404);
        assert_eq!(reply.headers()["content-type"], "application/problem+json");
        assert_eq!(reply.headers()["x-request-id"], ID);
        assert_eq!(
            reply.body(),
            r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no route matches the request","request-id":"a\"1"}"#
        );
    }

    #[test]
    fn the_raw_reply_says_the_same_and_closes() {
        let bytes = problem_http1(Failure::HeadTimeout, &ID);
        let text = String::from_utf8(bytes).expect("ascii");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let lines: Vec<_> = head.split("\r\n").collect();
        assert_eq!(lines[0], "HTTP/1.1 408 Request Timeout");
        let length = format!("content-length: {}", body.len());
        for line in ["content-type: application/problem+json", &length, "connection: close", "x-request-id: a\"1"] {
            assert!(lines.contains(&line), "{line} is not in {lines:?}");
        }
        assert_eq!(body.as_bytes(), &problem(Failure::HeadTimeout, &ID).into_body()[..]);
    }
}
