use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::*;

fn tracer(ratio: f64) -> (Arc<Tracer>, Queue, Arc<TraceMetrics>) {
    let metrics = Arc::<TraceMetrics>::default();
    let (tracer, queue) = Tracer::new(Sampling { ratio, parent: ParentRule::Any }, metrics.clone());
    (tracer, queue, metrics)
}

fn served() -> Served {
    Served {
        method: "GET".to_owned(),
        scheme: "http",
        authority: String::new(),
        path: "/".to_owned(),
        protocol: "1.1",
        client: String::new(),
        user_agent: None,
        request_id: String::new(),
        route: None,
        status: Some(200),
        failure: None,
        failed: false,
        request_bytes: 0,
        response_bytes: 0,
    }
}

fn call() -> Call {
    Call { plugin: "p".into(), phase: "request", answered: false, failure: None }
}

fn sent(queue: &mut Queue) -> Option<Box<Finished>> {
    match queue.0.try_recv().ok()? {
        Order::Send(finished) => Some(finished),
        Order::Flush(_) => None,
    }
}

#[test]
fn a_trace_has_so_many_spans_and_the_others_are_counted() {
    let (tracer, mut queue, metrics) = tracer(1.0);
    let trace = tracer.begin(&mut HeaderMap::new(), false, Instant::now()).unwrap();
    for _ in 0..SPANS + 3 {
        let now = Instant::now();
        trace.leave(trace.enter(), now, now + Duration::from_micros(5), call);
    }
    trace.served(served);
    drop(trace);
    assert_eq!(sent(&mut queue).unwrap().spans.len(), SPANS);
    assert_eq!(metrics.dropped[Lost::Bound as usize].load(Relaxed), 3);
}

#[test]
fn what_would_be_more_than_may_wait_is_dropped_and_counted() {
    let (tracer, _queue, metrics) = tracer(1.0);
    for _ in 0..QUEUE + 2 {
        let trace = tracer.begin(&mut HeaderMap::new(), false, Instant::now()).unwrap();
        trace.served(served);
    }
    assert_eq!(metrics.dropped[Lost::Queue as usize].load(Relaxed), 2);
}

#[test]
fn it_is_sent_when_the_last_who_has_it_lets_go_and_once() {
    let (tracer, mut queue, _) = tracer(1.0);
    let trace = tracer.begin(&mut HeaderMap::new(), false, Instant::now()).unwrap();
    let observer = trace.clone();
    trace.served(served);
    drop(trace);
    assert!(sent(&mut queue).is_none());
    drop(observer);
    assert!(sent(&mut queue).is_some());
    assert!(sent(&mut queue).is_none());
}

#[test]
fn the_ratio_decides_by_the_traces_own_number() {
    for (ratio, least, most) in [(0.0, 0, 0), (1.0, 1000, 1000), (0.5, 400, 600)] {
        let (tracer, _queue, _) = tracer(ratio);
        let sampled = (0..1000).filter(|_| tracer.begin(&mut HeaderMap::new(), false, Instant::now()).is_some());
        let sampled = sampled.count();
        assert!((least..=most).contains(&sampled), "{sampled} of 1000 with {ratio}");
    }
}

#[test]
fn tries_that_are_given_up_end_as_such() {
    let (tracer, mut queue, _) = tracer(1.0);
    let trace = tracer.begin(&mut HeaderMap::new(), false, Instant::now()).unwrap();
    let mut tries = Tries::of(&trace);
    tries.begin(Instant::now());
    assert!(tries.header().is_some());
    drop(tries);
    trace.served(served);
    drop(trace);
    let finished = sent(&mut queue).unwrap();
    let [Span { what: What::Try(tried), .. }] = &finished.spans[..] else { panic!("{finished:?}") };
    assert_eq!(tried.failure, Some("cancelled"));
}
