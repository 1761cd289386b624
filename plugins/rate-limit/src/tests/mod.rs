//! The plugin against the SDK's fake gateway, whose clock stands still until it is told otherwise.

mod clients;
mod configuration;
mod counting;
mod headers;
mod store;

use std::time::Duration;

use plugin_sdk::{
    Reply,
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, TestResponse},
};
use serde_json::Value;

use crate::RateLimit;

/// One instance, and the gateway around it.
struct Limiter {
    host: TestHost,
    plugin: TestPlugin<RateLimit>,
}

impl Limiter {
    #[track_caller]
    fn new(config: Value) -> Self {
        Self::on(TestHost::new(), config)
    }

    /// One more instance on the same gateway.
    #[track_caller]
    fn on(host: TestHost, config: Value) -> Self {
        let plugin = host.plugin(config).unwrap_or_else(|problems| panic!("{problems}"));
        Self { host, plugin }
    }

    fn wait(&self, millis: u64) {
        self.host.advance(Duration::from_millis(millis));
    }

    #[track_caller]
    fn allows(&mut self, request: TestRequest) -> bool {
        match self.plugin.request(request).reply() {
            None => true,
            Some(reply) if reply.status == 429 => false,
            Some(reply) => panic!("neither passed nor refused for its number: {reply:?}"),
        }
    }

    /// How many equal requests pass at once.
    #[track_caller]
    fn burst(&mut self, request: &TestRequest) -> usize {
        (0..1000).take_while(|_| self.allows(request.clone())).count()
    }

    /// The reply to a request that does not pass.
    #[track_caller]
    fn refusal(&mut self, request: TestRequest) -> Reply {
        self.plugin.request(request).reply().expect("the request should not have passed").clone()
    }

    /// An exchange whose upstream answered with 200 and nothing else.
    #[track_caller]
    fn exchange(&mut self, request: TestRequest) -> TestExchange {
        let mut exchange = self.plugin.request(request);
        assert_eq!(exchange.reply(), None);
        self.plugin.response(&mut exchange, TestResponse::new(200));
        exchange
    }
}

fn get() -> TestRequest {
    TestRequest::get("/")
}
