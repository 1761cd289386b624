//! `/metrics`: in the format and the coding that the client asks for.

use std::{io::Write, sync::Arc};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use gateway_telemetry::text_format::{OPENMETRICS, TEXT, from_openmetrics};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    api_result::{ApiResult, Refusal},
    panel::Panel,
};

/// What `Accept` prefers (RFC 9110 §12.5.1), as Prometheus negotiates: OpenMetrics for a client that names it, and the text
/// format for all others.
fn format(headers: &HeaderMap) -> &'static str {
    let ranges = list(headers, &header::ACCEPT);
    let known = ranges.iter().filter_map(|range| {
        let version = range.parameter("version");
        let format = match (range.name, version) {
            ("application/openmetrics-text", None | Some("1.0.0")) => OPENMETRICS,
            ("text/plain", None | Some("0.0.4" | "1.0.0")) | ("text/*" | "*/*", _) => TEXT,
            _ => return None,
        };
        (range.weight > 0).then_some((range.weight, format))
    });
    // Of two that weigh the same, the first.
    let best = known.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map_or(TEXT, |(_, format)| format)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let codings = list(headers, &header::ACCEPT_ENCODING);
    let weight = |name: &str| codings.iter().find(|coding| coding.name == name).map(|coding| coding.weight);
    weight("gzip").or(weight("x-gzip")).or(weight("*")).is_some_and(|weight| weight > 0)
}

/// An item of such a list, in lower case.
struct Item<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    /// In thousandths.
    weight: u16,
}

impl Item<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<Item<'a>> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    let item = |text: &'a str| {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('='));
        let parameters: Vec<_> =
            parameters.map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))).collect();
        let weight = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("q")).map_or(1.0, |(_, weight)| {
            // What is no weight is not wanted.
            weight.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0)
        });
        Item { name, parameters, weight: (weight * 1000.0) as u16 }
    };
    lines.flat_map(|line| line.split(',')).map(item).filter(|item| !item.name.is_empty()).collect()
}

/// All metrics.
pub(super) async fn metrics(State(panel): State<Arc<Panel>>, headers: HeaderMap) -> ApiResult<Response> {
    let (format, gzip) = (format(&headers), takes_gzip(&headers));
    // Many series take a while, and health is answered meanwhile. One page at a time: the next ones wait, and take no memory.
    let ending = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending");
    let _turn = panel.scraping.acquire().await.map_err(ending)?;
    let metrics = panel.shared.metrics.clone();
    let page = tokio::task::spawn_blocking(move || {
        let page = metrics.render();
        let page = if format == TEXT { from_openmetrics(&page) } else { page };
        if gzip { compressed(page.as_bytes()) } else { page.into_bytes() }
    });
    let page = page.await.map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of the gateway"))?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(format));
    let vary = (header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    let mut response = ([kind, vary], page).into_response();
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn compressed(page: &[u8]) -> Vec<u8> {
    // The same names over and over: more effort makes it hardly smaller.
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    encoder.write_all(page).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn openmetrics_is_for_those_who_prefer_it() {
        let format = |accept| format(&asking(header::ACCEPT, accept));
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "text/plain;q=0.3, application/openmetrics-text; version=\"1.0.0\"; q=0.4",
        ] {
            assert_eq!(format(accept), OPENMETRICS, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html",
            "text/plain",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;q=0.1, text/plain",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=x",
        ] {
            assert_eq!(format(accept), TEXT, "{accept}");
        }
        assert_eq!(super::format(&HeaderMap::new()), TEXT);
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let takes = |coding| takes_gzip(&asking(header::ACCEPT_ENCODING, coding));
        for coding in ["gzip", "deflate, gzip;q=0.1", "x-gzip", "*"] {
            assert!(takes(coding), "{coding}");
        }
        for coding in ["", "identity", "gzip;q=0", "*;q=0", "gzip;q=0, *", "br"] {
            assert!(!takes(coding), "{coding}");
        }
    }
}
