//! Has the timers of its configuration. Each does what its name says, and all others call an upstream and keep the response.

use std::{hint::black_box, time::Duration};

use plugin_sdk::{
    Decision, Error, Phases, Plugin, Problems, Reply, Request, RequestFilter, Timer, Timers, export_plugin,
    http_client::Call,
    store::{Bucket, Scope},
    tcp::{Message, send},
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    timers: Vec<TimerConfig>,
    /// The upstream to call.
    #[serde(default)]
    upstream: String,
    /// Only one of several gateways calls it within this time.
    alone_ms: Option<u64>,
    /// Whether it answers requests with what timers have kept.
    #[serde(default = "yes")]
    answers: bool,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TimerConfig {
    name: String,
    interval_ms: u64,
}

fn yes() -> bool {
    true
}

struct Ticking(Config);

impl Plugin for Ticking {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        Ok(Self(config))
    }

    fn phases(&self) -> Phases {
        Phases { request: self.0.answers, response: false, completion: false, ..Phases::default() }
    }
}

impl RequestFilter for Ticking {
    /// Answers with what the timer of the path's name has kept.
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let path = request.path();
        let kept = Bucket::new("own").get(path.trim_start_matches('/'))?;
        Ok(match kept {
            Some(value) => Reply::new(200).with_body("text/plain", value).into(),
            None => Reply::new(404).into(),
        })
    }
}

impl Timers for Ticking {
    fn timers(&self) -> Vec<Timer> {
        let timers = self.0.timers.iter();
        timers.map(|timer| Timer::new(&timer.name, Duration::from_millis(timer.interval_ms))).collect()
    }

    fn on_timer(&mut self, name: &str) -> Result<(), Error> {
        let bucket = Bucket::new("own");
        match name {
            "trap" => panic!("the timer was told to trap"),
            "fail" => return Err(Error::new("the timer was told to fail")),
            "loop" => {
                let mut turns = 0_u64;
                loop {
                    turns = black_box(turns.wrapping_add(1));
                }
            }
            "tcp" => {
                let message = Message::new(&self.0.upstream, "ping").with_min_bytes(4);
                let connection = send(message)?;
                bucket.set(name, &connection.receive(4)?, None)?;
            }
            _ => {
                if let Some(ttl) = self.0.alone_ms.map(Duration::from_millis)
                    && bucket.acquire(name, 1, ttl, Scope::Shared)?.lease.is_none()
                {
                    return Ok(());
                }
                let response = Call::get(&self.0.upstream, &format!("/{name}")).send()?;
                bucket.set(name, &response.body, None)?;
            }
        }
        Ok(())
    }
}

export_plugin!(Ticking: request, timers);
