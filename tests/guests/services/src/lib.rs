//! Uses what the gateway offers to plugins, each in straight-line code, as `tests/languages/services` does in other languages.
//! Responds with a line of text that the tests compare.

use std::time::Duration;

use plugin_sdk::{
    Body, BodyError, Decision, Error, Item, NoConfig, Plugin, Problems, Reply, Request, RequestBodyFilter,
    RequestFilter, Selection,
    crypto::verify_password,
    documents::{self, Source},
    export_plugin,
    http_client::Call,
    store::{Bucket, Counting, Operation, OperationResult, Quota, Scope, Step, StoreError},
    tcp::{self, Message},
    upstreams,
};

/// `open sesame`.
const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdC1vZi1hbm5h$MlzKAbpDxiyDJdwkMTMDFg9ED1rnyPn1OXNFKm1f3Jg";

struct Services(Selection);

impl Plugin for Services {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Problems> {
        let items = [Item::Method, Item::Path, Item::Header("x-given".into()), Item::Header("x-missing".into())];
        Ok(Self(Selection::new(&items)))
    }
}

impl RequestFilter for Services {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let text = match request.path().as_str() {
            "/journey" => return journey(request),
            "/parallel" => parallel()?,
            "/batch" => batch()?,
            "/take-all" => take_all()?,
            "/document" => document()?,
            "/password" => password()?,
            "/selection" => self.selection(request),
            "/tcp" => tcp()?,
            "/denied" => upstreams::select(request, "ghost").map_or("denied", |()| "selected").to_owned(),
            _ => return Ok(Decision::Next),
        };
        Ok(Reply::new(200).with_text(text).into())
    }
}

/// A counter, a call to an upstream, a chosen upstream, and a changed body.
fn journey(request: &Request) -> Result<Decision, Error> {
    let user = request.header("x-user").unwrap_or_default();
    let visits = Bucket::new("visits").increment(&user, 1, None)?;
    let group = Call::get("users", &format!("/{user}")).send()?.into_text();
    upstreams::select(request, &group)?;
    request.set_header("x-visits", visits.to_string())?;
    Ok(Decision::ReadBody)
}

impl RequestBodyFilter for Services {
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        let visits = request.header("x-visits").unwrap_or_default();
        let mut bytes = body?.bytes;
        bytes.extend(format!(", visit {visits}").into_bytes());
        request.replace_body(bytes)?;
        Ok(Decision::Next)
    }
}

/// `users` answers neither before both have arrived.
fn parallel() -> Result<String, Error> {
    let one = Call::get("users", "/together/one").start()?;
    let two = Call::get("users", "/together/two").start()?;
    let _forgotten = Call::get("users", "/never").start()?;
    Ok(format!("{} {}", one.wait()?.into_text(), two.wait()?.into_text()))
}

fn batch() -> Result<String, Error> {
    let bucket = Bucket::new("visits");
    bucket.set("word", b"word", None)?;
    let results = bucket.batch(&[
        Operation::Increment { key: "sum".into(), by: -(1 << 40), ttl: None },
        Operation::Get { key: "word".into() },
        Operation::Get { key: "gone".into() },
        Operation::Set { key: "set".into(), value: b"set".to_vec(), ttl: Some(Duration::from_secs(600)) },
        Operation::Delete { key: "deleted".into() },
        Operation::Increment { key: "word".into(), by: 1, ttl: None },
    ])?;
    let told = results.into_iter().map(|result| match result {
        Ok(OperationResult::Value(Some(value))) => String::from_utf8_lossy(&value).into_owned(),
        Ok(OperationResult::Value(None)) => "none".to_owned(),
        Ok(OperationResult::Done) => "done".to_owned(),
        Ok(OperationResult::Sum(sum)) => sum.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(StoreError::TooLarge) => "too-large".to_owned(),
        Err(error) => error.to_string(),
    });
    Ok(told.collect::<Vec<_>>().join(" "))
}

fn take_all() -> Result<String, Error> {
    let quota = Quota { limit: 3, period: Duration::from_secs(3600), burst: 3 };
    let step = |key: &str, counting, cost| Step { key: key.into(), quota, counting, cost };
    let steps = [step("steady", Counting::Steady, 1), step("sliding", Counting::Sliding, 2)];
    let verdicts = Bucket::new("visits").take_all("ann", &steps, Scope::Shared)?;
    Ok(verdicts
        .iter()
        .map(|verdict| format!("{} {}", verdict.allowed, verdict.remaining))
        .collect::<Vec<_>>()
        .join(" "))
}

fn document() -> Result<String, Error> {
    let source = Source::new("users", "/document");
    let document = documents::get(&source, 0, false)?.ok_or_else(|| Error::new("there is none"))?;
    let again = documents::get(&source, document.version, false)?;
    Ok(format!(
        "{} {}",
        String::from_utf8_lossy(&document.bytes),
        if again.is_none() { "unchanged" } else { "changed" }
    ))
}

fn password() -> Result<String, Error> {
    let minute = Duration::from_secs(60);
    let right = verify_password(HASH, b"open sesame", minute)?;
    let wrong = verify_password(HASH, b"open", minute)?;
    let malformed = verify_password("plain", b"open", minute).is_err();
    Ok(format!("{right} {wrong} {malformed}"))
}

impl Services {
    fn selection(&self, request: &Request) -> String {
        let values = self.0.read(request, None);
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or(b"missing")).into_owned();
        values.iter().map(text).collect::<Vec<_>>().join(" ")
    }
}

fn tcp() -> Result<String, Error> {
    let connection = tcp::send(Message::new("echo", "one two").with_min_bytes(3))?;
    let mut bytes = connection.receive(0)?;
    bytes.extend(connection.receive(7 - bytes.len())?);
    connection.release();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

export_plugin!(Services: request, request_body);
