//! Counts calls, responses of an upstream or bytes, as its configuration says.

use plugin_sdk::{
    Decision, Error, Observer, Outcome, Phases, Plugin, Problems, Reply, Request, RequestFilter, RequestStream,
    Response,
    body::{Chunk, ChunkResult},
    export_plugin,
    http_client::Call,
    metrics,
    store::{Bucket, Scope, StoreError, Wake},
    upstreams,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[serde(rename = "do")]
    deed: Deed,
    /// The bucket to count in.
    #[serde(default)]
    bucket: String,
    /// The upstream to call.
    #[serde(default)]
    upstream: String,
}

#[derive(Clone, Copy, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Increments the keys `first` and `second` before it looks at either result, and responds with both sums.
    CountTwice,
    /// Calls the upstream, increments `calls`, and responds with the status and the sum.
    CallThenCount,
    /// Converts the request body to upper case as it passes. The state is the number of bytes, which the completion phase logs
    /// (`streamed N bytes`) and adds to the counter `streamed_bytes`.
    CountBytes,
    /// Calls the upstream with each chunk of the request body. The completion phase adds to the counters `took_us`, `upstream_us` and
    /// `plugins_us` what it is told.
    CallWithChunk,
    /// Adds the trailer `x-bytes` to the request, with the number of bytes.
    AddTrailer,
    /// Sends the request to the upstream that `x-upstream` names, or responds with the error.
    Select,
    /// Fails with the first chunk of the request body.
    FailWithChunk,
    /// Acquires the only lease of `queue`. Requests that get none wait for their turn.
    Queue,
    /// The same, but requests that get none wait for the holder alone, and continue without a lease.
    Follow,
    /// Returns `read-body`, which needs an export that is not there.
    ReadBody,
}

struct Counting(Config);

impl Plugin for Counting {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        Ok(Self(config))
    }

    fn phases(&self) -> Phases {
        Phases { completion: matches!(self.0.deed, Deed::CountBytes | Deed::CallWithChunk), ..Phases::default() }
    }
}

impl RequestFilter for Counting {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let bucket = Bucket::new(&self.0.bucket);
        match self.0.deed {
            Deed::CountTwice => {
                let first = bucket.increment("first", 1, None);
                let second = bucket.increment("second", 1, None);
                let text = match (first, second) {
                    (Ok(first), Ok(second)) => format!("{first} {second}"),
                    (first, second) => format!("{first:?} {second:?}"),
                };
                Ok(Reply::new(200).with_text(text).into())
            }
            Deed::CallThenCount => {
                let called = Call::get(&self.0.upstream, "/from-plugin").send();
                let status = called.map_or_else(|error| error.to_string(), |reply| reply.status.to_string());
                let calls = bucket.increment("calls", 1, None)?;
                Ok(Reply::new(200).with_text(format!("{status} {calls}")).into())
            }
            Deed::CountBytes | Deed::FailWithChunk | Deed::CallWithChunk | Deed::AddTrailer => {
                Ok(Decision::StreamBody(b"0".to_vec()))
            }
            Deed::ReadBody => Ok(Decision::ReadBody),
            Deed::Queue => queue(request, &bucket, Wake::InTurn),
            Deed::Follow => queue(request, &bucket, Wake::All),
            Deed::Select => {
                let name = request.header("x-upstream").unwrap_or_default();
                Ok(match upstreams::select(request, &name) {
                    Ok(()) => Decision::Next,
                    Err(error) => Reply::new(403).with_text(error.to_string()).into(),
                })
            }
        }
    }
}

/// Holds the lease until the exchange ends, or waits for whatever holds it.
fn queue(request: &Request, bucket: &Bucket, wake: Wake) -> Result<Decision, Error> {
    const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);
    let has_waited = request.header("x-waited").is_some();
    let waits = || {
        if wake == Wake::All && has_waited {
            return Ok(false);
        }
        if bucket.acquire("queue", 1, MINUTE, Scope::Shared)?.lease.is_some() {
            return Ok(false);
        }
        bucket.wait_for_lease("queue", 1, MINUTE, wake, Scope::Shared)
    };
    match waits() {
        Ok(true) => {
            request.set_header("x-waited", "yes")?;
            Ok(Decision::AwaitRelease)
        }
        Ok(false) => Ok(Decision::Next),
        Err(StoreError::Unavailable(_)) => Ok(Reply::new(503).into()),
        Err(error) => Err(error.into()),
    }
}

impl RequestStream for Counting {
    fn on_request_chunk(&mut self, chunk: Chunk) -> Result<ChunkResult, Error> {
        if self.0.deed == Deed::FailWithChunk {
            return Err(Error::new("failed on purpose"));
        }
        if self.0.deed == Deed::CallWithChunk {
            Call::get(&self.0.upstream, "/from-plugin").send()?;
        }
        let before: usize = String::from_utf8_lossy(&chunk.state).parse()?;
        let (bytes, output) = (before + chunk.bytes.len(), chunk.bytes.to_ascii_uppercase());
        let is_last = chunk.is_last();
        let mut result = chunk.replaced(output).with_state(bytes.to_string());
        if is_last && self.0.deed == Deed::AddTrailer {
            result.trailers.push(("x-bytes".to_owned(), bytes.to_string().into_bytes()));
        }
        Ok(result)
    }
}

impl Observer for Counting {
    fn on_complete(&mut self, _: &Request, _: Option<&Response>, outcome: &Outcome) {
        let Some(state) = &outcome.request_stream_state else { return };
        if self.0.deed == Deed::CallWithChunk {
            let upstream = outcome.upstream_duration.unwrap_or_default();
            for (name, time) in
                [("took_us", outcome.duration), ("upstream_us", upstream), ("plugins_us", outcome.plugins_duration)]
            {
                metrics::add(name, u64::try_from(time.as_micros()).unwrap_or(u64::MAX), &[]);
            }
            return;
        }
        let bytes = String::from_utf8_lossy(state);
        plugin_sdk::info!("streamed {bytes} bytes");
        metrics::add("streamed_bytes", bytes.parse().unwrap_or_default(), &[]);
    }
}

export_plugin!(Counting: request, request_stream, observe);
