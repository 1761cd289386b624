//! The headers of a request, and beside them the forwarding headers of the gateway's own.
//!
//! Nearly every request gets the same forwarding headers as the one before it on its connection, and nothing but the upstream
//! reads them. So they are made once ([`ForwardingHeaders`]), shared, and written to the upstream as they are. They become fields of
//! the map only when something looks at them or edits them.

use std::{
    cell::OnceCell,
    ops::{Deref, DerefMut},
    rc::Rc,
};

use gateway_rules::fields::Headers;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::known_headers::is_claim;

/// Forwarding headers of the gateway's own, for a request that has no others.
#[derive(Debug)]
pub struct ForwardingHeaders {
    fields: Box<[(HeaderName, HeaderValue)]>,
    lines: Box<[u8]>,
}

impl ForwardingHeaders {
    pub(super) fn new(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        let fields: Box<[_]> = fields.into_iter().collect();
        let mut lines = Vec::new();
        for (name, value) in &fields {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        Self { fields, lines: lines.into() }
    }

    /// As HTTP/1.1 writes them, each with its line end.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Puts them into a map that has none of them.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.fields {
            // Refused only by a map of more than 24,000 names, which the limits of a head do not let arise.
            let _ = headers.try_insert(name, value.clone());
        }
    }

    fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.fields.iter().find(|(own, _)| own.as_str().eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The headers of a request. As a map they are all of its headers, the forwarding headers among them; the methods here spare those
/// that look for other headers the making of that map.
#[derive(Debug, Clone, Default)]
pub struct RequestHeaders {
    /// While `forwarding` is apart, no name in here is a forwarding header's.
    map: HeaderMap,
    forwarding: Option<Rc<ForwardingHeaders>>,
    /// Both together, once that was asked for.
    all: OnceCell<Box<HeaderMap>>,
}

impl RequestHeaders {
    pub fn new(map: HeaderMap, forwarding: Option<Rc<ForwardingHeaders>>) -> Self {
        Self { map, forwarding, all: OnceCell::new() }
    }

    /// The forwarding headers, as long as they are not in the map.
    pub fn forwarding(&self) -> Option<&ForwardingHeaders> {
        self.forwarding.as_deref()
    }

    /// The bytes of `forwarding` as HTTP/1.1 writes it, and its fields.
    pub fn size_of_forwarding(&self) -> (usize, usize) {
        self.forwarding().map_or((0, 0), |forwarding| (forwarding.lines.len(), forwarding.fields.len()))
    }

    /// The headers without those in `forwarding`.
    pub fn others(&self) -> &HeaderMap {
        &self.map
    }

    /// The map with every header of this name, in whatever spelling: to read or to edit these, and no others.
    pub fn map_for(&mut self, name: &str) -> &mut HeaderMap {
        if self.forwarding.is_some() && is_claim(name) { self.merged() } else { &mut self.map }
    }

    /// The first value of a header.
    pub fn value(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.map.get(name).or_else(|| self.forwarding()?.get(name.as_str()))
    }

    /// How many lines there are.
    #[expect(clippy::len_without_is_empty, reason = "of no use for a request")]
    pub fn len(&self) -> usize {
        self.map.len() + self.size_of_forwarding().1
    }

    /// The map with all headers, from here on.
    fn merged(&mut self) -> &mut HeaderMap {
        if let Some(forwarding) = self.forwarding.take() {
            self.all.take();
            forwarding.add_to(&mut self.map);
        }
        &mut self.map
    }
}

impl Headers for RequestHeaders {
    fn values_of<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a HeaderValue> + use<'a> {
        self.map.get_all(name).into_iter().chain(self.forwarding().and_then(|forwarding| forwarding.get(name)))
    }

    fn lines(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let forwarding = self.forwarding().into_iter().flat_map(|forwarding| &forwarding.fields);
        self.map.iter().chain(forwarding.map(|(name, value)| (name, value)))
    }
}

impl From<HeaderMap> for RequestHeaders {
    fn from(map: HeaderMap) -> Self {
        Self::new(map, None)
    }
}

impl Deref for RequestHeaders {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        let Some(forwarding) = &self.forwarding else { return &self.map };
        self.all.get_or_init(|| {
            let mut all = Box::new(self.map.clone());
            forwarding.add_to(&mut all);
            all
        })
    }
}

impl DerefMut for RequestHeaders {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        self.merged()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
    const OTHER: HeaderName = HeaderName::from_static("x-other");

    fn headers() -> RequestHeaders {
        let forwarding = ForwardingHeaders::new([(REAL_IP, HeaderValue::from_static("192.0.2.1"))]);
        RequestHeaders::new(HeaderMap::from_iter([(OTHER, HeaderValue::from_static("1"))]), Some(Rc::new(forwarding)))
    }

    #[test]
    fn a_header_is_found_wherever_it_is() {
        let mut headers = headers();
        for merged in [false, true] {
            assert_eq!(headers.forwarding().is_none(), merged);
            assert_eq!(headers.value(&REAL_IP).unwrap(), "192.0.2.1");
            assert_eq!(headers.values_of("X-Real-IP").collect::<Vec<_>>(), ["192.0.2.1"]);
            assert_eq!(headers.value(&OTHER).unwrap(), "1");
            assert_eq!(headers.lines().map(|(name, _)| name).collect::<Vec<_>>(), [OTHER, REAL_IP]);
            assert_eq!((headers.len(), &headers["x-real-ip"]), (2, &HeaderValue::from_static("192.0.2.1")));
            headers.map_for("x-real-ip");
        }
    }

    #[test]
    fn only_who_looks_for_a_forwarding_header_has_them_put_into_the_map() {
        for (name, merged) in
            [("x-other", false), ("x-real-ip", true), ("x_real_ip", true), ("x-forwarded-prefix", true)]
        {
            let mut headers = headers();
            assert_eq!(headers.map_for(name).contains_key(REAL_IP), merged, "{name}");
            assert_eq!(headers.forwarding().is_none(), merged, "{name}");
        }
    }

    #[test]
    fn an_edit_of_the_map_is_one_of_all_headers() {
        let mut headers = headers();
        assert_eq!(headers.keys_len(), 2);
        headers.remove(REAL_IP);
        assert_eq!(headers.keys().collect::<Vec<_>>(), [OTHER]);
        assert!(headers.forwarding().is_none() && headers.value(&REAL_IP).is_none());
    }

    #[test]
    fn lines_are_what_http_1_1_writes() {
        assert_eq!(headers().forwarding().unwrap().lines(), b"x-real-ip: 192.0.2.1\r\n");
    }
}
