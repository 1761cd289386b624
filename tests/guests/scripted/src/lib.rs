//! Does what a script in a header of the request says, and returns the result of each operation as text. The end-to-end tests
//! compile it natively as well, and run the same scripts in the test kit.

use std::time::Duration;

use plugin_sdk::{
    Body, BodyError, Decision, Edit, Edits, Error, Item, NoConfig, Plugin, Problems, Reply, Request, RequestBodyFilter,
    RequestFilter, Response, ResponseBodyFilter, ResponseDecision, ResponseFilter, Selection, export_plugin,
    serde_json,
    store::{Bucket, Counting, Operation, Quota, Scope, Step, Verdict},
};
use serde::{Deserialize, Serialize};

/// Where the script is.
pub const HEADER: &str = "x-script";
/// The bucket of the script's operations.
const BUCKET: &str = "own";
/// Where the script's last lease is.
const LEASE: &str = "lease";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    pub request: Vec<Op>,
    /// Of no use where the plugin answers.
    pub response: Vec<Op>,
    pub answers: bool,
}

/// Bytes that are repeated, so that a short script can have long values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Text(pub Vec<u8>, pub usize);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    Set,
    Append,
    Remove,
    SetLater,
    AppendLater,
    RemoveLater,
    Default,
    Join,
    Attribute,
}

/// Limit, period in milliseconds, and burst.
pub type Limit = (u32, u64, u32);

/// Key, quota, whether it is counted steadily, and cost.
pub type TakeStep = (String, Limit, bool, u32);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Op {
    /// Of the request: `Set`, `Append` and `Remove` with `Text`; of the response, the same.
    Change(bool, Kind, String, Text),
    /// Appends so many lines.
    Many(bool, String, usize),
    Header(bool, String),
    Headers(bool),
    Method(String),
    Target(Text),
    Status(u16),
    /// Method, authority, path, query and the target as it came.
    Head,
    SetAttribute(String, Text),
    ManyAttributes(usize),
    Attribute(String),
    /// What the phase has of the body: of the request or of the response.
    ReadBody(bool),
    ReplaceBody(bool, usize),
    Apply(Vec<(Kind, String, Option<Text>)>, Vec<Option<Text>>),
    Select(Vec<String>),
    Get(Text),
    Put(Text, Text, Option<u64>),
    Delete(Text),
    Increment(Text, i64, Option<u64>),
    Take(Text, Limit, u32),
    TakeAll(String, Vec<TakeStep>),
    /// Key, expected value, new value, time to live.
    Swap(Text, Option<Text>, Option<Text>, Option<u64>),
    SetTtl(Text, Option<u64>),
    /// The last two as a batch.
    Batch(Text, Option<Text>, Option<Text>, Option<u64>),
    /// Key, limit, time to live. What is acquired is kept for the two below.
    Acquire(Text, u32, u64),
    Renew(Text, u64),
    Release(Text),
}

impl Text {
    fn bytes(&self) -> Vec<u8> {
        self.0.repeat(self.1)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

pub struct Scripted;

impl Plugin for Scripted {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Problems> {
        Ok(Self)
    }
}

impl RequestFilter for Scripted {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let script = script(request)?;
        let before = script.before_body(true);
        let results = before.iter().map(|op| op.run(request, None, None)).collect();
        if before.len() < script.request.len() {
            keep(&results)?;
            return Ok(Decision::ReadBody);
        }
        finish_request(request, &script, &results)
    }
}

impl RequestBodyFilter for Scripted {
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        let script = script(request)?;
        let mut results = kept()?;
        let rest = script.request.iter().skip(script.before_body(true).len());
        results.extend(rest.map(|op| op.run(request, None, Some(&body))));
        finish_request(request, &script, &results)
    }
}

impl ResponseFilter for Scripted {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        let script = script(request)?;
        let before = script.before_body(false);
        let mut results = kept()?;
        results.extend(before.iter().map(|op| op.run(request, Some(response), None)));
        if before.len() < script.response.len() {
            keep(&results)?;
            return Ok(ResponseDecision::ReadBody);
        }
        finish_response(response, &results)
    }
}

impl ResponseBodyFilter for Scripted {
    fn on_response_body(
        &mut self,
        request: &Request,
        response: &Response,
        body: Result<Body, BodyError>,
    ) -> Result<ResponseDecision, Error> {
        let script = script(request)?;
        let mut results = kept()?;
        let rest = script.response.iter().skip(script.before_body(false).len());
        results.extend(rest.map(|op| op.run(request, Some(response), Some(&body))));
        finish_response(response, &results)
    }
}

impl Script {
    /// The operations before the first one that reads the body: all that are done before it is there.
    fn before_body(&self, of_request: bool) -> &[Op] {
        let ops = if of_request { &self.request } else { &self.response };
        let reads = |op: &Op| matches!(op, Op::ReadBody(request) if *request == of_request);
        &ops[..ops.iter().position(reads).unwrap_or(ops.len())]
    }
}

/// Keeps results for the next call.
fn keep(results: &Vec<String>) -> Result<(), Error> {
    Ok(Bucket::new(BUCKET).set("results", &serde_json::to_vec(results)?, None)?)
}

fn kept() -> Result<Vec<String>, Error> {
    Ok(serde_json::from_slice(&Bucket::new(BUCKET).get("results")?.unwrap_or_default())?)
}

fn finish_request(request: &Request, script: &Script, results: &Vec<String>) -> Result<Decision, Error> {
    if script.answers {
        return Ok(Reply::new(200).with_text(serde_json::to_string(results)?).into());
    }
    keep(results)?;
    // What no upstream would take.
    for (name, _) in request.headers().into_iter().filter(|(name, _)| is_shown(name) && name != "host") {
        request.remove_header(&name)?;
    }
    Ok(Decision::Next)
}

fn finish_response(response: &Response, results: &Vec<String>) -> Result<ResponseDecision, Error> {
    for (name, _) in response.headers().into_iter().filter(|(name, _)| is_shown(name)) {
        response.remove_header(&name)?;
    }
    // One that has a body.
    response.set_status(200)?;
    response.replace_body(serde_json::to_vec(results)?)?;
    Ok(ResponseDecision::Next)
}

fn script(request: &Request) -> Result<Script, Error> {
    Ok(serde_json::from_slice(&request.header_bytes(HEADER).unwrap_or_default())?)
}

/// Headers that the script is about; there are others where a real gateway is.
fn is_shown(name: &str) -> bool {
    name.starts_with("x-t") || name.starts_with("x_t") || matches!(name, "host" | "vary")
}

/// Short, and the same wherever it is made.
fn shown(bytes: &[u8]) -> String {
    let short = bytes[..bytes.len().min(40)].escape_ascii();
    if bytes.len() > 40 { format!("{short}… {}", bytes.len()) } else { short.to_string() }
}

fn lines(fields: Vec<(String, Vec<u8>)>) -> String {
    // Lines of one name stay in their order; that of the names is nobody's.
    let mut fields: Vec<_> = fields.into_iter().filter(|(name, _)| is_shown(name)).collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields.iter().map(|(name, value)| format!("{name}: {}\n", shown(value))).collect()
}

/// Without times, which pass in a real gateway.
fn verdict(verdict: &Verdict) -> (bool, u32, bool, bool) {
    let never = verdict.retry_after == Duration::from_millis(u64::MAX);
    (verdict.allowed, verdict.remaining, verdict.reset_after.is_zero(), never)
}

fn quota((limit, period, burst): Limit) -> Quota {
    Quota { limit, period: Duration::from_millis(period), burst }
}

impl Op {
    fn run(&self, request: &Request, response: Option<&Response>, body: Option<&Result<Body, BodyError>>) -> String {
        let bucket = Bucket::new(BUCKET);
        match self {
            Self::Change(of_request, kind, name, value) => {
                let value = value.bytes();
                let made = match (of_request, kind, response) {
                    (true, Kind::Set, _) => request.set_header(name, value),
                    (true, Kind::Append, _) => request.append_header(name, value),
                    (true, _, _) => request.remove_header(name),
                    (false, Kind::Set, Some(response)) => response.set_header(name, value),
                    (false, Kind::Append, Some(response)) => response.append_header(name, value),
                    (false, _, Some(response)) => response.remove_header(name),
                    (false, _, None) => return String::new(),
                };
                format!("{made:?}")
            }
            Self::Many(of_request, name, count) => {
                let append = |number: usize| match (of_request, response) {
                    (true, _) => request.append_header(name, number.to_string()),
                    (false, Some(response)) => response.append_header(name, number.to_string()),
                    (false, None) => Ok(()),
                };
                let first = (0..*count).find_map(|number| append(number).err().map(|error| (number, error)));
                format!("{first:?}")
            }
            Self::Header(of_request, name) => {
                let (value, values) = match (of_request, response) {
                    (true, _) => (request.header_bytes(name), request.header_values(name)),
                    (false, Some(response)) => (response.header_bytes(name), response.header_values(name)),
                    (false, None) => (None, Vec::new()),
                };
                let values: Vec<_> = values.iter().map(|value| shown(value)).collect();
                format!("{:?} {values:?}", value.as_deref().map(shown))
            }
            Self::Headers(true) => lines(request.headers()),
            Self::Headers(false) => response.map_or(String::new(), |response| lines(response.headers())),
            Self::Method(method) => format!("{:?}", request.set_method(method)),
            Self::Target(target) => format!("{:?}", request.set_path_with_query(&target.text())),
            Self::Status(status) => {
                format!("{:?}", response.map(|response| (response.set_status(*status), response.status())))
            }
            Self::Head => {
                let (path, query, original) = (request.path(), request.query(), request.original_target());
                let [path, original] = [path, original].map(|text| shown(text.as_bytes()));
                let query = query.map(|query| shown(query.as_bytes()));
                format!("{} {} {path} {query:?} {original}", request.method(), request.authority())
            }
            Self::SetAttribute(key, value) => format!("{:?}", request.set_attribute(key, &value.text())),
            Self::ManyAttributes(count) => {
                let set = |number: usize| request.set_attribute(&format!("many.{number}"), "").err();
                format!("{:?}", (0..*count).find_map(|number| set(number).map(|error| (number, error))))
            }
            Self::Attribute(key) => format!("{:?}", request.attribute(key).map(|value| shown(value.as_bytes()))),
            Self::ReadBody(_) => {
                format!("{:?}", body.map(|body| body.as_ref().map(|body| shown(&body.bytes))))
            }
            Self::ReplaceBody(true, length) => format!("{:?}", request.replace_body(vec![b'r'; *length])),
            Self::ReplaceBody(false, length) => {
                format!("{:?}", response.map(|response| response.replace_body(vec![b'r'; *length])))
            }
            Self::Apply(edits, values) => {
                let edits: Vec<_> = edits.iter().map(edit).collect();
                let values: Vec<_> = values.iter().map(|value| value.as_ref().map(Text::bytes)).collect();
                let made = Edits::new(&edits).apply(request, response, values.iter().map(Option::as_deref));
                format!("{made:?}")
            }
            Self::Select(names) => {
                let items = names.iter().flat_map(|name| {
                    [Item::Header(name.clone()), Item::ResponseHeader(name.clone()), Item::Attribute(name.clone())]
                });
                let items: Vec<_> = items.chain([Item::Method, Item::Path, Item::Query, Item::Authority]).collect();
                let values = Selection::new(&items).read(request, response);
                format!("{:?}", values.iter().map(|value| value.map(shown)).collect::<Vec<_>>())
            }
            Self::Get(key) => {
                format!("{:?}", bucket.get(&key.text()).map(|value| value.map(|value| shown(&value))))
            }
            Self::Put(key, value, ttl) => {
                format!("{:?}", bucket.set(&key.text(), &value.bytes(), ttl.map(Duration::from_millis)))
            }
            Self::Delete(key) => format!("{:?}", bucket.delete(&key.text())),
            Self::Increment(key, by, ttl) => {
                format!("{:?}", bucket.increment(&key.text(), *by, ttl.map(Duration::from_millis)))
            }
            Self::Take(key, of, cost) => {
                format!("{:?}", bucket.take(&key.text(), &quota(*of), *cost).as_ref().map(verdict))
            }
            Self::TakeAll(group, steps) => {
                let step = |(key, of, steady, cost): &TakeStep| Step {
                    key: key.clone(),
                    quota: quota(*of),
                    counting: if *steady { Counting::Steady } else { Counting::Sliding },
                    cost: *cost,
                };
                let steps: Vec<_> = steps.iter().map(step).collect();
                let taken = bucket.take_all(group, &steps, Scope::Shared);
                format!("{:?}", taken.map(|verdicts| verdicts.iter().map(verdict).collect::<Vec<_>>()))
            }
            Self::Swap(key, expected, value, ttl) => {
                let [expected, value] = [expected, value].map(|value| value.as_ref().map(Text::bytes));
                let ttl = ttl.map(Duration::from_millis);
                format!("{:?}", bucket.compare_and_swap(&key.text(), expected.as_deref(), value.as_deref(), ttl))
            }
            Self::SetTtl(key, ttl) => format!("{:?}", bucket.set_ttl(&key.text(), ttl.map(Duration::from_millis))),
            Self::Batch(key, expected, value, ttl) => {
                let [expected, value] = [expected, value].map(|value| value.as_ref().map(Text::bytes));
                let ttl = ttl.map(Duration::from_millis);
                let swap = Operation::CompareAndSwap { key: key.text(), expected, value, ttl };
                // In memory one is made after the other.
                format!("{:?}", bucket.batch(&[swap, Operation::SetTtl { key: key.text(), ttl }]))
            }
            Self::Acquire(key, limit, ttl) => {
                let acquired = bucket.acquire(&key.text(), *limit, Duration::from_millis(*ttl), Scope::Shared);
                let kept = match acquired.as_ref().map(|acquired| acquired.lease.as_deref()) {
                    Ok(Some(lease)) => bucket.set(LEASE, lease.as_bytes(), None),
                    _ => Ok(()),
                };
                format!("{kept:?} {:?}", acquired.map(|acquired| (acquired.lease.is_some(), acquired.holders)))
            }
            Self::Renew(key, ttl) => {
                format!("{:?}", bucket.renew(&key.text(), &lease(&bucket), Duration::from_millis(*ttl)))
            }
            Self::Release(key) => format!("{:?}", bucket.release(&key.text(), &lease(&bucket))),
        }
    }
}

/// The lease that was acquired last, by any script.
fn lease(bucket: &Bucket) -> String {
    let lease = bucket.get(LEASE).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&lease).into_owned()
}

fn edit((kind, name, value): &(Kind, String, Option<Text>)) -> Edit {
    let edit = match kind {
        Kind::Set => Edit::set_header(name),
        Kind::Append => Edit::append_header(name),
        Kind::Remove => Edit::remove_header(name),
        Kind::SetLater => Edit::set_response_header(name),
        Kind::AppendLater => Edit::append_response_header(name),
        Kind::RemoveLater => Edit::remove_response_header(name),
        Kind::Default => Edit::default_response_header(name),
        Kind::Join => Edit::join_response_header(name),
        Kind::Attribute => Edit::set_attribute(name),
    };
    match value {
        Some(value) if !matches!(kind, Kind::Remove | Kind::RemoveLater) => edit.always(value.bytes()),
        _ => edit,
    }
}

export_plugin!(Scripted: request, request_body, response, response_body);
