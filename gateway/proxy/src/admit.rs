//! From what hyper parsed to an exchange: is it unambiguous, what is its one path, who sent it, where does it
//! go. Everything after this sees only the outcome.

use std::{net::IpAddr, rc::Rc, time::Instant};

use gateway_core::{error::Failure, model::Limits};
use gateway_http::{
    body::{Body, Traffic},
    cookies::TooMuch,
    framing,
    from_client::FromClient,
    hop,
    known_headers::{AUTHORIZATION, CDN_LOOP, CLAIM, COOKIE, EXPECT, KnownHeaders},
    loops,
    parameters::Parameters,
    path::{Ambiguous, Normal, Rejected, normalise},
    request_headers::RequestHeaders,
};
use gateway_pipeline::{Exchange, ExchangeSlot, RequestHead, Start};
use gateway_route::{Query, RouteMatch};
use http::{HeaderValue, Method, Request, Version, header, request::Parts, uri::PathAndQuery};
use http_body::Body as _;

use super::{Client, Site, Worker, active_exchange::ActiveExchange, failure_response::FailureResponse, tunnel};

/// Fields that the gateway adds to a request whose forwarding headers are in the map: those, its identifier and its trace.
const FIELDS_ADDED: usize = 9;

/// The names of a head that is rejected and yet kept, for the log.
const MOST_NAMES: usize = 8 * 1024;

/// What the requests of one connection may hold of joined cookies: eight times what one may have, and some for each stream,
/// since a proxy before the gateway carries many clients.
fn cookie_bytes(limits: &Limits) -> usize {
    const OF_A_STREAM: usize = 4096;
    (8 * limits.header_bytes).max(OF_A_STREAM.saturating_mul(limits.max_concurrent_streams as usize))
}

/// Judges a request and finds its route. Also says what is wrong with it, if something is.
pub(super) fn admit(
    client: Rc<Client>,
    site: Rc<Site>,
    request: Request<FromClient>,
) -> (Box<ActiveExchange>, Option<FailureResponse>) {
    let started = Instant::now();
    let (mut head, incoming) = request.into_parts();
    let known_headers = KnownHeaders::of(&head.headers);
    let upgrade = tunnel::wanted(&head, &incoming);

    let (mut address, ambiguous, mut failed) = match address(&mut head, known_headers, &site) {
        Ok((address, ambiguous)) => (address, ambiguous, None),
        Err(failure) => (unjudged(&head), None, Some(FailureResponse::from(failure))),
    };
    hop::strip(&mut head.headers, known_headers);
    if failed.is_none() && known_headers.has(CDN_LOOP) && loops::is_loop(&head.headers) {
        failed = Some(Failure::LoopDetected.into());
    }
    let mut cookies = None;
    if failed.is_none() && known_headers.has(COOKIE) && head.version >= Version::HTTP_2 {
        match client.cookies.join(&mut head.headers, cookie_bytes(&site.config.limits)) {
            Ok(joined) => cookies = joined,
            Err(TooMuch) => failed = Some(Failure::HeadTooLarge.into()),
        }
    }
    if known_headers.has(EXPECT) {
        // Hyper sends 100 Continue when the body is read; the upstream is not asked.
        head.headers.remove(header::EXPECT);
    }
    // A map of headers has room for some 24,000 names and panics beyond them. What has too many is rejected; its fields are not
    // looked at any more.
    if failed.is_some() && head.headers.keys_len() > MOST_NAMES {
        head.headers.clear();
    }
    let has_conditions_on_forwarding = site.table.has_conditions_on_forwarding();
    if known_headers.has(CLAIM) || has_conditions_on_forwarding {
        // At once, since it would otherwise grow step by step.
        head.headers.reserve(FIELDS_ADDED);
    }
    let trusted = &site.config.trusted_proxies;
    let peer = client.peer(&site.config);
    let id = client.worker.request_ids.assign(&mut head.headers, known_headers, peer.is_trusted());
    let trace = site.tracer.as_ref();
    let trace = trace.and_then(|tracer| tracer.begin(&mut head.headers, peer.is_trusted(), started));
    let (from, mut forwarding) = peer.announce(&mut head.headers, known_headers, &address.authority, trusted);
    if has_conditions_on_forwarding && let Some(forwarding) = forwarding.take() {
        forwarding.add_to(&mut head.headers);
    }

    site.table.remove_other_spellings(&mut head.headers);
    let mut route = None;
    if let Some(path) = ambiguous {
        match site.table.resolve(&path, &query(&client.listener.borrow(), &address, &head)) {
            Ok(target) => address.target = target,
            Err(rejected) => failed = Some(path_failure(rejected).into()),
        }
    }
    if failed.is_none() {
        match site.table.find(&query(&client.listener.borrow(), &address, &head)) {
            RouteMatch::Route { index, .. } => route = Some(index),
            RouteMatch::NotFound => failed = Some(Failure::NoRoute.into()),
            RouteMatch::MethodNotAllowed { allow } => failed = Some(FailureResponse::method_not_allowed(&allow)),
        }
    }

    let traffic = Rc::new(Traffic::default());
    let found = route.map(|index| &site.routes[index]);
    let upgrade = upgrade.filter(|upgrade| found.is_some_and(|route| route.model.upgrades.contains(upgrade)));
    let limit = found.map_or(0, |route| route.model.body_bytes);
    let request_body = match failed {
        Some(_) => {
            traffic.complete.set(incoming.is_end_stream());
            Body::Empty
        }
        None => {
            let body_timeout = site.config.timeouts.body;
            let (traffic, timers) = (traffic.clone(), &client.worker.timers);
            Body::from_client(incoming, limit, traffic, timers, body_timeout, known_headers.has(EXPECT))
        }
    };
    let mut exchange = Exchange::new(Start {
        id,
        client: from.address,
        secured: client.secured.clone(),
        protocol: head.version,
        route: found.map_or_else(|| site.unrouted.name.clone(), |route| route.model.name.clone()),
        parameters: found.map_or_else(Parameters::default, |route| Parameters::of(&route.model)),
        request: RequestHead {
            method: head.method,
            scheme: from.scheme,
            authority: address.authority,
            target: address.target,
            headers: RequestHeaders::new(head.headers, forwarding),
        },
        request_body,
        bounds: found.map_or_else(|| site.unrouted.bounds.clone(), |route| route.bounds.clone()),
        traffic,
        started,
    });
    exchange.upstream = found.and_then(|route| route.upstream.clone());
    if known_headers.has(AUTHORIZATION) {
        exchange.caller.remember(exchange.request.headers.others());
    }
    exchange.trace = trace;
    let mut active = ActiveExchange::new(client, site, route, ExchangeSlot::new(exchange));
    active.upgrade = upgrade;
    active.cookies = cookies;
    (active, failed)
}

/// A request that hyper could not parse, or that did not arrive in time: counted and observed like any other,
/// with `-` for what is not known.
pub fn refused_by_parser(worker: &Rc<Worker>, client: IpAddr, failure: Failure, id: &HeaderValue) {
    let site = worker.site();
    let exchange = Exchange::new(Start {
        id: id.clone(),
        client,
        secured: None,
        protocol: Version::HTTP_11,
        route: site.unrouted.name.clone(),
        parameters: Parameters::default(),
        request: RequestHead {
            method: Method::from_bytes(b"-").unwrap_or_default(),
            scheme: "http",
            authority: HeaderValue::from_static(""),
            target: PathAndQuery::from_static("/"),
            headers: RequestHeaders::default(),
        },
        request_body: Body::Empty,
        bounds: site.unrouted.bounds.clone(),
        traffic: Rc::default(),
        started: Instant::now(),
    });
    ActiveExchange::refused(worker.clone(), site, ExchangeSlot::new(exchange), failure);
}

/// What the request addresses, with its path in normal form, or in the form in which it came if that is ambiguous.
fn address(
    head: &mut Parts,
    known_headers: KnownHeaders,
    site: &Site,
) -> Result<(framing::Address, Option<Ambiguous>), Failure> {
    let mut address = framing::admit(head, known_headers, &site.config.limits)?;
    Ok(match normalise(&address.target, &head.method).map_err(path_failure)? {
        Normal::Clear(target) => {
            address.target = target;
            (address, None)
        }
        Normal::Ambiguous(path) => (address, Some(path)),
    })
}

/// Clients can provoke it as often as they like, so this is logged at level `debug` only.
fn path_failure(rejected: Rejected) -> Failure {
    tracing::debug!("request rejected: {rejected}");
    rejected.into()
}

fn query<'a>(listener: &'a str, address: &'a framing::Address, head: &'a Parts) -> Query<'a> {
    Query {
        listener,
        host: std::str::from_utf8(address.authority.as_bytes()).unwrap_or_default(),
        path: address.target.path(),
        query: address.target.query(),
        method: &head.method,
        headers: &head.headers,
    }
}

/// For a request that is refused: what the log may show of it.
fn unjudged(head: &Parts) -> framing::Address {
    framing::Address {
        authority: HeaderValue::from_static(""),
        target: head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
    }
}
