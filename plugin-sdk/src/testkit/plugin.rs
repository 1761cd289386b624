//! A configured instance, and its phases.

use gateway_rules::timers;

use super::{TestExchange, TestHost, TestRequest, TestResponse, data_grants::Data, exchange::Next, streams};
use crate::{
    Decision, Error, Observer, Outcome, RequestBodyFilter, RequestFilter, RequestStream, ResponseBodyFilter,
    ResponseDecision, ResponseFilter, ResponseStream, Timers,
};

/// One configured instance of a plugin.
///
/// The methods that are named after a phase call that phase alone: an exchange says by
/// [`reads_request_body`](TestExchange::reads_request_body) and its siblings what the plugin decided. Those with `_with_body` do what
/// the gateway does: they call the body phase as well if the plugin asks for the body. Each has a variant with `try_` for plugins
/// that may fail.
pub struct TestPlugin<P> {
    pub(super) host: TestHost,
    pub(super) plugin: P,
}

#[track_caller]
fn succeeded<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("the plugin failed: {error}"))
}

impl<P> TestPlugin<P> {
    /// The plugin itself.
    pub fn inner(&mut self) -> &mut P {
        &mut self.plugin
    }

    /// The exchange has ended: leases that it holds are released, as the gateway does before the completion phase.
    pub fn end(&self, exchange: &mut TestExchange) {
        exchange.release_leases(&self.host);
    }

    fn begin(&self, request: TestRequest) -> TestExchange {
        let state = self.host.0.borrow();
        TestExchange::begin(request, state.now, state.bounds())
    }

    #[track_caller]
    fn decide(&self, exchange: &mut TestExchange, decision: Decision) -> Result<(), Error> {
        exchange.request_next = Next::from(&decision);
        match decision {
            Decision::Respond(reply) => exchange.set_reply(&self.host, reply),
            Decision::StreamBody(state) => {
                streams::check_state(&state)?;
                exchange.begin_request_stream(state);
            }
            Decision::Next | Decision::ReadBody | Decision::AwaitRelease => {}
        }
        Ok(())
    }

    /// Waits for a lock or a lease.
    fn wait(&self, exchange: &mut TestExchange) -> Result<(), Error> {
        exchange.wait(&self.host, || {
            let happens = self.host.0.borrow_mut().while_waiting.take();
            if let Some(mut happens) = happens {
                self.host.run(&mut happens);
                self.host.0.borrow_mut().while_waiting.get_or_insert(happens);
            }
        })
    }

    fn decide_on_response(&self, exchange: &mut TestExchange, decision: ResponseDecision) -> Result<(), Error> {
        exchange.response_next = Next::from(&decision);
        match decision {
            ResponseDecision::StreamBody(state) => {
                streams::check_state(&state)?;
                exchange.begin_response_stream(state);
            }
            ResponseDecision::StreamMessages(state) => {
                streams::check_state(&state)?;
                exchange.begin_messages(state)?;
            }
            ResponseDecision::Next | ResponseDecision::ReadBody => {}
        }
        Ok(())
    }
}

impl<P: RequestFilter> TestPlugin<P> {
    /// Runs the request phase, again after each [`Decision::AwaitRelease`]: locks and leases are released before, or the exchange has
    /// waited long enough.
    ///
    /// # Panics
    ///
    /// The plugin failed, or responded with what the gateway would refuse to send.
    #[track_caller]
    pub fn request(&mut self, request: TestRequest) -> TestExchange {
        succeeded(self.try_request(request))
    }

    /// Runs the request phase of a plugin that may fail.
    ///
    /// # Errors
    ///
    /// The plugin's own, or a decision that is not valid.
    ///
    /// # Panics
    ///
    /// The plugin responded with what the gateway would refuse to send.
    #[track_caller]
    pub fn try_request(&mut self, request: TestRequest) -> Result<TestExchange, Error> {
        let mut exchange = self.begin(request);
        self.request_phase(&mut exchange)?;
        Ok(exchange)
    }

    /// Runs the request phase of an exchange that ends while the plugin waits for this upstream or bucket, as when the client
    /// disconnects. The call of the plugin does not return, and what it has done until then has happened. The gateway drops such an
    /// instance, so call no other phase of it: another [`TestHost::plugin`] shows how the next request fares.
    ///
    /// # Panics
    ///
    /// The plugin did not call the service.
    #[track_caller]
    pub fn request_cancelled_at(&mut self, service: &str, request: TestRequest) {
        let mut exchange = self.begin(request);
        let host = self.host.clone();
        let cancelled = host.cancelled_at(service, || {
            // If it returns, its result does not matter.
            let _ = self.request_phase(&mut exchange);
        });
        assert!(cancelled, "the plugin did not call `{service}`");
    }

    #[track_caller]
    fn request_phase(&mut self, exchange: &mut TestExchange) -> Result<(), Error> {
        loop {
            let Self { host, plugin } = self;
            let decision = exchange.lend(host, |request, _| host.run(|| plugin.on_request(request)))?;
            if decision == Decision::AwaitRelease {
                self.wait(exchange)?;
            } else {
                return self.decide(exchange, decision);
            }
        }
    }
}

impl<P: RequestBodyFilter> TestPlugin<P> {
    /// Runs the request phase with the whole body, of an exchange for which the plugin returned [`Decision::ReadBody`], or which it
    /// has not seen yet.
    ///
    /// # Panics
    ///
    /// The plugin failed, or responded with what the gateway would refuse to send.
    #[track_caller]
    pub fn request_body(&mut self, exchange: &mut TestExchange) {
        succeeded(self.try_request_body(exchange));
    }

    /// Runs the request phase with the whole body, of a plugin that may fail.
    ///
    /// # Errors
    ///
    /// The plugin's own, or a decision that is not valid.
    ///
    /// # Panics
    ///
    /// The plugin responded with what the gateway would refuse to send.
    #[track_caller]
    pub fn try_request_body(&mut self, exchange: &mut TestExchange) -> Result<(), Error> {
        let Self { host, plugin } = self;
        let body = host.readable(Data::RequestBody, Data::RequestHeaders, exchange.request_body());
        match exchange.lend(host, |request, _| host.run(|| plugin.on_request_body(request, body)))? {
            Decision::ReadBody => Err(Error::new("it returned `read-body` from a call that had the body")),
            Decision::AwaitRelease => {
                exchange.request_next = Next::AwaitRelease;
                self.wait(exchange)
            }
            decision => self.decide(exchange, decision),
        }
    }
}

impl<P: RequestFilter + RequestBodyFilter> TestPlugin<P> {
    /// Runs the request phase, and calls the plugin with the whole body if it returns [`Decision::ReadBody`].
    ///
    /// # Panics
    ///
    /// The plugin failed, or responded with what the gateway would refuse to send.
    #[track_caller]
    pub fn request_with_body(&mut self, request: TestRequest) -> TestExchange {
        succeeded(self.try_request_with_body(request))
    }

    /// Does the same with a plugin that may fail.
    ///
    /// # Errors
    ///
    /// The plugin's own, or a decision that is not valid.
    ///
    /// # Panics
    ///
    /// The plugin responded with what the gateway would refuse to send.
    #[track_caller]
    pub fn try_request_with_body(&mut self, request: TestRequest) -> Result<TestExchange, Error> {
        let mut exchange = self.try_request(request)?;
        while exchange.reads_request_body() {
            self.try_request_body(&mut exchange)?;
            if exchange.request_next == Next::AwaitRelease {
                self.request_phase(&mut exchange)?;
            }
        }
        Ok(exchange)
    }
}

impl<P: RequestStream> TestPlugin<P> {
    /// Lets the request body pass through the plugin, `size` bytes at a time, if it returned [`Decision::StreamBody`].
    ///
    /// # Errors
    ///
    /// The plugin's own, or a chunk result that the gateway would refuse.
    pub fn stream_request(&mut self, exchange: &mut TestExchange, size: usize) -> Result<(), Error> {
        let Some((body, mut state)) = exchange.take_request_stream() else { return Ok(()) };
        let Self { host, plugin } = self;
        let limit = host.0.borrow().buffer_bytes;
        let on_chunk = |chunk| host.run(|| plugin.on_request_chunk(chunk));
        let filter = streams::Trailers { host, data: Data::RequestHeaders };
        let sent = streams::pass(body, size, limit, &mut state, filter, on_chunk)?;
        exchange.end_request_stream(sent, state);
        Ok(())
    }
}

impl<P: ResponseFilter> TestPlugin<P> {
    /// Runs the response phase of an exchange.
    ///
    /// # Panics
    ///
    /// The plugin failed.
    #[track_caller]
    pub fn response(&mut self, exchange: &mut TestExchange, response: TestResponse) {
        succeeded(self.try_response(exchange, response));
    }

    /// Runs the response phase of a plugin that may fail.
    ///
    /// # Errors
    ///
    /// The plugin's own, or a decision that is not valid.
    pub fn try_response(&mut self, exchange: &mut TestExchange, response: TestResponse) -> Result<(), Error> {
        exchange.respond(response);
        let Self { host, plugin } = self;
        let decision = exchange.lend(host, |request, response| {
            let response = response.expect("the exchange has just got a response");
            host.run(|| plugin.on_response(request, response))
        })?;
        self.decide_on_response(exchange, decision)
    }
}

impl<P: ResponseBodyFilter> TestPlugin<P> {
    /// Runs the response phase with the whole body, of an exchange that has a response.
    ///
    /// # Panics
    ///
    /// The plugin failed, or there is no response.
    #[track_caller]
    pub fn response_body(&mut self, exchange: &mut TestExchange) {
        succeeded(self.try_response_body(exchange));
    }

    /// Runs the response phase with the whole body, of a plugin that may fail.
    ///
    /// # Errors
    ///
    /// The plugin's own, or a decision that is not valid.
    ///
    /// # Panics
    ///
    /// There is no response.
    pub fn try_response_body(&mut self, exchange: &mut TestExchange) -> Result<(), Error> {
        let Self { host, plugin } = self;
        let body = host.readable(Data::ResponseBody, Data::ResponseHeaders, exchange.response_body_to_read());
        let decision = exchange.lend(host, |request, response| {
            let response = response.expect("the exchange has a response");
            host.run(|| plugin.on_response_body(request, response, body))
        })?;
        if decision == ResponseDecision::ReadBody {
            return Err(Error::new("it returned `read-body` from a call that had the body"));
        }
        self.decide_on_response(exchange, decision)
    }
}

impl<P: ResponseFilter + ResponseBodyFilter> TestPlugin<P> {
    /// Runs the response phase, and calls the plugin with the whole body if it returns [`ResponseDecision::ReadBody`].
    ///
    /// # Panics
    ///
    /// The plugin failed.
    #[track_caller]
    pub fn response_with_body(&mut self, exchange: &mut TestExchange, response: TestResponse) {
        succeeded(self.try_response_with_body(exchange, response));
    }

    /// Does the same with a plugin that may fail.
    ///
    /// # Errors
    ///
    /// The plugin's own, or a decision that is not valid.
    pub fn try_response_with_body(&mut self, exchange: &mut TestExchange, response: TestResponse) -> Result<(), Error> {
        self.try_response(exchange, response)?;
        if exchange.reads_response_body() { self.try_response_body(exchange) } else { Ok(()) }
    }
}

impl<P: ResponseStream> TestPlugin<P> {
    /// Lets the response body pass through the plugin, `size` bytes at a time, if it returned [`ResponseDecision::StreamBody`].
    ///
    /// # Errors
    ///
    /// The plugin's own, or a chunk result that the gateway would refuse.
    pub fn stream_response(&mut self, exchange: &mut TestExchange, size: usize) -> Result<(), Error> {
        let Some((body, mut state)) = exchange.take_response_stream() else { return Ok(()) };
        let Self { host, plugin } = self;
        let limit = host.0.borrow().buffer_bytes;
        let on_chunk = |chunk| host.run(|| plugin.on_response_chunk(chunk));
        let filter = streams::Trailers { host, data: Data::ResponseHeaders };
        let sent = streams::pass(body, size, limit, &mut state, filter, on_chunk)?;
        exchange.end_response_stream(sent, state);
        Ok(())
    }
}

impl<P: Timers> TestPlugin<P> {
    /// Calls a timer.
    ///
    /// # Panics
    ///
    /// The plugin failed, has no such timer, or has timers that the gateway would refuse.
    #[track_caller]
    pub fn fire(&mut self, timer: &str) {
        succeeded(self.try_fire(timer));
    }

    /// Calls a timer of a plugin that may fail.
    ///
    /// # Errors
    ///
    /// The plugin's own.
    ///
    /// # Panics
    ///
    /// The plugin has no such timer, or has timers that the gateway would refuse.
    #[track_caller]
    pub fn try_fire(&mut self, timer: &str) -> Result<(), Error> {
        let Self { host, plugin } = self;
        let timers = host.run(|| plugin.timers());
        if let Err(problem) = timers::check(timers.iter().map(|timer| (timer.name.as_str(), timer.interval))) {
            panic!("the gateway would refuse the configuration: {problem}");
        }
        assert!(timers.iter().any(|known| known.name == timer), "the plugin has no timer `{timer}`");
        host.run(|| plugin.on_timer(timer))
    }
}

impl<P: Observer> TestPlugin<P> {
    /// Runs the completion phase. The plugin sees a response if the exchange has one, and the last states of bodies that passed
    /// through it, unless the outcome has others.
    pub fn complete(&mut self, exchange: &mut TestExchange, outcome: &Outcome) {
        exchange.finish();
        exchange.release_leases(&self.host);
        let mut outcome = outcome.clone();
        exchange.add_stream_states(&mut outcome);
        let Self { host, plugin } = self;
        exchange.lend(host, |request, response| host.run(|| plugin.on_complete(request, response, &outcome)));
    }
}
