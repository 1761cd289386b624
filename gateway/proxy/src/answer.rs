//! What a route answers by itself.

use bytes::Bytes;
use gateway_core::model::{Action, Redirect};
use gateway_http::framing::split_port;
use gateway_pipeline::{Reply, RequestHead};
use http::{HeaderMap, HeaderValue, header};

/// None where the action is another.
pub(super) fn answer(action: &Action, request: &RequestHead) -> Option<Reply> {
    match action {
        Action::Respond(respond) => {
            Some(Reply { status: respond.status, headers: respond.headers.clone(), body: respond.body.clone() })
        }
        Action::Redirect(redirect) => {
            let mut headers = HeaderMap::with_capacity(1);
            headers.insert(header::LOCATION, location(redirect, request)?);
            Some(Reply { status: redirect.status, headers, body: Bytes::new() })
        }
        Action::Upstream(_) | Action::Split(_) => None,
    }
}

/// Absolute where the request says whom it addressed (RFC 9110 §10.2.2 allows the path alone).
fn location(redirect: &Redirect, request: &RequestHead) -> Option<HeaderValue> {
    let scheme = redirect.scheme.unwrap_or(request.scheme);
    let authority = redirect.authority.as_ref().unwrap_or(&request.authority).as_bytes();
    let mut location = Vec::new();
    if !authority.is_empty() {
        let (host, named) = split_port(authority);
        // The port of one scheme does not answer another. (The Gateway API says the same, HTTPRequestRedirectFilter.)
        let moved = redirect.authority.is_none() && scheme != request.scheme;
        let port: Option<Vec<u8>> = match redirect.port {
            Some(port) if port == default_port(scheme) => None,
            Some(port) => Some(port.to_string().into_bytes()),
            None => named.filter(|_| !moved).map(<[u8]>::to_vec),
        };
        location.extend_from_slice(scheme.as_bytes());
        location.extend_from_slice(b"://");
        location.extend_from_slice(host);
        if let Some(port) = port {
            location.push(b':');
            location.extend_from_slice(&port);
        }
    }
    let path = redirect.path.as_ref();
    location.extend_from_slice(path.map_or(request.target.path(), |path| path.path()).as_bytes());
    let query = path.and_then(|path| path.query()).or(request.target.query());
    if let Some(query) = query {
        location.push(b'?');
        location.extend_from_slice(query.as_bytes());
    }
    HeaderValue::from_bytes(&location).ok()
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode, uri::PathAndQuery};

    use super::*;

    fn moved(redirect: Redirect, authority: &'static str) -> String {
        let request = RequestHead {
            method: Method::GET,
            scheme: "http",
            authority: HeaderValue::from_static(authority),
            target: PathAndQuery::from_static("/a/b?c=d"),
            headers: HeaderMap::new(),
        };
        location(&redirect, &request).unwrap().to_str().unwrap().to_owned()
    }

    fn nothing() -> Redirect {
        Redirect { scheme: None, authority: None, port: None, path: None, status: StatusCode::FOUND }
    }

    #[test]
    fn what_is_left_out_is_as_in_the_request() {
        assert_eq!(moved(Redirect { scheme: Some("https"), ..nothing() }, "x.example"), "https://x.example/a/b?c=d");
        let elsewhere = || Some(HeaderValue::from_static("y.example:8443"));
        assert_eq!(moved(Redirect { authority: elsewhere(), ..nothing() }, "x"), "http://y.example:8443/a/b?c=d");
        let path = |path| Some(PathAndQuery::from_static(path));
        assert_eq!(moved(Redirect { path: path("/new"), ..nothing() }, "x"), "http://x/new?c=d");
        assert_eq!(moved(Redirect { path: path("/new?e=f"), ..nothing() }, ""), "/new?e=f");
    }

    #[test]
    fn a_port_belongs_to_its_scheme() {
        let to = |scheme, port| Redirect { scheme: Some(scheme), port, ..nothing() };
        assert_eq!(moved(to("https", None), "x.example:8080"), "https://x.example/a/b?c=d");
        assert_eq!(moved(to("https", None), "[::1]:8080"), "https://[::1]/a/b?c=d");
        assert_eq!(moved(to("https", None), "[::1]"), "https://[::1]/a/b?c=d");
        assert_eq!(moved(to("https", Some(8443)), "x.example:8080"), "https://x.example:8443/a/b?c=d");
        assert_eq!(moved(to("https", Some(443)), "x.example:8080"), "https://x.example/a/b?c=d");
        assert_eq!(moved(to("http", None), "x.example:8080"), "http://x.example:8080/a/b?c=d");
        assert_eq!(moved(nothing(), "x.example:8080"), "http://x.example:8080/a/b?c=d");
        let authority = Some(HeaderValue::from_static("y.example:8443"));
        assert_eq!(moved(Redirect { authority, ..to("https", None) }, "x:80"), "https://y.example:8443/a/b?c=d");
    }
}
