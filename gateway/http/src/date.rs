//! What `Date` says (RFC 9110 §6.6.1), made once a second.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;

thread_local! {
    /// The second since 1970 that it is for.
    static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// For a response that begins now.
pub fn now() -> HeaderValue {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|(of, value)| {
        if *of != second {
            *of = second;
            *value = HeaderValue::try_from(httpdate::fmt_http_date(now)).expect("a date is ASCII");
        }
        value.clone()
    })
}
