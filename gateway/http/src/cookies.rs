//! HTTP/2 clients send each cookie in a field of its own, for compression. Outside of HTTP/2 there is one field, so
//! they are put together before anyone sees them (RFC 9113 §8.2.3).
//!
//! That is a copy, of fields of which HPACK may have sent a byte each (RFC 7541 §7.3): all other fields of a request share the
//! memory of the connection's table. So what a connection holds of such copies is bounded, and requests with the same
//! cookies, which is what browsers send, share one.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

/// The joined cookies that requests of one connection hold.
#[derive(Default)]
pub struct Cookies {
    last: RefCell<Weak<Joined>>,
    held: Rc<Cell<usize>>,
}

/// Joined cookies, which count until all requests that have them let go.
pub struct Joined {
    crumbs: Vec<HeaderValue>,
    cookie: HeaderValue,
    held: Rc<Cell<usize>>,
}

/// The connection holds as much as it may.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Cookies {
    /// Makes one field of all cookies; one alone stays as it is. All that are held have up to `most` bytes.
    pub fn join(&self, headers: &mut HeaderMap, most: usize) -> Result<Option<Rc<Joined>>, TooMuch> {
        let mut crumbs = headers.get_all(header::COOKIE).iter();
        if crumbs.next().is_none() || crumbs.next().is_none() {
            return Ok(None);
        }
        let crumbs = || headers.get_all(header::COOKIE).iter();
        if let Some(last) = self.last.borrow().upgrade().filter(|last| crumbs().eq(&last.crumbs)) {
            headers.insert(header::COOKIE, last.cookie.clone());
            return Ok(Some(last));
        }
        let crumbs: Vec<HeaderValue> = crumbs().cloned().collect();
        let length = crumbs.iter().map(|crumb| crumb.len() + SEPARATOR.len()).sum::<usize>();
        if self.held.get() + length > most {
            return Err(TooMuch);
        }
        let parts: Vec<&[u8]> = crumbs.iter().map(HeaderValue::as_bytes).collect();
        // What joins valid values is valid.
        let Ok(cookie) = HeaderValue::from_maybe_shared(Bytes::from(parts.join(SEPARATOR))) else { return Ok(None) };
        headers.insert(header::COOKIE, cookie.clone());
        self.held.set(self.held.get() + cookie.len());
        let joined = Rc::new(Joined { crumbs, cookie, held: self.held.clone() });
        *self.last.borrow_mut() = Rc::downgrade(&joined);
        Ok(Some(joined))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.cookie.len());
    }
}

const SEPARATOR: &[u8] = b"; ";

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(crumbs: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for crumb in crumbs {
            headers.append(header::COOKIE, HeaderValue::from_static(crumb));
        }
        headers
    }

    fn joined(crumbs: &[&'static str]) -> Vec<String> {
        let mut headers = fields(crumbs);
        Cookies::default().join(&mut headers, 100).unwrap();
        headers.get_all(header::COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn crumbs_become_one_cookie_in_their_order() {
        assert_eq!(joined(&["a=1", "b=2; c=3", "d=4"]), ["a=1; b=2; c=3; d=4"]);
    }

    #[test]
    fn one_or_none_stays_as_it_is() {
        assert_eq!(joined(&["a=1; b=2"]), ["a=1; b=2"]);
        assert!(joined(&[]).is_empty());
    }

    #[test]
    fn equal_cookies_are_held_once_and_others_up_to_the_bound() {
        let cookies = Cookies::default();
        let join = |crumbs: &[&'static str]| cookies.join(&mut fields(crumbs), 20);
        let same: Vec<_> = (0..10).map(|_| join(&["a=1", "b=2"]).unwrap()).collect();
        assert_eq!(cookies.held.get(), "a=1; b=2".len());
        let other = join(&["b=2", "a=1"]).unwrap();
        assert_eq!(join(&["c=3", "a=1"]).err(), Some(TooMuch));
        drop(other);
        assert!(join(&["c=3", "a=1"]).unwrap().is_some());
        drop(same);
        assert_eq!(cookies.held.get(), 0);
    }
}
