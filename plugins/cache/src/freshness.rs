//! What may be kept (RFC 9111 §3), and for how long it is fresh (§4.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    directives::{Allowed, FOREVER, seconds},
    note::Note,
    vary::Vary,
};

/// A response, as far as it matters.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) cache_control: Option<String>,
    pub(crate) pragma: Option<String>,
    pub(crate) expires: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) age: Option<String>,
    pub(crate) last_modified: Option<Vec<u8>>,
    pub(crate) etag: Option<Vec<u8>>,
    pub(crate) vary: Vec<Vec<u8>>,
    pub(crate) sets_cookie: bool,
    /// The request had cookies that are not in the key.
    pub(crate) asked_with_cookie: bool,
}

impl Head {
    /// Whether it says that it is for one client alone.
    pub(crate) fn is_somebodys(&self) -> bool {
        let allowed = Allowed::read(self.cache_control.as_deref().unwrap_or_default());
        self.sets_cookie || allowed.private || allowed.no_store
    }
}

/// What the operator adds to what upstreams say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    /// For responses that say nothing, seconds.
    pub(crate) lifetime: Option<u32>,
    /// Status codes of such responses.
    pub(crate) statuses: Vec<u16>,
    /// Of the time since the last change, as a share.
    pub(crate) heuristic: f64,
    pub(crate) while_revalidate: u32,
    pub(crate) if_error: u32,
}

/// Why a response is not kept, as `detail` of `Cache-Status` says it.
pub(crate) type Refusal = &'static str;

/// Status codes that may be kept without a word about it (RFC 9110 §15.1), without those of parts.
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
/// Those that this cache understands, beside them.
const UNDERSTOOD: [u16; 9] = [302, 303, 307, 400, 403, 500, 502, 503, 504];
/// A guess is never longer.
const LONGEST_GUESS: u32 = 24 * 3600;

/// What is written down about a response that may be kept, and the names of its fields that may not.
pub(crate) fn judge(
    head: &Head,
    arrived: u64,
    defaults: &Defaults,
    values: impl FnMut(&str) -> Vec<Vec<u8>>,
) -> Result<(Note, Vec<String>), Refusal> {
    let allowed = Allowed::read(head.cache_control.as_deref().unwrap_or_default());
    let understood = HEURISTIC.contains(&head.status) || UNDERSTOOD.contains(&head.status);
    if matches!(head.status, 206 | 304) {
        return Err("partial");
    }
    // RFC 9111 §5.2.2.3: `must-understand` takes the place of a `no-store` beside it.
    if allowed.must_understand && !understood {
        return Err("not-understood");
    }
    if allowed.no_store && !allowed.must_understand {
        return Err("no-store");
    }
    if allowed.private {
        return Err("private");
    }
    if head.sets_cookie && !allowed.without.iter().any(|name| name == "set-cookie") {
        return Err("set-cookie");
    }
    let vary = Vary::of(&head.vary, values).ok_or("vary")?;
    let date = head.date.as_deref().and_then(time).unwrap_or(arrived / 1000);
    let last_modified = head.last_modified.as_deref().and_then(|text| time(std::str::from_utf8(text).ok()?));
    // What any client can provoke, such as a 404, is not given to others for longer than the upstream says.
    let is_listed = defaults.statuses.contains(&head.status);
    let explicit = explicit(head, &allowed, date);
    let lifetime = match explicit {
        Some(lifetime) => lifetime,
        // Who sends a cookie may have got an answer of its own, which the upstream has not thought of as kept.
        None if head.asked_with_cookie => return Err("cookie"),
        None if HEURISTIC.contains(&head.status) || allowed.public || is_listed => {
            let guessed = guess(last_modified, date, defaults.heuristic);
            guessed.or(defaults.lifetime.filter(|_| is_listed)).unwrap_or(0)
        }
        None => return Err("status"),
    };
    let stale_default = |seconds: u32| if explicit.is_some() || is_listed { seconds } else { 0 };
    // RFC 9111 §5.4: only for those that say nothing better.
    let pragma = head.cache_control.is_none() && head.pragma.as_deref().is_some_and(|text| text.contains("no-cache"));
    let note = Note {
        arrived,
        initial_age: initial_age(head.age.as_deref(), date, arrived / 1000),
        lifetime,
        while_revalidate: allowed.stale_while_revalidate.unwrap_or(stale_default(defaults.while_revalidate)),
        if_error: allowed.stale_if_error.unwrap_or(stale_default(defaults.if_error)),
        no_cache: allowed.no_cache || pragma,
        // RFC 9111 §5.2.2.10: `s-maxage` means it for shared caches.
        must_revalidate: allowed.must_revalidate || allowed.s_maxage.is_some(),
        last_modified: last_modified.unwrap_or(0),
        last_modified_text: head.last_modified.clone().filter(|_| last_modified.is_some()).unwrap_or_default(),
        etag: head.etag.clone().unwrap_or_default(),
        vary,
    };
    let is_fresh = note.lifetime > note.initial_age && !note.no_cache;
    let is_useful_stale = !note.must_revalidate && !note.no_cache && note.while_revalidate.max(note.if_error) > 0;
    if !is_fresh && !note.can_be_validated() && !is_useful_stale {
        return Err("not-fresh");
    }
    Ok((note, allowed.without))
}

/// RFC 9111 §4.2.1.
fn explicit(head: &Head, allowed: &Allowed, date: u64) -> Option<u32> {
    if let Some(seconds) = allowed.s_maxage.or(allowed.max_age) {
        return Some(seconds);
    }
    let expires = head.expires.as_deref()?;
    // What is no date is in the past (RFC 9111 §5.3).
    let lifetime = time(expires).map_or(0, |expires| expires.saturating_sub(date));
    Some(u32::try_from(lifetime).unwrap_or(FOREVER).min(FOREVER))
}

/// RFC 9111 §4.2.2.
fn guess(last_modified: Option<u64>, date: u64, heuristic: f64) -> Option<u32> {
    let since = date.saturating_sub(last_modified.filter(|_| heuristic > 0.0)?);
    Some(u32::try_from((since as f64 * heuristic) as u64).unwrap_or(u32::MAX).min(LONGEST_GUESS))
}

/// RFC 9111 §4.2.3, both in seconds since the Unix epoch.
fn initial_age(age: Option<&str>, date: u64, arrived: u64) -> u32 {
    // Of several, the first; what is no number says that it is old (§5.1).
    let said = age.map_or(0, |text| {
        let first = text.split(',').next().unwrap_or_default().trim();
        let is_number = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
        if is_number { seconds(first) } else { FOREVER }
    });
    let apparent = u32::try_from(arrived.saturating_sub(date)).unwrap_or(FOREVER);
    said.max(apparent)
}

/// How long a response is worth its memory: while it is fresh, or may be given stale, or can be validated.
pub(crate) fn worth(note: &Note, validated_for: u32) -> Duration {
    let fresh = u64::from(note.lifetime.saturating_sub(note.initial_age));
    let stale = if note.must_revalidate || note.no_cache { 0 } else { note.while_revalidate.max(note.if_error) };
    let validated = if note.can_be_validated() { validated_for } else { 0 };
    Duration::from_secs(fresh + u64::from(stale.max(validated)))
}

/// A date of HTTP, in seconds since the Unix epoch.
pub(crate) fn time(text: &str) -> Option<u64> {
    let time: SystemTime = httpdate::parse_http_date(text.trim()).ok()?;
    Some(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_600; // 2026-01-01T00:00:00Z

    fn at(seconds: u64) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn ok(cache_control: &str) -> Head {
        Head { status: 200, cache_control: Some(cache_control.to_owned()), ..Head::default() }
    }

    fn judged(head: &Head) -> Result<Note, Refusal> {
        judge(head, NOW * 1000, &Defaults::default(), |_| Vec::new()).map(|(note, _)| note)
    }

    #[test]
    fn shared_caches_have_their_own_age() {
        assert_eq!(judged(&ok("max-age=1, s-maxage=60")).unwrap().lifetime, 60);
        assert_eq!(judged(&ok("max-age=60")).unwrap().lifetime, 60);
        let head = Head { expires: Some(at(NOW + 90)), date: Some(at(NOW)), ..ok("") };
        assert_eq!(judged(&head).unwrap().lifetime, 90);
        assert_eq!(judged(&Head { cache_control: Some("max-age=5".into()), ..head }).unwrap().lifetime, 5);
    }

    #[test]
    fn nothing_private_is_kept() {
        assert_eq!(judged(&ok("private, max-age=60")), Err("private"));
        assert_eq!(judged(&ok("no-store, max-age=60")), Err("no-store"));
        assert_eq!(judged(&Head { sets_cookie: true, ..ok("max-age=60") }), Err("set-cookie"));
        assert_eq!(judged(&Head { vary: vec![b"*".to_vec()], ..ok("max-age=60") }), Err("vary"));
    }

    #[test]
    fn what_is_not_fresh_is_kept_only_if_it_can_be_validated() {
        assert_eq!(judged(&ok("max-age=0")), Err("not-fresh"));
        assert!(judged(&Head { etag: Some(b"\"a\"".to_vec()), ..ok("max-age=0") }).is_ok());
        assert!(judged(&Head { last_modified: Some(at(NOW).into()), ..ok("no-cache") }).unwrap().no_cache);
        assert_eq!(judged(&Head { last_modified: Some(b"yesterday".to_vec()), ..ok("no-cache") }), Err("not-fresh"));
        assert!(judged(&ok("max-age=0, stale-if-error=60")).is_ok());
    }

    #[test]
    fn unknown_codes_need_a_word() {
        let of = |status, cache_control: &str| judged(&Head { status, ..ok(cache_control) }).map(|note| note.lifetime);
        assert_eq!(of(500, ""), Err("status"));
        assert_eq!(of(500, "max-age=5"), Ok(5));
        assert_eq!(of(206, "max-age=5"), Err("partial"));
        assert_eq!(of(599, "max-age=5, must-understand"), Err("not-understood"));
        assert_eq!(of(200, "max-age=5, must-understand, no-store"), Ok(5));
    }

    #[test]
    fn guesses_are_the_operators() {
        let head = Head { last_modified: Some(at(NOW - 1000).into()), date: Some(at(NOW)), ..ok("") };
        assert_eq!(judged(&head).unwrap().lifetime, 0);
        let guessed = |defaults| judge(&head, NOW * 1000, &defaults, |_| Vec::new()).unwrap().0.lifetime;
        assert_eq!(guessed(Defaults { heuristic: 0.1, ..Defaults::default() }), 100);
        assert_eq!(guessed(Defaults { lifetime: Some(7), statuses: vec![200], ..Defaults::default() }), 7);
    }

    #[test]
    fn what_a_client_can_provoke_is_not_kept_without_a_word() {
        let defaults =
            Defaults { lifetime: Some(7), statuses: vec![200, 403], while_revalidate: 5, if_error: 5, heuristic: 0.0 };
        let of = |status, cache_control: &str| {
            let head = Head { status, ..ok(cache_control) };
            judge(&head, NOW * 1000, &defaults, |_| Vec::new()).map(|(note, _)| (note.lifetime, note.while_revalidate))
        };
        assert_eq!((of(200, ""), of(403, "")), (Ok((7, 5)), Ok((7, 5))));
        for status in [404, 405, 410, 414, 501] {
            assert_eq!(of(status, ""), Err("not-fresh"), "{status}");
            assert_eq!(of(status, "max-age=3"), Ok((3, 5)), "{status}");
        }
        assert_eq!(of(400, ""), Err("status"));
    }

    #[test]
    fn what_a_cookie_was_sent_for_is_kept_only_if_the_upstream_says_so() {
        let defaults = Defaults { lifetime: Some(60), statuses: vec![200], ..Defaults::default() };
        let of = |cache_control: Option<&str>| {
            let head = Head { asked_with_cookie: true, cache_control: cache_control.map(str::to_owned), ..ok("") };
            judge(&head, NOW * 1000, &defaults, |_| Vec::new()).map(|(note, _)| note.lifetime)
        };
        assert_eq!(of(None), Err("cookie"));
        assert_eq!(of(Some("public")), Err("cookie"));
        assert_eq!(of(Some("max-age=5")), Ok(5));
    }

    #[test]
    fn age_is_the_larger_of_what_is_said_and_what_is_seen() {
        let age = |age: Option<&str>, date| initial_age(age, date, NOW);
        assert_eq!(age(Some("30"), NOW - 10), 30);
        assert_eq!(age(None, NOW - 10), 10);
        assert_eq!(age(Some("0,7200"), NOW), 0);
        for old in ["abc", "-7200", "7200.0", "7200;a=b", ""] {
            assert_eq!(age(Some(old), NOW), FOREVER, "{old}");
        }
        // A clock that goes ahead makes nobody younger.
        assert_eq!(age(None, NOW + 50), 0);
    }

    #[test]
    fn an_old_cache_says_it_with_pragma() {
        let head = Head { pragma: Some("no-cache".into()), cache_control: None, etag: Some(b"\"a\"".into()), ..ok("") };
        assert!(judged(&head).unwrap().no_cache);
        assert!(!judged(&Head { cache_control: Some("max-age=5".into()), ..head }).unwrap().no_cache);
    }
}
