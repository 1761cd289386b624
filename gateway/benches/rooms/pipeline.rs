//! What the pipeline itself costs, with stages that do nothing.

use std::{cell::Cell, rc::Rc};

use criterion::{BenchmarkId, Criterion, criterion_group};
use gateway_pipeline::{Decision, Entry, Outcome, Phase, Phases, Pipeline, Slot, Stage, StageFailure, Step, Verdict};

use crate::support::{answered, at_once, later, outcome, slot};

criterion_group!(benches, stages);

/// Counts how often it is asked.
struct Fake(Rc<Cell<u64>>);

impl Fake {
    fn asked<T>(&self, answer: T) -> Step<'_, Result<T, StageFailure>> {
        self.0.set(self.0.get() + 1);
        Step::Done(Ok(answer))
    }
}

impl Stage for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn phases(&self) -> Phases {
        Phases { request: true, response: true, complete: true }
    }

    fn on_request<'a>(&'a self, _: usize, _: &'a mut Slot) -> Step<'a, Result<Decision, StageFailure>> {
        self.asked(Decision::Next)
    }

    fn on_response<'a>(&'a self, _: usize, _: &'a mut Slot) -> Step<'a, Result<(), StageFailure>> {
        self.asked(())
    }

    fn on_complete<'a>(&'a self, _: usize, _: &'a mut Slot, _: &'a Outcome) -> Step<'a, Result<(), StageFailure>> {
        self.asked(())
    }
}

/// All three phases of an exchange.
fn stages(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline");
    for (skip_on_error, name) in [(false, "fails"), (true, "skips")] {
        for count in [0, 1, 5] {
            let asked = Rc::new(Cell::new(0));
            let entry = |_| Entry::new(Rc::new(Fake(asked.clone())), skip_on_error);
            let pipeline = Pipeline::new((0..count).map(entry).collect());
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
