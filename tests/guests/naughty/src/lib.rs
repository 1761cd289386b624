//! Does what its configuration says, in the phase that it says, and a header's worth of nothing otherwise. It
//! imports nothing that can wait.

use std::{hint::black_box, time::Duration};

use plugin_sdk::{
    Decision, Edit, Edits, Error, Observer, Outcome, Plugin, Problems, Reply, Request, RequestFilter, Response,
    ResponseDecision, ResponseFilter, ResponseStream,
    body::{Chunk, ChunkResult},
    export_plugin, metrics, secrets, sinks,
    store::{Bucket, Scope},
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[serde(rename = "do")]
    deed: Deed,
    #[serde(default)]
    phase: Phase,
    /// Only for requests that have this header.
    when: Option<String>,
    /// What the deed is done to or with: a header, a bucket, a secret, a sink, text.
    #[serde(default)]
    with: String,
}

#[derive(Clone, Copy, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Reads `x-in` and sets `x-out` to it.
    Mark,
    Loop,
    /// Counts to `with` millions, which takes a while and ends.
    Spin,
    /// Calls itself without end.
    Recurse,
    /// Allocates without end.
    Grow,
    /// Keeps ten megabytes more after each call.
    Leak,
    Trap,
    Panic,
    Exit,
    Err,
    /// Sets a header whose value has a line end.
    IllegalHeader,
    /// Sets `transfer-encoding`.
    OwnedHeader,
    /// Sets more headers than fit.
    ManyHeaders,
    /// Sets the method to `with`.
    Method,
    /// Answers 200 with `with` as its text.
    Respond,
    IllegalReply,
    HugeReply,
    /// Logs without end.
    LogForever,
    Print,
    PrintForever,
    /// Sets `x-out`, an attribute and a path, and then traps.
    EditThenTrap,
    EditThenErr,
    /// Sets `x-out`; traps instead where there is an `x-trap`.
    MarkOrTrap,
    /// Has a list of edits that sets `x-out` in both directions, and traps before it is used.
    DeclareThenTrap,
    /// Sets the response's status to `with`.
    Status,
    /// Says in `x-calls` how often this instance was called.
    Count,
    /// Increments `calls` in the bucket `with` and says the sum in `x-out`.
    Store,
    /// Acquires the only lease of `place` in the bucket `with`, for a second, and says in `x-out` whether it is held.
    Acquire,
    AcquireThenTrap,
    /// Acquires and releases it, more often than an exchange can hold leases, and every other time by another key than the lease's.
    AcquireAndRelease,
    /// Says the secret `with` in `x-out`.
    Secret,
    /// Writes the request's path to the sink `with`.
    Sink,
    Metric,
    /// Logs `with`.
    Log,
    /// Makes upper case of a body, three bytes at a time; its trailers become `x-end`.
    Shout,
    /// Says in the body how often it was called for it.
    CountParts,
    /// Takes more than it was given.
    TakeTooMuch,
    /// Takes nothing, whatever comes.
    TakeNothing,
    /// Wants more at once than anyone may have.
    WantTooMuch,
    /// Has a state that is too long.
    HugeMemo,
    IllegalTrailers,
    /// Makes more of a part than can be handed over.
    HugeOutput,
}

#[derive(Clone, Copy, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    Configure,
    #[default]
    Request,
    Response,
    Complete,
    /// While a response's body passes.
    Part,
}

struct Naughty {
    config: Config,
    calls: u32,
    hoard: Vec<Vec<u8>>,
    _declared: Option<Edits>,
}

impl Plugin for Naughty {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let is_now = config.phase == Phase::Configure;
        let declared = matches!(config.deed, Deed::DeclareThenTrap)
            .then(|| Edits::new(&[Edit::set_header("x-out"), Edit::set_response_header("x-out")]));
        let mut naughty = Self { config, calls: 0, hoard: Vec::new(), _declared: declared };
        if is_now && let Err(error) = naughty.misbehave(&|_, _| Ok(())) {
            return Err(Problems::one("/with", error));
        }
        Ok(naughty)
    }
}

impl RequestFilter for Naughty {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        self.calls += 1;
        if !self.is_meant(Phase::Request, request) {
            return Ok(Decision::Next);
        }
        match self.config.deed {
            Deed::Respond => return Ok(Reply::new(200).with_text(self.config.with.clone()).into()),
            Deed::IllegalReply => return Ok(Reply::new(200).with_header("x-out", "a\r\nset-cookie: b").into()),
            Deed::HugeReply => return Ok(Reply::new(200).with_body("text/plain", vec![b'x'; 24 << 20]).into()),
            Deed::Mark => {
                let value = request.header_bytes("x-in").unwrap_or_default();
                request.set_header("x-out", value)?;
            }
            Deed::MarkOrTrap if request.header("x-trap").is_none() => {
                request.set_header("x-out", "marked")?;
                return Ok(Decision::Next);
            }
            Deed::EditThenTrap | Deed::EditThenErr => {
                request.set_path_with_query("/elsewhere")?;
                request.set_attribute("naughty", "yes")?;
            }
            Deed::Method => request.set_method(&self.config.with)?,
            Deed::Sink => {
                let _ = sinks::write(&self.config.with, request.path().as_bytes());
            }
            _ => {}
        }
        self.misbehave(&|name, value| Ok(request.set_header(name, value)?))?;
        Ok(Decision::Next)
    }
}

impl ResponseFilter for Naughty {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        self.calls += 1;
        if self.is_meant(Phase::Part, request) {
            return Ok(ResponseDecision::StreamBody(b"0".to_vec()));
        }
        if !self.is_meant(Phase::Response, request) {
            return Ok(ResponseDecision::Next);
        }
        match self.config.deed {
            Deed::EditThenTrap | Deed::EditThenErr => response.set_status(418)?,
            Deed::Status => response.set_status(self.config.with.parse()?)?,
            _ => {}
        }
        self.misbehave(&|name, value| Ok(response.set_header(name, value)?))?;
        Ok(ResponseDecision::Next)
    }
}

impl Observer for Naughty {
    fn on_complete(&mut self, request: &Request, response: Option<&Response>, outcome: &Outcome) {
        self.calls += 1;
        if !self.is_meant(Phase::Complete, request) {
            return;
        }
        if matches!(self.config.deed, Deed::Log) {
            let status = outcome.status.unwrap_or_default();
            let seen = response.map_or(0, Response::status);
            plugin_sdk::info!("complete {status} {seen}");
        }
        // Too late for any edit, which the gateway has to see to.
        let edited = self.misbehave(&|name, value| Ok(request.set_header(name, value)?));
        if let Err(error) = edited {
            plugin_sdk::warn!("{error}");
        }
    }
}

impl ResponseStream for Naughty {
    fn on_response_chunk(&mut self, chunk: Chunk) -> Result<ChunkResult, Error> {
        let Chunk { state, bytes, end } = chunk;
        if !matches!(self.config.deed, Deed::Loop) || bytes == b"loop" {
            self.misbehave(&|_, _| Ok(()))?;
        }
        let whole =
            ChunkResult { consumed: bytes.len(), output: bytes.clone(), min_bytes: 1, ..ChunkResult::default() };
        Ok(match self.config.deed {
            Deed::Shout => {
                let consumed = if end.is_some() { bytes.len() } else { bytes.len() / 3 * 3 };
                let trailers = end.map(|fields| vec![("x-end".to_owned(), format!("{fields:?}").into_bytes())]);
                let output = bytes[..consumed].to_ascii_uppercase();
                ChunkResult { consumed, output, min_bytes: 3, trailers: trailers.unwrap_or_default(), ..whole }
            }
            Deed::CountParts => {
                let number: u32 = String::from_utf8_lossy(&state).parse()?;
                ChunkResult {
                    output: format!("{number} ").into_bytes(),
                    state: Some((number + 1).to_string().into()),
                    ..whole
                }
            }
            Deed::TakeTooMuch => ChunkResult { consumed: bytes.len() + 1, ..whole },
            Deed::TakeNothing => ChunkResult { consumed: 0, output: Vec::new(), min_bytes: 1, ..whole },
            Deed::WantTooMuch => ChunkResult { min_bytes: usize::MAX, ..whole },
            Deed::HugeMemo => ChunkResult { state: Some(vec![b'x'; 100_000]), ..whole },
            Deed::IllegalTrailers => ChunkResult { trailers: vec![("a b".to_owned(), Vec::new())], ..whole },
            Deed::HugeOutput => ChunkResult { output: vec![b'x'; 24 << 20], ..whole },
            _ => whole,
        })
    }
}

type Set<'a> = &'a dyn Fn(&str, &[u8]) -> Result<(), Error>;

impl Naughty {
    fn is_meant(&self, phase: Phase, request: &Request) -> bool {
        self.config.phase == phase && self.config.when.as_ref().is_none_or(|name| request.header(name).is_some())
    }

    /// What can be done in any phase; `set` sets a header of the message at hand.
    fn misbehave(&mut self, set: Set<'_>) -> Result<(), Error> {
        let with = &*self.config.with;
        match self.config.deed {
            Deed::Loop => {
                let mut turns = 0_u64;
                loop {
                    turns = black_box(turns.wrapping_add(1));
                }
            }
            Deed::Spin => {
                let (mut turns, end) = (0, with.parse::<u64>()? * 1_000_000);
                while turns < end {
                    turns = black_box(turns + 1);
                }
            }
            Deed::Recurse => {
                black_box(recurse(1));
            }
            Deed::Grow => loop {
                self.hoard.push(black_box(vec![1; 1 << 20]));
            },
            Deed::Leak => self.hoard.push(black_box(vec![1; 10 << 20])),
            Deed::Trap | Deed::MarkOrTrap | Deed::DeclareThenTrap => trap(),
            Deed::Panic => panic!("the plugin's own words"),
            Deed::Exit => std::process::exit(3),
            Deed::Err => return Err(Error::new("failed on purpose")),
            Deed::IllegalHeader => set("x-out", b"a\r\nset-cookie: b")?,
            Deed::OwnedHeader => set("transfer-encoding", b"chunked")?,
            Deed::ManyHeaders => {
                for number in 0..100_000 {
                    set(&format!("x-{number}"), &[b'x'; 100])?;
                }
            }
            Deed::LogForever => loop {
                plugin_sdk::info!("again");
            },
            Deed::Print => {
                println!("printed to stdout");
                eprintln!("printed to stderr");
            }
            Deed::PrintForever => loop {
                println!("again");
            },
            Deed::EditThenTrap => {
                set("x-out", b"edited")?;
                trap();
            }
            Deed::EditThenErr => {
                set("x-out", b"edited")?;
                return Err(Error::new("failed after an edit"));
            }
            Deed::Count => set("x-calls", self.calls.to_string().as_bytes())?,
            Deed::Store => match Bucket::new(with).increment("calls", 1, None) {
                Ok(sum) => set("x-out", sum.to_string().as_bytes())?,
                Err(error) => set("x-out", error.to_string().as_bytes())?,
            },
            Deed::Acquire | Deed::AcquireThenTrap | Deed::AcquireAndRelease => {
                let bucket = Bucket::new(with);
                let acquire = || bucket.acquire("place", 1, Duration::from_secs(1), Scope::Shared);
                let is_held = match self.config.deed {
                    Deed::AcquireAndRelease => {
                        let mut rounds = ["place", "elsewhere"].into_iter().cycle().take(70);
                        rounds.try_fold(true, |is_held, key| {
                            let Some(lease) = acquire()?.lease else { return Ok(false) };
                            bucket.release(key, &lease).map(|()| is_held)
                        })?
                    }
                    _ => acquire()?.lease.is_some(),
                };
                set("x-out", if is_held { b"held" } else { b"full" })?;
                if matches!(self.config.deed, Deed::AcquireThenTrap) {
                    trap();
                }
            }
            Deed::Secret => match secrets::get(with) {
                Ok(secret) => set("x-out", &secret)?,
                Err(error) => set("x-out", error.to_string().as_bytes())?,
            },
            Deed::Metric => {
                metrics::add("naughty_deeds", 1, &[("kind", "metric")]);
                metrics::observe("naughty_seconds", 0.5, &[]);
            }
            Deed::Log => plugin_sdk::info!("{with}"),
            Deed::Mark
            | Deed::Method
            | Deed::Status
            | Deed::Respond
            | Deed::IllegalReply
            | Deed::HugeReply
            | Deed::Sink
            | Deed::Shout
            | Deed::CountParts
            | Deed::TakeTooMuch
            | Deed::TakeNothing
            | Deed::WantTooMuch
            | Deed::HugeMemo
            | Deed::IllegalTrailers
            | Deed::HugeOutput => {}
        }
        Ok(())
    }
}

#[expect(unconditional_recursion, reason = "to find the end of the stack")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1)) + depth)
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    std::process::abort()
}

export_plugin!(Naughty: request, response, response_stream, observe);
