//! What admitting a request's head costs, step by step as `proxy::admit` takes them.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group};
use gateway_http::{
    forwarded::Peer,
    framing, hop,
    known_headers::KnownHeaders,
    path::{Normal, normalise},
    request_id::RequestIds,
};
use http::{HeaderMap, HeaderValue, Method, Request, request::Parts, uri::PathAndQuery};

use crate::support::{config, headers};

criterion_group!(benches, steps);

fn parts() -> Parts {
    let mut request = Request::get("/orders/17?expand=lines").body(()).expect("a request");
    *request.headers_mut() = headers(true);
    request.into_parts().0
}

fn steps(c: &mut Criterion) {
    let config = config(
        "listeners: [{ address: 127.0.0.1:0 }]\nupstreams: { a: { endpoints: [http://127.0.0.1:1] } }\n\
         routes: [{ name: a, upstream: a }]\n",
    );
    let ids = RequestIds::new();
    let peer = Peer::new([192, 0, 2, 7].into(), false, &[]);
    let plain = PathAndQuery::from_static("/orders/17?expand=lines");
    let odd = PathAndQuery::from_static("/orders//%7Eanna/./17/../18?expand=lines");
    let mut group = c.benchmark_group("head");

    let admit = |head: &mut Parts| {
        let known_headers = KnownHeaders::of(&head.headers);
        framing::admit(head, known_headers, &config.limits).map(|address| address.authority.len())
    };
    assert_eq!(admit(&mut parts()).ok(), Some("api.example.com".len()));
    group.bench_function("is it unambiguous", |b| b.iter_batched_ref(parts, admit, BatchSize::SmallInput));

    let rule = config.routes[0].paths;
    let clear = |target: &PathAndQuery, method: &Method| match normalise(target, method).expect("a path") {
        Normal::Clear(target) => target,
        Normal::Ambiguous(path) => path.under(rule).expect("a path"),
    };
    let path = |target: &PathAndQuery| clear(target, &Method::GET);
    assert_eq!(path(&odd), "/orders/~anna/18?expand=lines");
    group.bench_function("path in normal form", |b| b.iter(|| path(black_box(&plain))));
    group.bench_function("path to be normalised", |b| b.iter(|| path(black_box(&odd))));

    let strip = |headers: &mut HeaderMap| hop::strip(headers, KnownHeaders::of(headers));
    group.bench_function("hop-by-hop fields", |b| b.iter_batched_ref(|| headers(false), strip, BatchSize::SmallInput));

    let assign = |headers: &mut HeaderMap| ids.assign(headers, KnownHeaders::of(headers), false).len();
    assert!(assign(&mut headers(false)) > 0);
    group.bench_function("request id", |b| b.iter_batched_ref(|| headers(false), assign, BatchSize::SmallInput));

    let authority = HeaderValue::from_static("api.example.com");
    let announce =
        |headers: &mut HeaderMap| peer.announce(headers, KnownHeaders::of(headers), &authority, &[]).0.scheme;
    assert_eq!(announce(&mut headers(false)), "http");
    group.bench_function("forwarding fields", |b| {
        b.iter_batched_ref(|| headers(false), announce, BatchSize::SmallInput)
    });

    group.bench_function("all of it", |b| {
        let all = |head: &mut Parts| {
            let known_headers = KnownHeaders::of(&head.headers);
            let address = framing::admit(head, known_headers, &config.limits).expect("a sound request");
            let target = clear(&address.target, &head.method);
            hop::strip(&mut head.headers, known_headers);
            let id = ids.assign(&mut head.headers, known_headers, false);
            let (from, _) = peer.announce(&mut head.headers, known_headers, &address.authority, &[]);
            (target, id, from.address)
        };
        b.iter_batched_ref(parts, all, BatchSize::SmallInput);
    });
    group.finish();
}
