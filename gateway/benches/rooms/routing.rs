//! What finding a route costs, and making the table.

use std::{fmt::Write, hint::black_box};

use criterion::{BenchmarkId, Criterion, criterion_group};
use gateway_core::model::Config;
use gateway_route::{Query, RouteMatch, Table};
use http::{HeaderMap, Method};

use crate::support::config;

criterion_group!(benches, lookups, starts);

const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// As an organisation has them: services with a few paths each, on two hosts.
fn yaml(routes: usize) -> String {
    let mut text =
        "listeners: [{ address: 127.0.0.1:0 }]\nupstreams: { service: { endpoints: [http://127.0.0.1:1] } }\n\
        routes:\n"
            .to_owned();
    for number in 0..routes {
        let service = number / 4;
        let path = match number % 4 {
            0 => format!("/service-{service}/items"),
            1 => format!("/service-{service}/items/{{id}}"),
            2 => format!("/service-{service}/items/{{id}}/parts/{{part}}"),
            _ => format!("/service-{service}/files/{{*rest}}"),
        };
        let host = if service.is_multiple_of(2) { "api.example.com" } else { "*.example.org" };
        writeln!(text, "  - {{ name: r{number}, match: {{ host: {host:?}, path: {path:?} }}, upstream: service }}")
            .expect("a string grows");
    }
    text
}

fn query<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> Query<'a> {
    Query { listener: "", host, path, query: None, method: &Method::GET, headers }
}

/// Paths of services, each on the host that the service has.
fn lookups(c: &mut Criterion) {
    let no_headers = HeaderMap::new();
    let mut group = c.benchmark_group("route");
    for size in SIZES {
        let Config { routes, .. } = config(&yaml(size));
        let table = Table::new(&routes);
        // Services in an order that no cache foresees.
        let asked: Vec<_> = (0..1024_usize).map(|n| n.wrapping_mul(0x9e37_79b1) % (size / 4)).collect();
        let host = |service: &usize| if service.is_multiple_of(2) { "api.example.com" } else { "eu.example.org" };

        let cases =
            [("exact", "items", 0), ("two parameters", "items/17/parts/4", 2), ("wildcard", "files/a/b.txt", 3)];
        for (name, path, offset) in cases {
            let paths: Vec<_> = asked.iter().map(|service| format!("/service-{service}/{path}")).collect();
            let mut turn = 0;
            let mut run = || {
                turn = (turn + 1) % asked.len();
                match table.find(&query(host(&asked[turn]), &paths[turn], &no_headers)) {
                    RouteMatch::Route { index, .. } => assert_eq!(index, asked[turn] * 4 + offset),
                    other => panic!("{other:?}"),
                }
            };
            group.bench_function(BenchmarkId::new(name, size), |b| b.iter(&mut run));
        }
        let missed = query("api.example.com", "/service-0/nothing/here", &no_headers);
        group.bench_function(BenchmarkId::new("miss", size), |b| {
            b.iter(|| assert!(matches!(table.find(black_box(&missed)), RouteMatch::NotFound)));
        });
    }
    group.finish();
}

/// From the text to the configuration, and from that to the table.
fn starts(c: &mut Criterion) {
    let mut group = c.benchmark_group("start");
    group.sample_size(10);
    for size in [1_000, 10_000] {
        let text = yaml(size);
        let Config { routes, .. } = config(&text);
        assert_eq!(routes.len(), size);
        group.bench_function(BenchmarkId::new("table of routes", size), |b| b.iter(|| Table::new(black_box(&routes))));
        group.bench_function(BenchmarkId::new("configuration", size), |b| b.iter(|| config(black_box(&text))));
    }
    group.finish();
}
