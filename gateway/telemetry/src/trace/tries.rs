//! The tries of one request to an upstream, as spans.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use http::HeaderValue;

use super::{Trace, What, random};

/// What a request needs to have its tries recorded. One that is dropped in the midst of a try was given up.
#[derive(Debug)]
pub struct Tries {
    trace: Rc<Trace>,
    parent: u64,
    under_way: Option<UnderWay>,
    count: u32,
}

#[derive(Debug)]
struct UnderWay {
    id: u64,
    began: Instant,
    header: HeaderValue,
}

/// How a try ended.
#[derive(Debug)]
pub struct Tried {
    pub upstream: Arc<str>,
    /// The endpoint's name and port, and where that was; none where it was given up before.
    pub endpoint: Option<(String, SocketAddr)>,
    pub method: String,
    pub status: Option<u16>,
    pub failure: Option<&'static str>,
    /// How many came before it.
    pub again: u32,
}

impl Tries {
    /// As parts of what goes on at present.
    pub fn of(trace: &Rc<Trace>) -> Box<Self> {
        Box::new(Self { parent: trace.current.get(), trace: trace.clone(), under_way: None, count: 0 })
    }

    pub fn begin(&mut self, began: Instant) {
        let id = random();
        self.under_way = Some(UnderWay { id, began, header: self.trace.header_of(id) });
    }

    /// What `traceparent` says of what the tries are part of.
    pub fn parent(&self) -> HeaderValue {
        self.trace.header_of(self.parent)
    }

    /// What `traceparent` says to the upstream.
    pub fn header(&self) -> Option<&HeaderValue> {
        self.under_way.as_ref().map(|under_way| &under_way.header)
    }

    /// `tried` is told how many tries there were before.
    pub fn end(&mut self, ended: Instant, tried: impl FnOnce(u32) -> Tried) {
        if let Some(UnderWay { id, began, .. }) = self.under_way.take() {
            self.trace.record(id, self.parent, began, ended, || What::Try(tried(self.count)));
            self.count += 1;
        }
    }
}

impl Drop for Tries {
    fn drop(&mut self) {
        self.end(Instant::now(), |again| Tried {
            upstream: "".into(),
            endpoint: None,
            method: String::new(),
            status: None,
            failure: Some("cancelled"),
            again,
        });
    }
}
