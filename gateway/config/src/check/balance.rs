//! Which endpoint gets the next request.

use gateway_core::model;
use http::HeaderName;

use super::{names::cut, report::Report};
use crate::{
    file::{Balance, HashKey, NamedHashKey, PlainBalance, PlainHashKey, Upstream},
    yaml::join,
};

pub(super) fn balance(typed: &Upstream, place: &str, report: &mut Report<'_>) -> Option<model::Balance> {
    match report.part(&typed.balance, place)? {
        Balance::Plain(PlainBalance::RoundRobin) => Some(model::Balance::RoundRobin),
        Balance::Plain(PlainBalance::LeastRequests) => Some(model::Balance::LeastRequests),
        Balance::Plain(PlainBalance::Random) => Some(model::Balance::Random),
        Balance::Hash(typed) => {
            let at = join(place, "hash");
            let key = match report.part(&typed.hash, &at)? {
                HashKey::Plain(PlainHashKey::ClientAddress) => model::HashKey::ClientAddress,
                HashKey::Named(typed) => named(typed, &at, report)?,
            };
            Some(model::Balance::Hash(key))
        }
    }
}

fn named(typed: &NamedHashKey, place: &str, report: &mut Report<'_>) -> Option<model::HashKey> {
    match (&typed.header, &typed.cookie, &typed.attribute) {
        (Some(name), None, None) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Some(model::HashKey::Header(name)),
            Err(_) => {
                report.value(&join(place, "header"), format!("`{}` is no header name", cut(name)));
                None
            }
        },
        (None, Some(name), None) => {
            // RFC 6265 §4.1.1: a cookie's name is a token.
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b)) {
                report.value(&join(place, "cookie"), format!("`{}` is no name of a cookie", cut(name)));
            }
            Some(model::HashKey::Cookie(name.clone()))
        }
        (None, None, Some(name)) => {
            if name.is_empty() || name.bytes().any(|b| b.is_ascii_control() || b == b' ') {
                report.value(&join(place, "attribute"), format!("`{}` is no name of an attribute", cut(name)));
            }
            Some(model::HashKey::Attribute(name.clone()))
        }
        // The schema has said that it is exactly one.
        _ => None,
    }
}
