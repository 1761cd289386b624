//! After an upgrade (RFC 9110 §7.8) a connection is no longer HTTP's. The exchange goes on all the same, until the
//! last byte: then its observers run, and it is counted, like any other.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use gateway_core::{error::Failure, model::Upgrade};
use gateway_http::{body::BodyError, hop, request_id::X_REQUEST_ID};
use gateway_pipeline::MessageFilters;
use gateway_upstream::Switched;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::upgrade::OnUpgrade;

use super::{active_exchange::ActiveExchange, outgoing::OutgoingBody};

/// What hyper sends back: an exchange's body, or nothing where the connection is handed over.
pub enum ResponseBody {
    Exchange(OutgoingBody),
    /// When the head has been sent, the connection is the tunnel's. It has to be taken before that.
    Switched(Option<Box<Tunnel>>),
}

/// An exchange whose connection has been handed over.
pub struct Tunnel {
    active: Box<ActiveExchange>,
    upstream: Option<Box<Switched>>,
}

/// How the two sides of a tunnel parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Both said all they had to say, or the gateway told them to.
    Whole,
    ClientLeft,
    UpstreamLeft,
    /// The gateway closed both.
    Failed(Failure),
}

/// What a request asks to switch to, if it does so as RFC 6455 §4.2.1 says. Any other request is an ordinary one: its
/// `Upgrade` goes no further. Hyper notes on every HTTP/1.1 request that has an `Upgrade`, whatever `Connection` says.
pub(super) fn wanted(head: &Parts, body: &impl HttpBody) -> Option<Upgrade> {
    if head.extensions.is_empty() || head.extensions.get::<OnUpgrade>().is_none() {
        return None;
    }
    let headers = &head.headers;
    let is_websocket = one(headers, header::UPGRADE).is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
    // RFC 9110 §7.8: without the connection option, `Upgrade` was meant for another recipient, and must be ignored.
    let is_for_us = hop::lists_upgrade(headers);
    // The other side of a tunnel must not be one that takes the request for something else.
    let is_handshake = one(headers, header::SEC_WEBSOCKET_KEY).is_some_and(|key| key.len() == 24)
        && one(headers, header::SEC_WEBSOCKET_VERSION).is_some();
    // RFC 6455 §4.1: a GET. One with a body would leave it unclear where the tunnel begins.
    let is_plain = head.method == Method::GET && head.version == Version::HTTP_11 && body.is_end_stream();
    (is_websocket && is_for_us && is_handshake && is_plain).then_some(Upgrade::Websocket)
}

/// The value of a field that is there once.
fn one(headers: &HeaderMap, name: header::HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}

/// Hands the connection over, once hyper has sent the response.
pub(super) fn begin(mut active: Box<ActiveExchange>, upstream: Box<Switched>) -> Response<ResponseBody> {
    let mut headers = match active.slot.response.take() {
        Some(head) => {
            let headers = head.headers.clone();
            active.slot.response = Some(head);
            headers
        }
        None => HeaderMap::new(),
    };
    // RFC 9110 §8.6: no length in any case.
    headers.remove(header::CONTENT_LENGTH);
    headers.entry(X_REQUEST_ID).or_insert_with(|| active.slot.id.clone());
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(Upgrade::Websocket.token()));
    active.status = Some(StatusCode::SWITCHING_PROTOCOLS);
    let tunnel = active.client.is_some().then(|| {
        active.metrics().tunnelled.begin();
        Box::new(Tunnel { active, upstream: Some(upstream) })
    });
    let mut response = Response::new(ResponseBody::Switched(tunnel));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}

impl Tunnel {
    /// How long nothing may move in either direction.
    pub fn idle_timeout(&self) -> Duration {
        self.active.route.map_or(Duration::ZERO, |index| self.active.site.routes[index].model.upgrade_idle)
    }

    /// The upstream's side, the first time.
    pub fn upstream(&mut self) -> Option<Box<Switched>> {
        self.upstream.take()
    }

    /// What the messages pass; nothing if they are not looked into.
    pub fn message_filters(&self) -> &MessageFilters {
        &self.active.slot.message_filters
    }

    /// The most that a message may have.
    pub fn buffer_bytes(&self) -> usize {
        self.active.slot.bounds.buffer_bytes
    }

    /// Bytes came from the client.
    pub fn received(&self, bytes: usize) {
        let received = &self.active.slot.traffic.received;
        received.set(received.get() + bytes as u64);
        self.active.metrics().tunnelled.received(bytes);
    }

    /// Bytes came from the upstream, or went to the client.
    pub fn sent(&self, bytes: usize) {
        let sent = &self.active.slot.traffic.sent;
        sent.set(sent.get() + bytes as u64);
        self.active.metrics().tunnelled.sent(bytes);
    }

    pub fn ended(mut self, parting: Parting) {
        self.active.whole = true;
        self.active.slot.traffic.complete.set(true);
        self.active.failure = match parting {
            Parting::Whole => None,
            Parting::ClientLeft => Some(Failure::ClientClosed),
            Parting::UpstreamLeft => Some(Failure::UpstreamClosed),
            Parting::Failed(failure) => Some(failure),
        };
    }
}

impl ResponseBody {
    /// The tunnel that the connection becomes, the first time.
    pub fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        match self {
            Self::Exchange(_) => None,
            Self::Switched(tunnel) => tunnel.take(),
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.active.metrics().tunnelled.end();
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Exchange(body) => Pin::new(body).poll_frame(cx),
            Self::Switched(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Exchange(body) => body.is_end_stream(),
            Self::Switched(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Exchange(body) => body.size_hint(),
            Self::Switched(_) => SizeHint::with_exact(0),
        }
    }
}
