//! Which names and texts HTTP allows where, for what a configuration names.

/// `token` of RFC 9110 §5.6.2, which names of headers, methods and cookies are.
///
/// # Errors
///
/// What is wrong, for [`Problems`](crate::Problems).
pub fn check_token(name: &str) -> Result<(), &'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.is_empty() && name.bytes().all(legal) { Ok(()) } else { Err("has characters that the name must not have") }
}

/// A request header that a plugin may set without changing where the request goes or how it is framed.
///
/// # Errors
///
/// What is wrong, for [`Problems`](crate::Problems).
pub fn check_settable_header(name: &str) -> Result<(), &'static str> {
    const OWNED: [&str; 9] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    check_token(name)?;
    let owned = OWNED.iter().any(|owned| owned.eq_ignore_ascii_case(name));
    if owned { Err("is a header that belongs to the gateway") } else { Ok(()) }
}

/// The name of an attribute.
///
/// # Errors
///
/// What is wrong, for [`Problems`](crate::Problems).
pub fn check_attribute(name: &str) -> Result<(), &'static str> {
    let legal = !name.is_empty() && name.bytes().all(|byte| !byte.is_ascii_control() && byte != b' ');
    if legal { Ok(()) } else { Err("must have neither spaces nor control characters") }
}

/// What needs no escaping between quotation marks (RFC 9110 §5.6.4).
///
/// # Errors
///
/// What is wrong, for [`Problems`](crate::Problems).
pub fn check_quotable(text: &str) -> Result<(), &'static str> {
    let legal =
        !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
    if legal { Ok(()) } else { Err("must be printable ASCII, without quotation marks and backslashes") }
}

/// `scope-token` of RFC 6749 §3.3.
///
/// # Errors
///
/// What is wrong, for [`Problems`](crate::Problems).
pub fn check_scope(scope: &str) -> Result<(), &'static str> {
    check_quotable(scope)?;
    if scope.contains(' ') { Err("has a space, needs an entry for each scope") } else { Ok(()) }
}
