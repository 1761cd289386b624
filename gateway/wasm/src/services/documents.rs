//! Documents of upstreams that plugins look into, such as key sets: fetched once for all workers, kept while they are
//! good, and fetched again before they are not, by whichever worker is asked then.

use std::{
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use gateway_state::redis::{Redis, Reply};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::PathAndQuery};
use tokio::sync::watch;

use super::upstreams::{CallError, LocalFuture, UpstreamCall, Upstreams};

/// Documents of all plugins together. What is asked for beyond takes the place of what was asked for longest ago.
const DOCUMENTS: usize = 256;
const BODY_BYTES: usize = 1024 * 1024;
const LEAST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// One for the process: what is known outlives a configuration.
#[derive(Default)]
pub struct Documents(Mutex<HashMap<Name, Arc<Entry>>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    upstream: String,
    target: PathAndQuery,
}

/// Where a document is, and how old it may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) upstream: String,
    pub(crate) target: PathAndQuery,
    pub(crate) refresh: Duration,
    pub(crate) retry: Duration,
    pub(crate) keep: Duration,
    pub(crate) timeout: Duration,
}

struct Entry {
    name: Name,
    known: Mutex<Known>,
    /// Sent after each attempt.
    attempts: watch::Sender<()>,
}

struct Known {
    /// 0 as long as there has been none.
    version: u64,
    body: Bytes,
    fetched: Instant,
    /// When the last attempt began, or ended if it has.
    tried: Option<Instant>,
    fetching: bool,
    /// No call has asked for the last attempt. If it failed, the next call makes one of its own: the upstream may have been started
    /// together with the gateway.
    early: bool,
    /// Why the last attempt failed.
    failure: String,
    asked: Instant,
    /// Another configuration is in force since it was fetched: the upstream may be another one.
    doubtful: bool,
    /// It was fetched under an earlier configuration, and the attempts under the present one have failed.
    outdated: bool,
    /// The last attempt was made with the upstreams of a configuration that is not in force yet.
    tried_first: bool,
}

/// Why a document is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Call,
    /// A call that wants another version than the known one.
    ForcedCall,
    /// No call waits for it.
    Early,
}

/// What there is to say at once.
pub(crate) enum DocumentLookup {
    Document {
        version: u64,
        body: Bytes,
    },
    /// The one that is known already.
    Same,
    Unavailable(String),
    /// Ends when there is more to say.
    Later(LocalFuture<'static, ()>),
}

impl Documents {
    /// The configuration has changed: what was not tried with its own upstreams is fetched again when it is next asked for, and given
    /// meanwhile.
    pub fn doubt(&self) {
        for entry in self.lock().values() {
            let mut known = entry.lock();
            known.doubtful = !std::mem::take(&mut known.tried_first);
        }
    }

    /// What is at hand. An attempt begins on this worker if it is time for one, by its `upstreams` and with the state in Redis if
    /// that is `remote`; must be called within its `LocalSet`.
    pub(crate) fn get(
        &self,
        source: Source,
        known: u64,
        insist: bool,
        upstreams: &Rc<dyn Upstreams>,
        remote: Option<&Arc<Redis>>,
    ) -> DocumentLookup {
        let purpose = if insist { Purpose::ForcedCall } else { Purpose::Call };
        self.look(source, purpose, known, upstreams, remote)
    }

    fn look(
        &self,
        source: Source,
        purpose: Purpose,
        known: u64,
        upstreams: &Rc<dyn Upstreams>,
        remote: Option<&Arc<Redis>>,
    ) -> DocumentLookup {
        let entry = self.entry(&source);
        let now = Instant::now();
        let mut state = entry.lock();
        state.asked = now;
        let age = now.saturating_duration_since(state.fetched);
        let usable = state.version != 0 && age < source.keep;
        let unwelcome = purpose == Purpose::ForcedCall && known == state.version;
        let due = !usable || age >= source.refresh || unwelcome || state.outdated;
        let since = state.tried.map(|tried| now.saturating_duration_since(tried));
        let is_first_call = state.early && purpose != Purpose::Early;
        let may_try = is_first_call || since.is_none_or(|since| since >= source.retry.max(LEAST_RETRY));
        if !state.fetching && (due && may_try || state.doubtful) {
            let attempt = Attempt::begin(&entry, &mut state, purpose, now);
            tokio::task::spawn_local(fetch(attempt, source, unwelcome, Rc::clone(upstreams), remote.cloned()));
        }
        if usable && known != state.version {
            DocumentLookup::Document { version: state.version, body: state.body.clone() }
        } else if state.fetching && (!usable || unwelcome) {
            // Subscribed to before the attempt can end: it needs the lock for that.
            let mut attempts = entry.attempts.subscribe();
            DocumentLookup::Later(Box::pin(async move {
                // An error would mean that the entry is gone, and then there is nothing to wait for either.
                let _ = attempts.changed().await;
            }))
        } else if usable {
            DocumentLookup::Same
        } else {
            DocumentLookup::Unavailable(state.failure.clone())
        }
    }

    /// Begins an attempt if it is time for one. A document that no call has asked for takes no place of one that was.
    pub(crate) fn prefetch(&self, source: &Source, upstreams: &Rc<dyn Upstreams>, remote: Option<&Arc<Redis>>) {
        if self.has_place(source) {
            drop(self.look(source.clone(), Purpose::Early, 0, upstreams, remote));
        }
    }

    fn has_place(&self, source: &Source) -> bool {
        let entries = self.lock();
        entries.len() < DOCUMENTS || entries.contains_key(&Name::of(source))
    }

    /// Makes an attempt under a configuration that is not in force yet, and waits for its end. Must be called within a `LocalSet`.
    pub(super) async fn fetch_first(
        &self,
        source: &Source,
        upstreams: &Rc<dyn Upstreams>,
        remote: Option<&Arc<Redis>>,
    ) {
        if !self.has_place(source) {
            return;
        }
        let entry = self.entry(source);
        // Subscribed to before it is looked at, so that the end of an attempt is not missed.
        let mut attempts = entry.attempts.subscribe();
        let attempt = loop {
            if let Some(attempt) = Attempt::begin_first(&entry) {
                break attempt;
            }
            // One that is in progress uses the upstream of the configuration in force, which may be another one.
            if attempts.changed().await.is_err() {
                return;
            }
        };
        fetch(attempt, source.clone(), false, Rc::clone(upstreams), remote.cloned()).await;
    }

    /// Why there is no usable version; none if there is one.
    pub(super) fn missing(&self, source: &Source) -> Option<String> {
        let entry = self.lock().get(&Name::of(source)).cloned();
        let Some(entry) = entry else { return Some(format!("there are {DOCUMENTS} others")) };
        let state = entry.lock();
        let is_usable = state.version != 0 && state.fetched.elapsed() < source.keep;
        (!is_usable).then(|| state.failure.clone())
    }

    fn entry(&self, source: &Source) -> Arc<Entry> {
        let name = Name::of(source);
        let mut entries = self.lock();
        if let Some(entry) = entries.get(&name) {
            return Arc::clone(entry);
        }
        if entries.len() >= DOCUMENTS {
            let oldest = entries.values().min_by_key(|entry| entry.lock().asked).map(|entry| entry.name.clone());
            oldest.and_then(|name| entries.remove(&name));
        }
        let entry = Arc::new(Entry::new(name.clone()));
        entries.insert(name, Arc::clone(&entry));
        entry
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Arc<Entry>>> {
        // The map is consistent between statements, even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    fn of(source: &Source) -> Self {
        Self { upstream: source.upstream.clone(), target: source.target.clone() }
    }
}

impl Entry {
    fn new(name: Name) -> Self {
        let now = Instant::now();
        let known = Known {
            version: 0,
            body: Bytes::new(),
            fetched: now,
            tried: None,
            fetching: false,
            early: false,
            failure: String::new(),
            asked: now,
            doubtful: false,
            outdated: false,
            tried_first: false,
        };
        Self { name, known: Mutex::new(known), attempts: watch::Sender::new(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One attempt, which ends however it ends: also when its worker does.
struct Attempt(Arc<Entry>);

impl Attempt {
    fn begin(entry: &Arc<Entry>, state: &mut Known, purpose: Purpose, now: Instant) -> Self {
        state.fetching = true;
        state.early = purpose == Purpose::Early;
        state.outdated |= state.doubtful;
        (state.doubtful, state.tried_first) = (false, false);
        state.tried = Some(now);
        Self(Arc::clone(entry))
    }

    /// Under a configuration that is not in force yet; none while another attempt is in progress.
    fn begin_first(entry: &Arc<Entry>) -> Option<Self> {
        let mut state = entry.lock();
        if state.fetching {
            return None;
        }
        let attempt = Self::begin(entry, &mut state, Purpose::Early, Instant::now());
        (state.outdated, state.tried_first) = (true, true);
        Some(attempt)
    }

    /// `age` is how long ago the document was fetched, by whichever gateway.
    fn end(&self, result: Result<Bytes, String>, age: Duration) {
        let Entry { name, attempts, .. } = &*self.0;
        let mut known = self.0.lock();
        known.fetching = false;
        known.tried = Some(Instant::now());
        match result {
            Ok(body) => {
                known.fetched = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
                if known.version == 0 || known.body != body {
                    known.version += 1;
                    known.body = body;
                }
                known.outdated = false;
                known.failure.clear();
            }
            Err(why) => {
                let age = known.fetched.elapsed().as_secs();
                let kept = known.version != 0;
                let (upstream, path) = (&*name.upstream, name.target.path());
                tracing::warn!(upstream, path, kept, age, "cannot fetch a document for plugins: {why}");
                known.failure = why;
            }
        }
        drop(known);
        attempts.send_replace(());
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.0.lock().fetching {
            self.end(Err("the fetch was cancelled".to_owned()), Duration::ZERO);
        }
    }
}

async fn fetch(
    attempt: Attempt,
    source: Source,
    insist: bool,
    upstreams: Rc<dyn Upstreams>,
    remote: Option<Arc<Redis>>,
) {
    // An upstream of the same name that is another one elsewhere has other documents.
    let name = upstreams.fingerprint(&source.upstream).map(|own| format!("{own} {}", source.target));
    // Another gateway may have it. A forced refresh skips that.
    if !insist
        && let (Some(remote), Some(name)) = (&remote, &name)
        && let Some((body, age)) = shared(remote, name).await
        && age < source.refresh
    {
        return attempt.end(Ok(body), age);
    }
    let keep = source.keep;
    let timeout = if source.timeout.is_zero() { LONGEST_TIMEOUT } else { source.timeout.min(LONGEST_TIMEOUT) };
    let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"))]);
    let call = UpstreamCall {
        upstream: source.upstream,
        method: Method::GET,
        target: source.target,
        headers,
        body: Bytes::new(),
        timeout,
        limit: BODY_BYTES,
        trace: None,
    };
    let answer = tokio::time::timeout(timeout, upstreams.call(call)).await;
    let result = match answer {
        Ok(Ok(reply)) if reply.status == StatusCode::OK => Ok(reply.body),
        Ok(Ok(reply)) => Err(format!("it is answered with {}", reply.status.as_u16())),
        Ok(Err(CallError::Unknown)) => Err("there is no such upstream".to_owned()),
        Ok(Err(CallError::Unreachable(why) | CallError::Closed(why))) => Err(why),
        Ok(Err(CallError::TooLarge)) => Err(format!("it is over {BODY_BYTES} bytes")),
        Ok(Err(CallError::Timeout)) | Err(_) => Err("it took too long".to_owned()),
    };
    if let (Ok(body), Some(remote), Some(name)) = (&result, &remote, &name) {
        share(remote, name, body, keep);
    }
    attempt.end(result, Duration::ZERO);
}

/// The bucket of documents where the state is: no plugin's, since its name has a space. The number is the version of the values' form.
const BUCKET: &str = "gateway documents 1";

/// What another gateway has fetched, and how long ago. Nothing while the state is unavailable.
async fn shared(remote: &Redis, name: &str) -> Option<(Bytes, Duration)> {
    let Ok(Reply::Bytes(Some(value))) = remote.ask(remote.get(BUCKET, name).ok()?).ok()?.answer().await else {
        return None;
    };
    let (at, _) = value.split_first_chunk()?;
    let age = unix_millis().saturating_sub(u64::from_be_bytes(*at));
    Some((value.slice(8..), Duration::from_millis(age)))
}

/// For other gateways; not waited for.
fn share(remote: &Redis, name: &str, body: &Bytes, keep: Duration) {
    let value = [&unix_millis().to_be_bytes()[..], body].concat();
    let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    if let Ok(op) = remote.set(BUCKET, name, value, Some(keep)) {
        let _ = remote.ask(op);
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
