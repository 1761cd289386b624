//! The plugin's own cookies: those of a request, and those that a response sets.
//!
//! A session that is longer than a cookie may be is split: `NAME`, `NAME-1`, … A login has a cookie of its own, so that several tabs
//! can log in at a time.
//!
//! A session in cookies has one more, which is set by the login alone and names the session (`NAME-id`). A response that sets the
//! session anew, because its tokens were refreshed or a key has changed, can reach the browser after the response to a logout, which
//! has removed the cookies. That session then is of no use, because the cookie that names it is gone.

use std::collections::BTreeMap;

use plugin_sdk::{
    EditError, Request,
    cookies::{self, SetCookie},
};

/// Browsers refuse cookies of more than 4096 bytes, name and attributes included.
const MAX_VALUE: usize = 3800;
/// How many cookies a session may take.
const MAX_PARTS: usize = 5;
/// How many logins a browser may have at a time. Older ones are forgotten.
const MAX_LOGINS: usize = 5;
/// How many cookies of logins one response removes at most. A client can send as many as its headers have room for, and a reply with
/// more fields than the gateway allows would make the plugin fail. The next responses remove the others.
const MAX_REMOVALS: usize = 16;
/// Length of what a login cookie's name has of the `state`: when the login began, and 32 random bits.
const LOGIN_ID: usize = 16;

/// What the cookies are called.
pub(crate) struct Names {
    session: String,
    secure: bool,
}

/// The own cookies of a request, by name: one for each name, and names of logins in the order in which the logins began.
pub(crate) struct Jar {
    own: BTreeMap<String, String>,
}

impl Names {
    pub(crate) fn new(name: &str, secure: bool) -> Self {
        let prefix = if secure { "__Host-" } else { "" };
        Self { session: format!("{prefix}{name}"), secure }
    }

    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// The cookie that names the session of the last login.
    pub(crate) fn id(&self) -> String {
        format!("{}-id", self.session)
    }

    fn part(&self, i: usize) -> String {
        if i == 0 { self.session.clone() } else { format!("{}-{i}", self.session) }
    }

    /// The cookie of the login with this `state`; nothing if it cannot be one of ours.
    pub(crate) fn login(&self, state: &str) -> Option<String> {
        let id = state.get(..LOGIN_ID)?;
        id.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| format!("{}-login-{id}", self.session))
    }

    fn is_session(&self, name: &str) -> bool {
        (0..MAX_PARTS).any(|i| self.part(i) == name)
    }

    fn is_login(&self, name: &str) -> bool {
        let id = name.strip_prefix(&self.session).and_then(|rest| rest.strip_prefix("-login-"));
        id.is_some_and(|id| id.len() == LOGIN_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }

    fn is_own(&self, name: &[u8]) -> bool {
        name.starts_with(self.session.as_bytes())
            && std::str::from_utf8(name)
                .is_ok_and(|name| self.is_session(name) || self.is_login(name) || name == self.id())
    }

    fn set(&self, name: &str, value: &str, seconds: u64) -> String {
        SetCookie::new(name, value).max_age(seconds).secure(self.secure).to_string()
    }

    fn removal(&self, name: &str) -> String {
        SetCookie::removal(name).secure(self.secure).to_string()
    }
}

impl Jar {
    /// The own cookies of a request. Of several with the same name the first counts (RFC 6265 §5.4 sends the longer path first).
    pub(crate) fn read(names: &Names, request: &Request) -> Self {
        let lines = request.header_values("cookie");
        let pairs = lines.iter().flat_map(|line| cookies::pairs(line)).filter(|(name, _)| names.is_own(name));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut own = BTreeMap::new();
        for (name, value) in pairs {
            own.entry(text(name)).or_insert_with(|| text(value));
        }
        Self { own }
    }

    /// Takes the own cookies away from the request.
    pub(crate) fn strip(&self, names: &Names, request: &Request) -> Result<(), EditError> {
        if self.own.is_empty() {
            return Ok(());
        }
        match cookies::without(&request.header_values("cookie"), |name| names.is_own(name)) {
            Some(others) => request.set_header("cookie", others),
            None => request.remove_header("cookie"),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.own.get(name).map(String::as_str)
    }

    /// The session's value, from as many cookies as it has.
    pub(crate) fn session(&self, names: &Names) -> Option<String> {
        let (count, first) = self.get(&names.session)?.split_once('.')?;
        let count: usize = count.parse().ok().filter(|count| (1..=MAX_PARTS).contains(count))?;
        let mut value = first.to_owned();
        for i in 1..count {
            value.push_str(self.get(&names.part(i))?);
        }
        Some(value)
    }

    /// The `set-cookie` values of a session, and the removal of cookies that an earlier one had. Nothing if it is too long.
    pub(crate) fn set_session(&self, names: &Names, value: &str, seconds: u64) -> Option<Vec<String>> {
        let parts: Vec<&str> =
            (0..value.len()).step_by(MAX_VALUE).map(|at| &value[at..value.len().min(at + MAX_VALUE)]).collect();
        if parts.len() > MAX_PARTS {
            return None;
        }
        let mut set = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let first = format!("{}.{part}", parts.len());
            set.push(names.set(&names.part(i), if i == 0 { &first } else { part }, seconds));
        }
        for i in parts.len()..MAX_PARTS {
            let name = names.part(i);
            if self.get(&name).is_some() {
                set.push(names.removal(&name));
            }
        }
        Some(set)
    }

    /// The `set-cookie` value that names the session of a login.
    pub(crate) fn set_id(names: &Names, id: &str, seconds: u64) -> String {
        names.set(&names.id(), id, seconds)
    }

    /// The removal of the session's cookies, as far as the request has them.
    pub(crate) fn remove_session(&self, names: &Names) -> Vec<String> {
        let all = (0..MAX_PARTS).map(|i| names.part(i)).chain([names.id()]);
        let own = all.filter(|name| self.own.contains_key(name));
        own.map(|name| names.removal(&name)).collect()
    }

    /// The `set-cookie` values of a new login, and the removal of the oldest if there are too many, of up to [`MAX_REMOVALS`].
    pub(crate) fn set_login(&self, names: &Names, name: &str, value: &str, seconds: u64) -> Vec<String> {
        // Their names begin with the time, so the oldest is the first.
        let logins = || self.own.keys().filter(|name| names.is_login(name));
        let surplus = (logins().count() + 1).saturating_sub(MAX_LOGINS).min(MAX_REMOVALS);
        let mut set: Vec<String> = logins().take(surplus).map(|name| names.removal(name)).collect();
        set.push(names.set(name, value, seconds));
        set
    }

    /// The removal of one login.
    pub(crate) fn remove_login(names: &Names, name: &str) -> String {
        names.removal(name)
    }
}

/// How many `set-cookie` a response may get at most in the request phase.
pub(crate) const MAX_SET: usize = 2 * MAX_PARTS;

#[cfg(test)]
mod tests {
    use super::{Jar, MAX_LOGINS, MAX_PARTS, MAX_REMOVALS, MAX_VALUE, Names};

    fn jar(own: &[(&str, &str)]) -> Jar {
        Jar { own: own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect() }
    }

    #[test]
    fn a_long_session_is_split_and_read_again() {
        let names = Names::new("s", true);
        for length in [1, MAX_VALUE, MAX_VALUE + 1, MAX_VALUE * MAX_PARTS] {
            let value = "x".repeat(length - 1) + "y";
            let set = jar(&[]).set_session(&names, &value, 60).expect("it fits");
            assert!(set.iter().all(|line| line.len() < 4096 && line.starts_with("__Host-s")));
            let pairs: Vec<_> =
                set.iter().map(|line| line.split(';').next().unwrap().split_once('=').unwrap()).collect();
            assert_eq!(jar(&pairs).session(&names), Some(value));
            if pairs.len() > 1 {
                assert_eq!(jar(&pairs[..pairs.len() - 1]).session(&names), None, "a part is missing");
            }
        }
        assert_eq!(jar(&[]).set_session(&names, &"x".repeat(MAX_VALUE * MAX_PARTS + 1), 60), None);
    }

    #[test]
    fn parts_of_an_earlier_session_are_removed() {
        let names = Names::new("s", true);
        let set = jar(&[("__Host-s", "2.a"), ("__Host-s-1", "b")]).set_session(&names, "c", 60).unwrap();
        assert_eq!(set.len(), 2);
        assert!(set[1].starts_with("__Host-s-1=; Path=/; Max-Age=0; Secure"));
    }

    #[test]
    fn only_own_names_are_own() {
        let names = Names::new("s", true);
        for own in ["__Host-s", "__Host-s-1", "__Host-s-4", "__Host-s-id", "__Host-s-login-0123456789abcdef"] {
            assert!(names.is_own(own.as_bytes()), "{own}");
        }
        for other in ["s", "__Host-s-5", "__Host-s-", "__Host-s-login-", "__Host-s-login-0123456789abcdeg", "__Host-s2"]
        {
            assert!(!names.is_own(other.as_bytes()), "{other}");
        }
        assert_eq!(names.login("short"), None);
        assert_eq!(names.login("0123456789abcde\u{e9}"), None);
    }

    #[test]
    fn the_oldest_login_is_forgotten() {
        let names = Names::new("s", true);
        let logins: Vec<String> = (0..MAX_LOGINS).map(|i| format!("__Host-s-login-0000000{i}00000000")).collect();
        let own: Vec<_> = logins.iter().rev().map(|name| (name.as_str(), "x")).collect();
        let set = jar(&own).set_login(&names, "__Host-s-login-0000000900000000", "y", 600);
        assert_eq!(set.len(), 2);
        assert!(set[0].starts_with(&format!("{}=; Path=/; Max-Age=0", logins[0])));
    }

    #[test]
    fn one_response_removes_few_cookies() {
        let names = Names::new("s", true);
        let logins: Vec<String> = (0..400).map(|i| format!("__Host-s-login-{i:016x}")).collect();
        let own: Vec<_> = logins.iter().map(|name| (name.as_str(), "x")).collect();
        let set = jar(&own).set_login(&names, "__Host-s-login-0000000900000000", "y", 600);
        assert_eq!(set.len(), MAX_REMOVALS + 1);
    }
}
