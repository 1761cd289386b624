//! Bodies that plugins replace. Those that they read come with a call.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway_core::model::{Data, DataAccess};
use gateway_http::body::Body;
use gateway_pipeline::{EditError, Exchange};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{
        BodyError, Request, Response,
        bodies::{self, Host},
    },
    fields,
    instance::state::State,
};

type HostResult<T> = Result<std::result::Result<T, BodyError>>;

impl Host for State {
    fn replace_request(&mut self, _: Resource<Request>, body: bodies::Body) -> HostResult<()> {
        if let Err(error) = self.may_replace(Data::RequestBody, Data::RequestHeaders, &body) {
            return Ok(Err(error));
        }
        let exchange = self.exchange()?;
        Ok(checked(exchange, body).and_then(|body| exchange.replace_request_body(body).map_err(unavailable)))
    }

    fn replace_response(&mut self, _: Resource<Response>, body: bodies::Body) -> HostResult<()> {
        if let Err(error) = self.may_replace(Data::ResponseBody, Data::ResponseHeaders, &body) {
            return Ok(Err(error));
        }
        let exchange = self.exchange()?;
        Ok(checked(exchange, body).and_then(|body| exchange.replace_response_body(body).map_err(unavailable)))
    }
}

impl State {
    /// Whether the plugin may write such a body with these trailers.
    fn may_replace(&self, of: Data, trailers: Data, body: &bodies::Body) -> std::result::Result<(), BodyError> {
        if !self.may(of, DataAccess::Write, "") {
            return Err(BodyError::Unavailable);
        }
        match body.trailers.iter().find(|(name, _)| !self.may(trailers, DataAccess::Write, name)) {
            Some((name, _)) => Err(BodyError::Invalid(format!("trailer {name} is not granted"))),
            None => Ok(()),
        }
    }
}

fn unavailable(_: EditError) -> BodyError {
    BodyError::Unavailable
}

fn checked(exchange: &Exchange, body: bodies::Body) -> std::result::Result<Body, BodyError> {
    let bodies::Body { bytes, trailers } = body;
    exchange.bounds.check_body(bytes.len()).map_err(BodyError::TooLarge)?;
    if trailers.is_empty() {
        return Ok(bytes.into());
    }
    let trailers = fields::trailers(trailers).map_err(|error| BodyError::Invalid(error.to_string()))?;
    Ok(Body::Stream(Box::pin(WithTrailers { bytes: bytes.into(), trailers: Some(trailers) })))
}

/// A body that a plugin has made, with its trailers. It tells no length: a body with `Content-Length` has no trailers in HTTP/1.1.
struct WithTrailers {
    bytes: Bytes,
    trailers: Option<HeaderMap>,
}

impl HttpBody for WithTrailers {
    type Data = Bytes;
    type Error = gateway_http::body::BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
