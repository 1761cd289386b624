//! A request comes: it is answered with what is kept, or goes on to fetch what is not.

use plugin_sdk::{
    Decision, Error, Item, Reply, Request, Selection,
    cache::{self, CacheError, LockResult, Stored},
};

use crate::{
    Cached,
    config::{ClientDirectives, Consumers, Settings},
    directives::Asked,
    key::Address,
    memo::{Memo, Stale, Task},
    note::Note,
    preconditions::Wanted,
    status,
    vary::Vary,
};

/// What the selection reads, in this order; then what the key's recipe wants.
pub(crate) const ITEMS: usize = 15;

pub(crate) fn selection(settings: &Settings) -> Selection {
    let header = |name: &str| Item::Header(name.to_owned());
    let mut items = vec![
        Item::Method,
        Item::Authority,
        Item::Path,
        Item::Query,
        Item::Route,
        header("cache-control"),
        header("pragma"),
        header("if-none-match"),
        header("if-modified-since"),
        header("range"),
        header("if-range"),
        header("if-match"),
        header("if-unmodified-since"),
        Item::Scheme,
        Item::Attribute(UPSTREAM.to_owned()),
    ];
    items.extend(settings.recipe.items());
    Selection::new(&items)
}

/// The attribute with the upstream to which the route leads.
pub(crate) const UPSTREAM: &str = "gateway.upstream";
/// By which the gateway is told that consumers share responses that say so themselves.
const SHARING: (&str, &str) = ("cache.consumers", "share");
/// The gateway's limit.
const LONGEST_KEY: usize = 4 * 1024;

/// A request, as far as it matters.
struct Question<'a> {
    request: &'a Request,
    key: String,
    /// Path and query without what is not in the key, if that is another target.
    target: Option<String>,
    route: &'a str,
    asked: Asked,
    wanted: Wanted,
    is_head: bool,
}

/// A stored response that was chosen for the request.
struct Chosen {
    stored: Stored,
    note: Note,
    age: u32,
}

/// What may be done with it.
enum Use {
    Give,
    /// Give it, and fetch a new one behind.
    GiveAndRenew,
    Validate(&'static str),
}

pub(crate) fn handle(plugin: &Cached, request: &Request) -> Result<Decision, Error> {
    let values = plugin.selection.read(request, None);
    let values: Vec<Option<&[u8]>> = values.iter().collect();
    let text = |i: usize| values.get(i).copied().flatten().and_then(|value| std::str::from_utf8(value).ok());
    let bytes = |i: usize| values.get(i).copied().flatten().map(<[u8]>::to_vec);
    let (method, route) = (text(0).unwrap_or_default(), text(4).unwrap_or_default());
    let extras = values.iter().skip(ITEMS).copied();
    let recipe = &plugin.settings.recipe;
    let address = Address {
        scheme: text(13).unwrap_or_default(),
        authority: text(1).unwrap_or_default(),
        path: text(2).unwrap_or_default(),
        query: text(3),
        upstream: text(14),
    };
    let key = recipe.key(address, extras, |name| request.header_values(name));
    let is_head = method == "HEAD";
    if !is_head && method != "GET" {
        // OPTIONS and TRACE are safe (RFC 9110 §9.2.1): they change nothing.
        // What is too long for a key was never kept.
        if !matches!(method, "OPTIONS" | "TRACE") && key.len() <= LONGEST_KEY {
            remember(request, &Memo { task: Task::Invalidate, key, locked: String::new(), why: "method" })?;
        }
        return Ok(Decision::Next);
    }
    let asked = match plugin.settings.client_directives {
        ClientDirectives::Respect if text(5).is_some() => {
            Asked::read(Some(&joined(&request.header_values("cache-control"))), None)
        }
        ClientDirectives::Respect => Asked::read(None, text(6)),
        ClientDirectives::Ignore => Asked::default(),
    };
    // Conditions on the state of a resource are for whoever has it.
    if asked.no_store || values.get(11).copied().flatten().is_some() || values.get(12).copied().flatten().is_some() {
        status::note(request, route, "bypass");
        return Ok(Decision::Next);
    }
    let wanted = Wanted {
        if_none_match: bytes(7),
        if_modified_since: bytes(8),
        // RFC 9110 §14.2: for GET alone.
        range: bytes(9).filter(|_| !is_head),
        if_range: bytes(10),
    };
    if plugin.settings.consumers == Consumers::Share {
        // Where there is no room for it they are isolated.
        let _ = request.set_attribute(SHARING.0, SHARING.1);
    }
    let query = recipe.query(address.query);
    let target = (query.as_deref() != address.query).then(|| match &query {
        Some(query) => format!("{}?{query}", address.path),
        None => address.path.to_owned(),
    });
    Question { request, key, target, route, asked, wanted, is_head }.answer(plugin)
}

impl Question<'_> {
    fn answer(self, plugin: &Cached) -> Result<Decision, Error> {
        let found = match plugin.bucket.find(self.request, &self.key, plugin.settings.shared) {
            Ok(found) => found,
            // A key that is too long, or a body with a request that should have none.
            Err(CacheError::TooLarge | CacheError::Unavailable) => {
                status::note(self.request, self.route, "bypass");
                return Ok(Decision::Next);
            }
            Err(error) => return Err(error.into()),
        };
        let now = millis_now();
        let missing = if found.is_empty() { "uri-miss" } else { "vary-miss" };
        let first = found.first().and_then(|stored| Note::read(&stored.note));
        let chosen = found.into_iter().find_map(|stored| {
            let note = Note::read(&stored.note)?;
            let age = note.age(now);
            note.vary.matches(|name| self.request.header_values(name)).then_some(Chosen { stored, note, age })
        });
        if cache::is_renewal(self.request) {
            // For whoever comes next: not for the part that this client wanted, nor for what it has.
            for name in ["range", "if-range", "if-none-match", "if-modified-since"] {
                self.request.remove_header(name)?;
            }
            let locked = self.key.clone();
            return match chosen {
                Some(chosen) => self.validate(chosen, "stale", locked),
                None => self.fetch(missing, locked),
            };
        }
        let Some(chosen) = chosen else {
            if self.asked.only_if_cached {
                return Ok(self.not_cached());
            }
            // A part, or a 304, would not be kept; and a HEAD has no body to keep.
            if self.is_head || self.wanted.range.is_some() || self.wanted.is_conditional() {
                return self.fetch(missing, String::new());
            }
            let place = first.map_or_else(|| self.key.clone(), |first| self.place_beside(&first.vary));
            let Some(locked) = self.lock(plugin, place)? else { return Ok(Decision::AwaitRelease) };
            return self.fetch(missing, locked);
        };
        match self.usable(&chosen) {
            Use::Give => self.give(plugin, &chosen, "hit"),
            Use::GiveAndRenew => {
                // The answer to a HEAD is no body to keep.
                if !self.is_head {
                    plugin.bucket.renew(self.request, &self.key)?;
                }
                self.give(plugin, &chosen, "stale")
            }
            Use::Validate(_) if self.asked.only_if_cached => Ok(self.not_cached()),
            // It is not worth it for a part or a head alone.
            Use::Validate(why) if self.is_head || self.wanted.range.is_some() => self.fetch(why, String::new()),
            Use::Validate("request") => self.validate(chosen, "request", String::new()),
            Use::Validate(why) => {
                let Some(locked) = self.lock(plugin, self.key.clone())? else { return Ok(Decision::AwaitRelease) };
                self.validate(chosen, why, locked)
            }
        }
    }

    /// RFC 9111 §4.
    fn usable(&self, chosen: &Chosen) -> Use {
        let Chosen { note, age, .. } = chosen;
        let asked = &self.asked;
        if note.no_cache {
            return Use::Validate("stale");
        }
        if asked.no_cache || asked.max_age.is_some_and(|most| *age > most || most == 0) {
            return Use::Validate("request");
        }
        let over = age.saturating_sub(note.lifetime);
        if *age < note.lifetime {
            let left = note.lifetime - age;
            return if left >= asked.min_fresh { Use::Give } else { Use::Validate("request") };
        }
        if note.must_revalidate {
            return Use::Validate("stale");
        }
        if over < note.while_revalidate && asked.min_fresh == 0 {
            return Use::GiveAndRenew;
        }
        if asked.max_stale.is_some_and(|most| over <= most) { Use::Give } else { Use::Validate("stale") }
    }

    fn give(&self, plugin: &Cached, chosen: &Chosen, outcome: &str) -> Result<Decision, Error> {
        let Chosen { stored, note, age } = chosen;
        let given = self.wanted.answered_by(note, stored.status, stored.body_bytes);
        cache::answer(self.request, stored.id, given.part)?;
        status::note(self.request, self.route, outcome);
        let mut reply = Reply::new(given.status).with_header("age", age.to_string());
        if let Some(range) = given.content_range {
            reply = reply.with_header("content-range", range);
        }
        let name = &plugin.settings.name;
        if !name.is_empty() {
            reply = reply.with_header("cache-status", status::hit(name, ttl(note, *age), None));
        }
        Ok(reply.into())
    }

    /// Locks a key, so that other exchanges wait for this one. Returns the key if it was locked, an empty one if there is nothing
    /// to lock, and none if another exchange has the lock.
    fn lock(&self, plugin: &Cached, key: String) -> Result<Option<String>, Error> {
        if plugin.settings.lock_timeout.is_zero() {
            return Ok(Some(String::new()));
        }
        match plugin.bucket.lock(self.request, &key, plugin.settings.lock_timeout) {
            Ok(LockResult::Acquired) => Ok(Some(key)),
            Ok(LockResult::Free) | Err(CacheError::TooLarge) => Ok(Some(String::new())),
            Ok(LockResult::Held) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where those wait who are alike in what other responses vary by.
    fn place_beside(&self, vary: &Vary) -> String {
        let values = vary.values_of(|name| self.request.header_values(name));
        format!("{}\n{}", self.key, String::from_utf8_lossy(&values))
    }

    fn fetch(self, why: &'static str, locked: String) -> Result<Decision, Error> {
        self.remove_what_is_not_in_the_key()?;
        // A HEAD's answer is no GET's.
        if !self.is_head {
            remember(self.request, &Memo { task: Task::Fetch, key: self.key, locked, why })?;
        }
        Ok(Decision::Next)
    }

    /// Asks the upstream whether it is still the same (RFC 9111 §4.3).
    fn validate(self, chosen: Chosen, why: &'static str, locked: String) -> Result<Decision, Error> {
        self.remove_what_is_not_in_the_key()?;
        let Chosen { stored, note, .. } = chosen;
        let conditional = note.can_be_validated();
        let (etag, last_modified) = (note.etag.clone(), note.last_modified_text.clone());
        let task = Task::Validate(Box::new(Stale { id: stored.id, conditional, note, wanted: self.wanted }));
        let remembered = remember(self.request, &Memo { task, key: self.key, locked, why })?;
        if conditional && remembered {
            // What the client has is compared with what comes of it.
            set_or_remove(self.request, "if-none-match", &etag)?;
            set_or_remove(self.request, "if-modified-since", &last_modified)?;
        }
        Ok(Decision::Next)
    }

    /// So that it cannot change the response that is stored under the key.
    fn remove_what_is_not_in_the_key(&self) -> Result<(), Error> {
        Ok(self.target.as_ref().map_or(Ok(()), |target| self.request.set_path_with_query(target))?)
    }

    /// RFC 9111 §5.2.1.7.
    fn not_cached(&self) -> Decision {
        status::note(self.request, self.route, "not-cached");
        let problem = plugin_sdk::Problem::new(504).detail("nothing is kept that would answer the request");
        problem.member("request-id", self.request.id()).into()
    }
}

pub(crate) fn ttl(note: &Note, age: u32) -> i64 {
    i64::from(note.lifetime) - i64::from(age)
}

pub(crate) fn millis_now() -> u64 {
    u64::try_from(plugin_sdk::clock::since_epoch().as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn joined(values: &[Vec<u8>]) -> String {
    let texts: Vec<_> = values.iter().filter_map(|value| std::str::from_utf8(value).ok()).collect();
    texts.join(",")
}

/// False if it is too much, by what the client has sent: then the response passes as if there were no cache.
fn remember(request: &Request, memo: &Memo) -> Result<bool, Error> {
    match cache::remember(request, &memo.write()) {
        Ok(()) => Ok(true),
        Err(CacheError::TooLarge) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn set_or_remove(request: &Request, name: &str, value: &[u8]) -> Result<(), Error> {
    if value.is_empty() {
        request.remove_header(name)?
    } else {
        request.set_header(name, value)?
    }
    Ok(())
}
