//! Which requests belong together, where an upstream is balanced by a hash over a key of theirs.

use std::net::IpAddr;

use gateway_core::model::{Balance, HashKey};
use gateway_pipeline::Exchange;
use gateway_upstream::hash_of;
use http::{HeaderMap, header};

/// None where the upstream is balanced otherwise, or the request has no such key.
pub(super) fn key(balance: &Balance, exchange: &Exchange) -> Option<u64> {
    let Balance::Hash(key) = balance else { return None };
    match key {
        HashKey::Header(name) => exchange.request.headers.value(name).map(|value| hash_of(value.as_bytes())),
        HashKey::Cookie(name) => cookie(exchange.request.headers.others(), name).map(hash_of),
        HashKey::ClientAddress => Some(match exchange.client.to_canonical() {
            IpAddr::V4(address) => hash_of(&address.octets()),
            IpAddr::V6(address) => hash_of(&address.octets()),
        }),
        HashKey::Attribute(name) => exchange.attribute(name).map(|value| hash_of(value.as_bytes())),
    }
}

/// The value of a cookie (RFC 6265 §4.2.1).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "xid=1; id=2".parse().unwrap());
        headers.append(header::COOKIE, "idle=3;empty=".parse().unwrap());
        assert_eq!(cookie(&headers, "id"), Some(&b"2"[..]));
        assert_eq!(cookie(&headers, "idle"), Some(&b"3"[..]));
        assert_eq!(cookie(&headers, "empty"), Some(&b""[..]));
        assert_eq!(cookie(&headers, "i"), None);
    }
}
