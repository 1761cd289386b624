//! Whether an operator may make a request.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use gateway_core::model::Role;
use http::{HeaderMap, Method, StatusCode, header};

use super::{
    api_result::{ApiResult, Refusal},
    connections::ConnectionState,
    operators::Peer,
    panel::Panel,
};

/// Lets a request in if its operator may do what it asks for, and writes down what is more than reading.
pub(super) async fn check(State(panel): State<Arc<Panel>>, mut request: Request, next: Next) -> ApiResult<Response> {
    let rules = panel.rules();
    let peer = request.extensions().get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the peer is not known"))?;
    let who = rules.find(&peer, request.headers()).and_then(|who| {
        let own = is_from_here(request.headers());
        own.then_some(who).ok_or_else(|| Refusal::new(StatusCode::FORBIDDEN, "another site's page may not ask"))
    })?;
    let needed = needed(request.method(), request.uri().path());
    if who.role < needed {
        panel.audit.note(&who.name, request.method(), request.uri(), StatusCode::FORBIDDEN);
        let message = format!("`{}` has the role `read`, and this needs the role `full`", who.name);
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    if let Some(seat) = request.extensions().get::<Arc<ConnectionState>>() {
        seat.known();
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    request.extensions_mut().insert(who.clone());
    let response = next.run(request).await;
    if needed > Role::Read {
        panel.audit.note(&who.name, &method, &uri, response.status());
    }
    Ok(response)
}

/// What asks a question by POST because the question is long, and looks at the routing table in force only.
const QUESTIONS: [&str; 1] = ["/api/v1/explain"];

/// The role that a request needs. Reading is what the gateway answers from what it has in memory; to check a configuration
/// is more: it reads files and variables, fetches components, runs them, and tells what they say.
fn needed(method: &Method, path: &str) -> Role {
    if method.is_safe() || QUESTIONS.contains(&path) { Role::Read } else { Role::Full }
}

/// Browsers say whose page asks (Fetch, `Origin`), and show certificates and reach loopback for every page.
fn is_from_here(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn another_sites_page_may_not_ask() {
        let own = |fields: &[(&'static str, &'static str)]| is_from_here(&headers(fields));
        assert!(own(&[("host", "localhost:9900")]));
        assert!(own(&[("host", "localhost:9900"), ("origin", "http://localhost:9900")]));
        assert!(!own(&[("host", "localhost:9900"), ("origin", "http://evil.example")]));
        assert!(!own(&[("host", "localhost:9900"), ("origin", "null")]));
        assert!(!own(&[("host", "localhost:9900"), ("origin", "http://localhost:9901")]));
    }

    #[test]
    fn what_is_more_than_reading_needs_the_full_role() {
        assert_eq!(needed(&Method::POST, "/api/v1/explain"), Role::Read);
        assert_eq!(needed(&Method::GET, "/api/v1/cache/pages"), Role::Read);
        for (method, path) in [
            (Method::POST, "/api/v1/config/validate"),
            (Method::POST, "/api/v1/config/revisions/1/activate"),
            (Method::DELETE, "/api/v1/cache/pages"),
            (Method::POST, "/api/v1/explain/"),
            (Method::POST, "/api/v1/something-new"),
        ] {
            assert_eq!(needed(&method, path), Role::Full, "{path}");
        }
    }
}
