//! Targets of routes within the gateway: what responds instead of an upstream.

use std::pin::Pin;

use bytes::Bytes;
use gateway_core::{
    error::Failure,
    model::{Redirect, Respond},
};
use gateway_http::{
    deadline::{Deadline, Limit},
    framing::split_port,
};
use gateway_pipeline::{Exchange, Reply, RequestHead};
use http::{HeaderMap, HeaderValue, header};

use super::failure_response::FailureResponse;

/// Responds to the requests of a route, after its plugins.
pub trait Handler {
    fn handle<'a>(&'a self, exchange: &'a mut Exchange) -> Handling<'a>;
}

/// What a handler responds, at once or later: most handlers never wait, and then nothing is allocated.
pub enum Handling<'a> {
    Done(Result<Reply, HandlerFailure>),
    Wait(Pin<Box<dyn Future<Output = Result<Reply, HandlerFailure>> + 'a>>),
}

/// Why a handler does not respond.
#[derive(Debug)]
pub struct HandlerFailure {
    pub failure: Failure,
    /// For the log, never for the client.
    pub cause: &'static str,
}

/// Has a handler respond until the deadline.
pub(super) async fn run(
    handler: &dyn Handler,
    exchange: &mut Exchange,
    deadline: Deadline,
) -> Result<Reply, FailureResponse> {
    let traffic = exchange.traffic.clone();
    let handled = match handler.handle(exchange) {
        Handling::Done(handled) => handled,
        Handling::Wait(handled) => deadline.limit(&traffic, handled).await.unwrap_or_else(|limit| {
            let failure = if limit == Limit::Total { Failure::TotalTimeout } else { Failure::UpstreamTimeout };
            Err(HandlerFailure { failure, cause: "the route's handler did not respond in time" })
        }),
    };
    handled.map_err(|HandlerFailure { failure, cause }| FailureResponse::new(traffic.failure_behind(failure), cause))
}

impl Handler for Respond {
    fn handle<'a>(&'a self, _: &'a mut Exchange) -> Handling<'a> {
        let Self { status, headers, body } = self;
        Handling::Done(Ok(Reply { status: *status, headers: headers.clone(), body: body.clone() }))
    }
}

impl Handler for Redirect {
    fn handle<'a>(&'a self, exchange: &'a mut Exchange) -> Handling<'a> {
        let reply = |location| {
            let headers = HeaderMap::from_iter([(header::LOCATION, location)]);
            Reply { status: self.status, headers, body: Bytes::new() }
        };
        let failed = HandlerFailure { failure: Failure::Internal, cause: "the location of a redirect is not valid" };
        Handling::Done(location(self, &exchange.request).map(reply).ok_or(failed))
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
    use std::{
        net::IpAddr,
        rc::Rc,
        time::{Duration, Instant},
    };

    use gateway_http::body::Body;
    use gateway_pipeline::{Bounds, Start};
    use http::{Method, StatusCode, Version, uri::PathAndQuery};

    use super::*;

    fn moved(redirect: Redirect, authority: &'static str) -> String {
        let request = RequestHead {
            method: Method::GET,
            scheme: "http",
            authority: HeaderValue::from_static(authority),
            target: PathAndQuery::from_static("/a/b?c=d"),
            headers: Default::default(),
        };
        location(&redirect, &request).unwrap().to_str().unwrap().to_owned()
    }

    fn nothing() -> Redirect {
        Redirect { scheme: None, authority: None, port: None, path: None, status: StatusCode::FOUND }
    }

    /// Responds to any request, when it gets to it.
    struct Slow(Duration);

    impl Handler for Slow {
        fn handle<'a>(&'a self, exchange: &'a mut Exchange) -> Handling<'a> {
            Handling::Wait(Box::pin(async {
                // This is the waiting that the deadline has to end.
                tokio::time::sleep(self.0).await;
                let body = exchange.request.target.as_str().to_owned().into();
                Ok(Reply { status: StatusCode::OK, headers: HeaderMap::new(), body })
            }))
        }
    }

    fn exchange() -> Exchange {
        Exchange::new(Start {
            id: HeaderValue::from_static("1"),
            client: IpAddr::from([127, 0, 0, 1]),
            secured: None,
            protocol: Version::HTTP_11,
            route: "test".into(),
            parameters: Default::default(),
            request: RequestHead {
                method: Method::GET,
                scheme: "http",
                authority: HeaderValue::from_static("x.example"),
                target: PathAndQuery::from_static("/a"),
                headers: Default::default(),
            },
            request_body: Body::Empty,
            bounds: Rc::new(Bounds { added_bytes: 0, added_fields: 0, added_uri_bytes: 0, buffer_bytes: 0 }),
            traffic: Rc::default(),
            started: Instant::now(),
        })
    }

    #[tokio::test]
    async fn a_handler_may_wait_until_the_deadline_and_a_client_that_failed_meanwhile_is_responsible() {
        let until = |limit| Deadline::new(Instant::now(), Some(limit));
        let mut exchange = exchange();
        let reply = run(&Slow(Duration::ZERO), &mut exchange, until(Duration::from_secs(60))).await;
        assert_eq!(reply.unwrap_or_else(|_| panic!("it responds")).body, "/a");
        let never = Slow(Duration::from_secs(3600));
        let late = run(&never, &mut exchange, until(Duration::from_millis(1))).await;
        assert_eq!(late.err().map(|late| late.failure), Some(Failure::UpstreamTimeout));
        exchange.traffic.left.set(true);
        let left = run(&never, &mut exchange, until(Duration::from_millis(1))).await;
        assert_eq!(left.err().map(|left| left.failure), Some(Failure::ClientClosed));
    }

    #[tokio::test]
    async fn the_actions_of_a_route_are_handlers() {
        let until = Deadline::new(Instant::now(), Some(Duration::from_secs(60)));
        let respond = Respond { status: StatusCode::OK, headers: HeaderMap::new(), body: "hello".into() };
        let handlers: [&dyn Handler; 2] = [&respond, &nothing()];
        let mut told = Vec::new();
        for handler in handlers {
            let reply = run(handler, &mut exchange(), until).await.unwrap_or_else(|_| panic!("it responds"));
            told.push((reply.status.as_u16(), reply.body.len(), reply.headers.len()));
        }
        assert_eq!(told, [(200, 5, 0), (302, 0, 1)]);
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
