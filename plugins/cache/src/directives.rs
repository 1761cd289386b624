//! `Cache-Control` (RFC 9111 §5.2), as clients and upstreams send it.

/// The largest number of seconds that counts (RFC 9111 §1.2.2).
pub(crate) const FOREVER: u32 = 1 << 31;

/// What a request asks of caches.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<u32>,
    pub(crate) min_fresh: u32,
    /// How much too old a response may be; all that it is without a number.
    pub(crate) max_stale: Option<u32>,
}

/// What a response allows caches.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) no_store: bool,
    pub(crate) must_understand: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) no_cache: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) max_age: Option<u32>,
    pub(crate) s_maxage: Option<u32>,
    /// RFC 5861.
    pub(crate) stale_while_revalidate: Option<u32>,
    pub(crate) stale_if_error: Option<u32>,
    /// Fields that are not to be kept: those that `no-cache` and `private` name.
    pub(crate) without: Vec<String>,
}

impl Asked {
    pub(crate) fn read(cache_control: Option<&str>, pragma: Option<&str>) -> Self {
        let mut asked = Self::default();
        let Some(text) = cache_control else {
            // RFC 9111 §5.4: what HTTP/1.0 clients say instead.
            asked.no_cache = pragma.is_some_and(|text| members(text).any(|(name, _)| name == "no-cache"));
            return asked;
        };
        for (name, value) in members(text) {
            match name.as_str() {
                "no-store" => asked.no_store = true,
                "no-cache" => asked.no_cache = true,
                "only-if-cached" => asked.only_if_cached = true,
                "max-age" if asked.max_age.is_none() => asked.max_age = value.map(|value| seconds(&value)),
                "min-fresh" => asked.min_fresh = value.map_or(0, |value| seconds(&value)),
                "max-stale" => asked.max_stale = Some(value.map_or(FOREVER, |value| seconds(&value))),
                _ => {}
            }
        }
        asked
    }
}

impl Allowed {
    pub(crate) fn read(text: &str) -> Self {
        let mut allowed = Self::default();
        for (name, value) in members(text) {
            // RFC 9111 §4.2.1: of several, the first; what cannot be read is no time at all.
            let time = |known: &mut Option<u32>| {
                known.get_or_insert(value.as_deref().map_or(0, seconds));
            };
            match name.as_str() {
                "no-store" => allowed.no_store = true,
                "must-understand" => allowed.must_understand = true,
                "public" => allowed.public = true,
                "must-revalidate" | "proxy-revalidate" => allowed.must_revalidate = true,
                "max-age" => time(&mut allowed.max_age),
                "s-maxage" => time(&mut allowed.s_maxage),
                "stale-while-revalidate" => time(&mut allowed.stale_while_revalidate),
                "stale-if-error" => time(&mut allowed.stale_if_error),
                "private" | "no-cache" => match &value {
                    Some(fields) => allowed.without.extend(names(fields)),
                    None if name == "private" => allowed.private = true,
                    None => allowed.no_cache = true,
                },
                _ => {}
            }
        }
        allowed
    }
}

fn names(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty())
}

/// `delta-seconds`; 0 for what is none.
pub(crate) fn seconds(text: &str) -> u32 {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty();
    // What is too long for a number is a long time.
    if digits { text.parse().map_or(FOREVER, |seconds: u32| seconds.min(FOREVER)) } else { 0 }
}

/// Names in lower case, with their values, unquoted. What is not syntax at all ends the list.
pub(crate) fn members(text: &str) -> impl Iterator<Item = (String, Option<String>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return None;
            }
            let end = rest.find([',', '=', ' ', '\t', '"']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.is_empty() {
                // A stray quote or `=`: up to the next member.
                rest = after.find(',').map_or("", |comma| &after[comma..]);
                continue;
            }
            let name = name.to_ascii_lowercase();
            let Some(value) = after.strip_prefix('=') else {
                rest = after.find(',').map_or("", |comma| &after[comma..]);
                return Some((name, None));
            };
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => unquoted(quoted),
                None => {
                    let (value, after) = value.split_at(value.find(',').unwrap_or(value.len()));
                    (value.trim_end().to_owned(), after)
                }
            };
            rest = after.find(',').map_or("", |comma| &after[comma..]);
            return Some((name, Some(value)));
        }
    })
}

/// A quoted string, of which the opening quote has been read, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_in_any_case_and_order() {
        let allowed = Allowed::read("Public, S-MaxAge=60 , max-age=\"10\",stale-if-error=5");
        assert!(allowed.public);
        assert_eq!((allowed.s_maxage, allowed.max_age, allowed.stale_if_error), (Some(60), Some(10), Some(5)));
    }

    #[test]
    fn what_stands_in_quotes_is_no_directive() {
        let allowed = Allowed::read(r#"extension="max-age=3600, no-store", max-age=1, other="a\"b, no-store""#);
        assert_eq!((allowed.max_age, allowed.no_store), (Some(1), false));
    }

    #[test]
    fn fields_can_be_named() {
        let allowed = Allowed::read("private=\"X-User, set-cookie\", no-cache=\"x-time\"");
        assert_eq!(allowed.without, ["x-user", "set-cookie", "x-time"]);
        assert!(!allowed.private && !allowed.no_cache);
        assert!(Allowed::read("private").private);
    }

    #[test]
    fn of_several_times_the_first_counts_and_nonsense_is_no_time() {
        assert_eq!(Allowed::read("max-age=1, max-age=1800").max_age, Some(1));
        for nonsense in ["max-age=-1", "max-age='3600'", "max-age", "max-age=", "max-age=3600.0", "max-age= 3600"] {
            assert_eq!(Allowed::read(nonsense).max_age, Some(0), "{nonsense}");
        }
        assert_eq!(Allowed::read("max-age=99999999999").max_age, Some(FOREVER));
        assert_eq!(Allowed::read("max-age=003600").max_age, Some(3600));
    }

    #[test]
    fn requests_ask_too() {
        let asked = Asked::read(Some("max-age=0, min-fresh=5, max-stale"), Some("no-cache"));
        assert_eq!(
            (asked.max_age, asked.min_fresh, asked.max_stale, asked.no_cache),
            (Some(0), 5, Some(FOREVER), false)
        );
        assert!(Asked::read(None, Some("no-cache")).no_cache);
        assert!(Asked::read(Some("only-if-cached, no-store"), None).only_if_cached);
    }

    #[test]
    fn nothing_makes_it_fall_over() {
        for text in ["", ",,,", "=", "\"", "a=\"", "a=\"\\", "\u{e4}=\u{f6}", "=,=,\"a\"", "max-age=\"1"] {
            let _ = (Allowed::read(text), Asked::read(Some(text), Some(text)));
        }
    }
}
