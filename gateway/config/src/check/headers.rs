//! Header fields that an operator gives values.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{names::cut, report::Report};
use crate::{part::Part, yaml::join};

/// What says where a message ends is not for the operator to say.
const FRAMING: [HeaderName; 3] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

/// Reports fields that say where a message ends, in a map at this place.
pub(super) fn framing(headers: &HeaderMap, place: &str, report: &mut Report<'_>) {
    for name in FRAMING.iter().filter(|name| headers.contains_key(*name)) {
        report.key(&join(place, name.as_str()), format!("the gateway sets `{name}` itself"));
    }
}

/// Those of them that are sound. `place` is the map's.
pub(super) fn headers(typed: &BTreeMap<String, Part<String>>, place: &str, report: &mut Report<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, part) in typed {
        let at = join(place, name);
        let Some(text) = report.part(part, &at) else { continue };
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if FRAMING.contains(&name) => {
                report.key(&at, format!("the gateway sets `{name}` itself"));
            }
            Ok(name) => match HeaderValue::from_str(text) {
                Ok(value) => {
                    headers.append(name, value);
                }
                Err(_) => report.value(&at, format!("`{}` is no header value", cut(text))),
            },
            Err(_) => report.key(&at, format!("`{}` is no header name", cut(name))),
        }
    }
    headers
}
