//! An HTTP client that shows everything: status, headers, body, trailers.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header::HeaderName};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::in_time;

pub type Body = BoxBody<Bytes, std::convert::Infallible>;

/// One connection.
pub struct Client {
    sender: Sender,
    authority: String,
    scheme: &'static str,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A request to be.
pub struct Request {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Body,
}

/// A response that has arrived whole.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Client {
    /// HTTP/1.1 on clear text.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        Self { sender: Sender::Http1(http1(stream).await), authority: address.to_string(), scheme: "http" }
    }

    /// HTTP/2 with prior knowledge on clear text.
    pub async fn connect_http2(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        Self { sender: Sender::Http2(http2(stream).await), authority: address.to_string(), scheme: "http" }
    }

    /// TLS to a server of this name; the protocol is whatever ALPN settles.
    pub async fn connect_tls(address: SocketAddr, name: &str, config: ClientConfig) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let server = ServerName::try_from(name.to_owned()).expect("a server name");
        let stream = TlsConnector::from(Arc::new(config)).connect(server, stream).await?;
        let sender = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Sender::Http2(http2(stream).await),
            _ => Sender::Http1(http1(stream).await),
        };
        Ok(Self { sender, authority: name.to_owned(), scheme: "https" })
    }

    /// Another handle to the same connection, for requests at the same time; HTTP/2 only.
    pub fn share(&self) -> Self {
        let Sender::Http2(sender) = &self.sender else { panic!("HTTP/1.1 carries one request at a time") };
        Self { sender: Sender::Http2(sender.clone()), authority: self.authority.clone(), scheme: self.scheme }
    }

    /// Ends when the other side has closed an HTTP/1.1 connection.
    pub async fn is_closed(&mut self) {
        let Sender::Http1(sender) = &mut self.sender else { panic!("HTTP/2 ends with its streams") };
        while sender.ready().await.is_ok() {
            // Hyper tells of the end only when it is asked.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Sends a request and waits for the whole response.
    pub async fn send(&mut self, request: Request) -> Response {
        self.try_send(request).await.expect("a whole response")
    }

    pub async fn try_send(&mut self, request: Request) -> Result<Response, hyper::Error> {
        let response = self.begin(request).await?;
        let (head, body) = response.into_parts();
        let body = in_time("the response's body", body.collect()).await?;
        let trailers = body.trailers().cloned();
        Ok(Response {
            status: head.status,
            version: head.version,
            headers: head.headers,
            body: body.to_bytes(),
            trailers,
        })
    }

    /// Sends a request and waits for the head of the response only.
    pub async fn begin(&mut self, request: Request) -> Result<http::Response<hyper::body::Incoming>, hyper::Error> {
        let Request { method, target, headers, body } = request;
        let mut outgoing = http::Request::new(body);
        *outgoing.method_mut() = method;
        *outgoing.headers_mut() = headers;
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                *outgoing.uri_mut() = target.parse().expect("a target");
                if !outgoing.headers().contains_key("host") {
                    let host = HeaderValue::from_str(&self.authority).expect("an authority");
                    outgoing.headers_mut().insert("host", host);
                }
                in_time("being ready", sender.ready()).await?;
                in_time("the response's head", sender.send_request(outgoing)).await?
            }
            Sender::Http2(sender) => {
                let host = outgoing.headers_mut().remove("host");
                let authority = host.as_ref().and_then(|h| h.to_str().ok()).unwrap_or(&self.authority);
                *outgoing.uri_mut() = format!("{}://{authority}{target}", self.scheme).parse().expect("a target");
                in_time("being ready", sender.ready()).await?;
                in_time("the response's head", sender.send_request(outgoing)).await?
            }
        };
        Ok(response)
    }
}

async fn http1<S>(stream: S) -> http1::SendRequest<Body>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

async fn http2<S>(stream: S) -> http2::SendRequest<Body>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

impl Request {
    pub fn new(method: Method, target: &str) -> Self {
        let body = Full::default().boxed();
        Self { method, target: target.to_owned(), headers: HeaderMap::new(), body }
    }

    pub fn get(target: &str) -> Self {
        Self::new(Method::GET, target)
    }

    pub fn post(target: &str, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, target).body(Full::new(body.into()).boxed())
    }

    pub fn put(target: &str, body: impl Into<Bytes>) -> Self {
        Self::new(Method::PUT, target).body(Full::new(body.into()).boxed())
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.append(name, value.parse().expect("a header value"));
        self
    }

    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The first value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or("not text"))
    }

    pub fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("not text")).collect()
    }

    /// The values of a request header as the echoing upstream saw them.
    pub fn upstream_saw(&self, name: &str) -> Vec<String> {
        let seen = self.json();
        let headers = seen["headers"].as_array().unwrap_or_else(|| panic!("no echo: {}", self.text()));
        let of_name = headers.iter().filter(|header| header[0] == name);
        of_name.map(|header| header[1].as_str().expect("text").to_owned()).collect()
    }

    /// The gateway's own problem details (RFC 9457), checked for what all of them have in common.
    pub fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["request-id"], self.header("x-request-id"));
        problem
    }
}
