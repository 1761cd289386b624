//! The head of a request as HTTP/2 has it (RFC 9113 §8.3).

use gateway_http::{body::Body, grpc, loops};
use gateway_telemetry::trace::TRACEPARENT;
use http::{HeaderValue, Method, Request, Uri, Version, header};
use http_body::Body as _;

use super::{broken::Unsendable, request_head::RequestHead};

impl RequestHead<'_> {
    /// The same for HTTP/2 (RFC 9113 §8.3): no field of the connection, and a length only where it is known.
    pub(crate) fn request(&self, scheme: &str, body: Body) -> Result<Request<Body>, Unsendable> {
        let uri = Uri::builder().scheme(scheme).authority(self.host.as_bytes()).path_and_query(self.target.clone());
        let uri = uri.build().map_err(Unsendable::Authority)?;
        let mut headers = self.headers.clone();
        for name in [header::HOST, header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING] {
            headers.remove(name);
        }
        if let Some(forwarding) = self.forwarding {
            forwarding.add_to(&mut headers);
        }
        let expects_body = matches!(*self.method, Method::POST | Method::PUT | Method::PATCH);
        match body.size_hint().exact() {
            Some(length) if length > 0 || expects_body => drop(headers.insert(header::CONTENT_LENGTH, length.into())),
            _ => drop(headers.remove(header::CONTENT_LENGTH)),
        }
        if let Some(parent) = self.traceparent
            && let Some(told) = headers.get_mut(TRACEPARENT)
        {
            *told = parent.clone();
        }
        headers.try_append(loops::CDN_LOOP, loops::mark().clone()).map_err(Unsendable::Head)?;
        if grpc::is_call(&headers) {
            // Servers of gRPC want to be told that trailers are understood, and these are.
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        Ok(request)
    }
}
