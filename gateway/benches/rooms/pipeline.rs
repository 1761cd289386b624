//! What the pipeline itself costs, with stages that do nothing.

use std::{cell::Cell, rc::Rc, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group};
use gateway_pipeline::{
    Decision, Entry, ExchangeOutcome, ExchangeSlot, Phase, Phases, Pipeline, ResponseDecision, Scope, Stage, Step,
    Turn, Verdict,
};

use crate::support::{answered, at_once, later, outcome, slot};

criterion_group!(benches, stages);

/// Counts how often it is asked.
struct Fake {
    name: Arc<str>,
    asked: Rc<Cell<u64>>,
}

impl Fake {
    fn asked<T>(&self, value: T) -> Step<'_, T> {
        self.asked.set(self.asked.get() + 1);
        Step::Done(Turn::called(Ok(value)))
    }
}

impl Stage for Fake {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn phases(&self) -> Phases {
        Phases { request: true, response: true, complete: true }
    }

    fn on_request<'a>(&'a self, _: &'a mut ExchangeSlot) -> Step<'a, Decision> {
        self.asked(Decision::Next)
    }

    fn on_response<'a>(&'a self, _: &'a mut ExchangeSlot) -> Step<'a, ResponseDecision> {
        self.asked(ResponseDecision::Next)
    }

    fn on_complete<'a>(&'a self, _: &'a mut ExchangeSlot, _: &'a ExchangeOutcome) -> Step<'a, ()> {
        self.asked(())
    }
}

/// All three phases of an exchange.
fn stages(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline");
    for (skip_on_error, name) in [(false, "fails"), (true, "skips")] {
        for count in [0, 1, 5] {
            let asked = Rc::new(Cell::new(0));
            let entry = |_| Entry::new(Rc::new(Fake { name: "fake".into(), asked: asked.clone() }), skip_on_error);
            let pipeline = Pipeline::new(Scope::default(), (0..count).map(entry).collect());
            let (until, outcome) = (later(), outcome());
            let mut slot = answered(slot());
            let mut run = || {
                slot.phase = Phase::Request;
                let passed = at_once(pipeline.request(&mut slot, until));
                assert!(matches!(passed.verdict, Verdict::Forward));
                slot.phase = Phase::Response;
                at_once(pipeline.response(passed.ran, &mut slot, until));
                at_once(pipeline.complete(&mut slot, &outcome, until));
            };
            run();
            assert_eq!(asked.get(), 3 * count);
            group.bench_function(BenchmarkId::new(name, count), |b| b.iter(&mut run));
        }
    }
    group.finish();
}
