//! Responses as Redis keeps them, and what of them was purged.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::super::responses::{Purge, Stored};

/// The form below. What another version wrote is as if it were not there.
const VERSION: u8 = 1;
/// Purges that are remembered. Responses stored before the oldest of them are invalid.
pub(super) const REMEMBERED: usize = 1000;

/// Writes a response; the time is that of this machine, which need not be that of the next reader's by more than caches
/// forgive anyway.
pub(super) fn write(stored: &Stored) -> Vec<u8> {
    let left = stored.until.saturating_duration_since(Instant::now());
    let mut out = BytesMut::with_capacity(stored.size());
    out.put_u8(VERSION);
    out.put_u64(unix_millis().saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)));
    out.put_u16(stored.status.as_u16());
    let mut part = |bytes: &[u8]| {
        out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        out.put_slice(bytes);
    };
    part(&stored.note);
    part(&stored.variant);
    part(stored.tags.iter().map(|tag| &**tag).collect::<Vec<_>>().join("\n").as_bytes());
    part(&stored.headers.len().to_be_bytes());
    for (name, value) in &stored.headers {
        part(name.as_str().as_bytes());
        part(value.as_bytes());
    }
    part(&stored.body);
    out.into()
}

/// Reads what was written, if it is still of use.
pub(super) fn read(mut bytes: Bytes) -> Option<Stored> {
    if bytes.len() < 11 || bytes.get_u8() != VERSION {
        return None;
    }
    let until = bytes.get_u64();
    let left = until.checked_sub(unix_millis()).filter(|left| *left > 0)?;
    let status = StatusCode::from_u16(bytes.get_u16()).ok()?;
    let mut part = || {
        let length = usize::try_from((bytes.remaining() >= 4).then(|| bytes.get_u32())?).ok()?;
        (length <= bytes.len()).then(|| bytes.split_to(length))
    };
    let (note, variant, tags) = (part()?, part()?, part()?);
    let count = usize::from_be_bytes(part()?[..].try_into().ok()?);
    let mut headers = HeaderMap::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(&part()?).ok()?;
        headers.try_append(name, HeaderValue::from_maybe_shared(part()?).ok()?).ok()?;
    }
    let body = part()?;
    let tags = std::str::from_utf8(&tags).ok()?.split('\n').filter(|tag| !tag.is_empty()).map(Box::from).collect();
    let until = Instant::now().checked_add(Duration::from_millis(left))?;
    Some(Stored { status, headers, body, note, variant: variant[..].into(), tags, until, invalidations: 0 })
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A purge as it is written down for other gateways: bucket, kind and what, with zeros between them.
pub(super) fn order(bucket: &str, what: &Purge<'_>) -> String {
    let (kind, text) = match what {
        Purge::Key(key) => ('k', *key),
        Purge::Prefix(prefix) => ('p', *prefix),
        Purge::Tag(tag) => ('t', *tag),
        Purge::All => ('a', ""),
    };
    format!("{bucket}\0{kind}\0{text}")
}

fn parsed(order: &str) -> Option<(&str, Purge<'_>)> {
    let mut parts = order.splitn(3, '\0');
    let (bucket, kind, text) = (parts.next()?, parts.next()?, parts.next()?);
    Some((
        bucket,
        match kind {
            "k" => Purge::Key(text),
            "p" => Purge::Prefix(text),
            "t" => Purge::Tag(text),
            "a" => Purge::All,
            _ => return None,
        },
    ))
}

/// The purges that this gateway knows of.
#[derive(Default)]
pub(super) struct Purges(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Of how many it knows; they are counted by the server.
    seen: i64,
    /// With the server's time, in milliseconds.
    orders: VecDeque<(i64, String)>,
    /// Responses stored before are invalid.
    floor: i64,
}

impl Purges {
    pub(super) fn seen(&self) -> i64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).seen
    }

    /// Takes over the purges up to the one of that number, the last first; what they are applied to is the caller's.
    pub(super) fn learn(&self, count: i64, latest: &[(i64, String)], mut apply: impl FnMut(&str, &Purge<'_>)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = count.saturating_sub(known.seen);
        if new < 0 || usize::try_from(new).is_ok_and(|new| new > latest.len()) {
            // The server has forgotten some, or all: everything may have been purged.
            known.floor = latest.first().map_or(known.floor, |(at, _)| *at);
            known.orders.clear();
        }
        known.seen = count;
        let skip = latest.len().saturating_sub(usize::try_from(new.max(0)).unwrap_or(usize::MAX));
        for (at, order) in latest.iter().skip(if new < 0 { 0 } else { skip }) {
            if let Some((bucket, what)) = parsed(order) {
                apply(bucket, &what);
            }
            known.orders.push_back((*at, order.clone()));
            if known.orders.len() > REMEMBERED
                && let Some((at, _)) = known.orders.pop_front()
            {
                known.floor = at;
            }
        }
    }

    /// Whether a response that was kept at that time has been purged since.
    pub(super) fn has(&self, at: i64, bucket: &str, key: &str, stored: &Stored) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at <= known.floor
            || known.orders.iter().any(|(purged, order)| {
                at <= *purged && parsed(order).is_some_and(|(of, what)| of == bucket && what.takes(key, &stored.tags))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        let mut headers = HeaderMap::new();
        headers.append("x-own", HeaderValue::from_static("1"));
        headers.append("x-own", HeaderValue::from_bytes(b"\xff").unwrap());
        Stored {
            status: StatusCode::NOT_FOUND,
            headers,
            body: Bytes::from_static(b"body\0"),
            note: Bytes::from_static(b"note"),
            variant: b"gzip"[..].into(),
            tags: ["a".into(), "b".into()].into(),
            until: Instant::now() + Duration::from_secs(60),
            invalidations: 0,
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let written = write(&stored());
        let read_again = read(written.clone().into()).unwrap();
        let expected = stored();
        assert_eq!((read_again.status, &read_again.headers), (expected.status, &expected.headers));
        assert_eq!((&read_again.body, &read_again.note), (&expected.body, &expected.note));
        assert_eq!((&read_again.variant, &read_again.tags), (&expected.variant, &expected.tags));
        let left = read_again.until - Instant::now();
        assert!(left > Duration::from_secs(55) && left <= Duration::from_secs(60), "{left:?}");
        for cut in 0..written.len() {
            assert!(read(Bytes::copy_from_slice(&written[..cut])).is_none(), "{cut}");
        }
        for at in 0..written.len() {
            let mut damaged = written.clone();
            damaged[at] ^= 0xff;
            // Whatever it is taken for, it is no reason to fall over.
            let _ = read(damaged.into());
        }
        assert!(read(write(&Stored { until: Instant::now(), ..expected }).into()).is_none());
    }

    #[test]
    fn a_purge_is_known_for_what_was_kept_before_it() {
        let purges = Purges::default();
        let mut applied = Vec::new();
        let orders = [(10, order("b", &Purge::Prefix("/a"))), (20, order("b", &Purge::Tag("b")))];
        purges.learn(2, &orders, |bucket, what| applied.push(format!("{bucket} {what:?}")));
        assert_eq!(applied, ["b Prefix(\"/a\")", "b Tag(\"b\")"]);
        let untagged = Stored { tags: [].into(), ..stored() };
        assert!(purges.has(10, "b", "/a/b", &untagged));
        assert!(!purges.has(11, "b", "/a/b", &untagged));
        assert!(!purges.has(10, "c", "/a/b", &untagged));
        assert!(!purges.has(10, "b", "/c", &untagged));
        assert!(purges.has(20, "b", "/c", &stored()));
        purges.learn(3, &[orders[1].clone(), (30, order("b", &Purge::All))], |_, _| {});
        assert!(purges.has(25, "b", "/c", &untagged));
        assert_eq!(purges.seen(), 3);
    }

    #[test]
    fn what_nobody_remembers_may_have_been_everything() {
        let purges = Purges::default();
        let latest = [(500, order("b", &Purge::Key("/a")))];
        purges.learn(7000, &latest, |_, _| {});
        assert!(purges.has(499, "other", "/c", &stored()));
        assert!(!purges.has(501, "other", "/c", &stored()));
        for i in 0..2000 {
            purges.learn(7001 + i, &[(1000 + i, order("b", &Purge::Key("/a")))], |_, _| {});
        }
        assert!(purges.has(1500, "other", "/c", &stored()));
        assert!(!purges.has(2990, "other", "/c", &stored()));
    }
}
