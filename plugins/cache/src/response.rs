//! A response comes: it is kept, confirms what is kept, is worse than that, or ends it.

use std::time::Duration;

use plugin_sdk::{
    Error, Item, Request, Response, Selection,
    cache::{self, CacheError, Entry, Part},
};

use crate::{
    Cached,
    config::Settings,
    freshness::{Head, Refusal, judge, worth},
    key::Address,
    memo::{Memo, Stale, Task},
    note::Note,
    request::{UPSTREAM, joined, millis_now, ttl},
    status,
};

/// For how long no request waits for what is not stored: because of what the upstream says, and because it failed.
const RELEASED: Duration = Duration::from_secs(10);
const RELEASED_FAILURE: Duration = Duration::from_secs(1);

/// What the selection reads, in this order.
pub(crate) fn selection(settings: &Settings) -> Selection {
    let header = |name: &str| Item::ResponseHeader(name.to_owned());
    Selection::new(&[
        header("cache-control"),
        header("pragma"),
        header("expires"),
        header("date"),
        header("age"),
        header("last-modified"),
        header("etag"),
        header("vary"),
        header("set-cookie"),
        header(&settings.tags_header),
        Item::Route,
        Item::Header("cookie".to_owned()),
    ])
}

/// A response with what is known of it.
struct News<'a> {
    plugin: &'a Cached,
    request: &'a Request,
    response: &'a Response,
    head: Head,
    route: String,
    tags: Vec<String>,
    now: u64,
}

pub(crate) fn handle(plugin: &Cached, request: &Request, response: &Response) -> Result<(), Error> {
    let Some(memo) = cache::recall(request).and_then(|bytes| Memo::read(&bytes)) else { return Ok(()) };
    if memo.task == Task::Invalidate {
        return invalidate(plugin, &memo.key, request, response);
    }
    let news = News::of(plugin, request, response);
    match &memo.task {
        Task::Validate(stale) => news.compare(&memo, stale),
        Task::Fetch | Task::Invalidate => {
            let fate = news.keep(&memo)?;
            news.report(&memo, fate);
            Ok(())
        }
    }
}

/// RFC 9111 §4.4: a request that may have changed the resource has been granted.
fn invalidate(plugin: &Cached, key: &str, request: &Request, response: &Response) -> Result<(), Error> {
    if !(200..400).contains(&response.status()) {
        return Ok(());
    }
    forget(plugin, key)?;
    let (scheme, authority) = (request.scheme(), request.authority());
    let upstream = request.attribute(UPSTREAM);
    for name in ["location", "content-location"] {
        let Some(target) = response.header(name) else { continue };
        let own = target.split_once("://").map_or(Some(target.as_str()), |(_, rest)| rest.strip_prefix(&*authority));
        // Of the same origin only, and only what has no additions in its key.
        let Some(own) = own.filter(|own| own.starts_with('/') && !own.starts_with("//")) else { continue };
        let address = own.split('#').next().unwrap_or_default();
        let (path, query) = address.split_once('?').map_or((address, None), |(path, query)| (path, Some(query)));
        let address = Address { scheme: &scheme, authority: &authority, path, query, upstream: upstream.as_deref() };
        forget(plugin, &plugin.settings.recipe.key(address, std::iter::empty(), |_| Vec::new()))?;
    }
    Ok(())
}

fn forget(plugin: &Cached, key: &str) -> Result<(), Error> {
    match plugin.bucket.forget(key) {
        Ok(()) | Err(CacheError::TooLarge) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl<'a> News<'a> {
    fn of(plugin: &'a Cached, request: &'a Request, response: &'a Response) -> Self {
        let values = plugin.response_selection.read(request, Some(response));
        let values: Vec<Option<&[u8]>> = values.iter().collect();
        let value = |i: usize| values.get(i).copied().flatten();
        let text = |i: usize| value(i).and_then(|value| std::str::from_utf8(value).ok()).map(str::to_owned);
        let head = Head {
            status: response.status(),
            // Several lines are one list.
            cache_control: value(0).map(|_| joined(&response.header_values("cache-control"))),
            pragma: text(1),
            expires: text(2),
            date: text(3),
            // What is no text is no number either.
            age: value(4).map(|age| String::from_utf8_lossy(age).into_owned()),
            last_modified: value(5).map(<[u8]>::to_vec),
            etag: value(6).map(<[u8]>::to_vec),
            vary: if value(7).is_some() { response.header_values("vary") } else { Vec::new() },
            sets_cookie: value(8).is_some(),
            // An operator who keeps responses apart by cookies knows what they are for.
            asked_with_cookie: value(11).is_some() && !plugin.settings.recipe.has_cookies(),
        };
        let tags = text(9).unwrap_or_default();
        let tags = tags.split([',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        let route = text(10).unwrap_or_default();
        Self { plugin, request, response, head, route, tags, now: millis_now() }
    }

    /// Keeps the response, if it may be kept. The inner result says whether it is.
    fn keep(&self, memo: &Memo) -> Result<Result<(), Refusal>, Error> {
        let defaults = &self.plugin.settings.defaults;
        let judged = judge(&self.head, self.now, defaults, |name| self.request.header_values(name));
        let why = match judged {
            Ok((note, excluded)) => {
                let entry = self.entry(&note, excluded);
                match self.plugin.bucket.keep(self.request, self.response, &memo.key, entry) {
                    Ok(()) => return Ok(Ok(())),
                    // The gateway does not know for whom: a later plugin has identified the client, or one was skipped, or the
                    // response varies by a header that the request has in two spellings.
                    Err(CacheError::Unavailable) => "consumer",
                    // By what the client has sent in a field that the response varies by.
                    Err(CacheError::TooLarge) => "too-large",
                    Err(error) => return Err(error.into()),
                }
            }
            Err(why) => why,
        };
        if !memo.locked.is_empty() {
            let time = if self.head.status >= 500 { RELEASED_FAILURE } else { RELEASED };
            self.plugin.bucket.release(self.request, &memo.locked, time)?;
        }
        Ok(Err(why))
    }

    fn entry(&self, note: &Note, mut exclude_headers: Vec<String>) -> Entry {
        // It is said anew each time.
        exclude_headers.extend(["age", "cache-status", "x-request-id"].map(str::to_owned));
        Entry {
            note: note.write(),
            secondary: note.vary.as_bytes().to_vec(),
            keep: worth(note, self.plugin.settings.keep_stale),
            tags: self.tags.clone(),
            exclude_headers,
            max_bytes: self.plugin.settings.max_body_bytes,
            shared: self.plugin.settings.shared,
        }
    }

    fn report(&self, memo: &Memo, fate: Result<(), Refusal>) {
        let name = &self.plugin.settings.name;
        status::note(self.request, &self.route, if memo.why == "request" { "request" } else { "miss" });
        status::say(self.response, name, &status::forwarded(name, memo.why, self.head.status, fate));
    }

    /// A stored response is at hand.
    fn compare(self, memo: &Memo, stale: &Stale) -> Result<(), Error> {
        let note = &stale.note;
        if self.head.status == 304 && stale.conditional {
            return self.confirm(memo, stale);
        }
        if matches!(self.head.status, 500 | 502 | 503 | 504) && !note.must_revalidate && !note.no_cache {
            let age = note.age(self.now);
            let over = age.saturating_sub(note.lifetime);
            if age < note.lifetime || over < note.if_error {
                // RFC 9111 §4.2.4, RFC 5861 §4.
                cache::restore(self.request, self.response, stale.id, Part::Whole)?;
                return self.present(stale, note, "stale-if-error", Some("stale-if-error"));
            }
        }
        let fate = self.keep(memo)?;
        self.report(memo, fate);
        Ok(())
    }

    /// RFC 9111 §4.3.4: it is the same as before, and as new as this response.
    fn confirm(self, memo: &Memo, stale: &Stale) -> Result<(), Error> {
        let Self { plugin, request, response, .. } = self;
        let id = stale.id;
        if self.head.is_somebodys() {
            // The client's own news go on to the client, and what was kept is not given to others any more.
            forget(plugin, &memo.key)?;
            return self.give_once(stale);
        }
        match cache::freshen(request, response, id, self.entry(&stale.note, Vec::new())) {
            Ok(()) => {}
            // As in `keep`.
            Err(CacheError::Unavailable) => return self.give_once(stale),
            Err(error) => return Err(error.into()),
        }
        cache::restore(request, response, id, Part::Whole)?;
        // What it says now: its old fields, and those of the 304.
        let News { head, tags, .. } = Self::of(plugin, request, response);
        let head = Head { date: self.head.date.clone(), age: self.head.age.clone(), ..head };
        match judge(&head, self.now, &plugin.settings.defaults, |name| request.header_values(name)) {
            Ok((note, excluded)) => {
                cache::freshen(request, response, id, Entry { tags, ..self.entry(&note, excluded) })?;
                self.present(stale, &note, "revalidated", None)
            }
            // It is this client's alone now.
            Err(_) => {
                forget(plugin, &memo.key)?;
                self.present(stale, &stale.note.confirmed(self.now), "revalidated", None)
            }
        }
    }

    /// What is stored, for this client alone, with the cookies that came with its confirmation.
    fn give_once(&self, stale: &Stale) -> Result<(), Error> {
        let cookies = self.response.header_values("set-cookie");
        cache::restore(self.request, self.response, stale.id, Part::Whole)?;
        for cookie in cookies {
            self.response.append_header("set-cookie", cookie)?;
        }
        self.present(stale, &stale.note.confirmed(self.now), "revalidated", None)
    }

    /// The response is the stored one: the client may have it already.
    fn present(&self, stale: &Stale, note: &Note, outcome: &str, detail: Option<&str>) -> Result<(), Error> {
        let age = note.age(self.now);
        if stale.wanted.answered_by(note, self.response.status(), 0).status == 304 {
            cache::restore(self.request, self.response, stale.id, Part::Nothing)?;
            self.response.set_status(304)?;
        }
        self.response.set_header("age", age.to_string())?;
        let name = &self.plugin.settings.name;
        status::note(self.request, &self.route, outcome);
        status::say(self.response, name, &status::hit(name, ttl(note, age), detail));
        Ok(())
    }
}
