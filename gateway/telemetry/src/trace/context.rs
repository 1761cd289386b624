//! `traceparent` (W3C Trace Context, Level 1, §3.2): which trace a request belongs to.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longer ones are not kept with spans; §3.3.1.5 asks for 512 at least to be passed on, and all of it is.
const STATE_BYTES: usize = 512;
const SAMPLED: u8 = 1;
/// `00-{32}-{16}-{2}`.
const LENGTH: usize = 55;

/// A span somewhere else, in whose trace we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) sampled: bool,
}

impl Context {
    /// What the request says; none if it says nothing, or not clearly.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let parent = lines.next()?;
        if lines.next().is_some() { None } else { Self::parse(parent.as_bytes()) }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let [a, b, b'-', known @ ..] = known else { return None };
        let version = hex(&[*a, *b])?;
        // A later version may have more behind another dash, and means the same by what comes first (§3.2.4).
        let is_version = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|octet| *octet == b'-'),
        };
        let (trace, known) = known.split_at(32);
        let [b'-', known @ ..] = known else { return None };
        let (span, known) = known.split_at(16);
        let [b'-', flags @ ..] = known else { return None };
        let (trace, span, flags) = (hex(trace)?, hex(span)?, hex(flags)?);
        let is_valid = is_version && trace != 0 && span != 0;
        is_valid.then_some(Self { trace, span: span as u64, sampled: flags as u8 & SAMPLED != 0 })
    }

    pub(super) fn header(self) -> HeaderValue {
        let flags = u8::from(self.sampled);
        let text = format!("00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span);
        HeaderValue::from_maybe_shared(Bytes::from(text)).expect("hexadecimal digits and dashes are a field value")
    }
}

/// What vendors say of the trace, as one line (§3.3).
pub(super) fn state(headers: &HeaderMap) -> Option<String> {
    let lines: Option<Vec<&str>> = headers.get_all(TRACESTATE).iter().map(|line| line.to_str().ok()).collect();
    let state = lines?.join(",");
    (!state.is_empty() && state.len() <= STATE_BYTES).then_some(state)
}

/// Digits and letters in lower case, as §3.2.2 wants them.
fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number: u128, octet| {
        let digit = match octet {
            b'0'..=b'9' => octet - b'0',
            b'a'..=b'f' => octet - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

    #[test]
    fn the_standards_own_example_is_read_and_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = Context { trace: TRACE, span: SPAN, sampled: true };
        assert_eq!(Context::parse(text.as_bytes()), Some(context));
        assert_eq!(context.header(), text);
        let without = Context { sampled: false, ..context };
        assert_eq!(Context::parse(without.header().as_bytes()), Some(without));
    }

    #[test]
    fn flags_that_are_not_known_are_not_looked_at() {
        let parse = |text: &str| Context::parse(text.as_bytes()).unwrap().sampled;
        assert!(parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03"));
        assert!(!parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe"));
    }

    #[test]
    fn a_later_version_may_say_more() {
        let parse = |text: &str| Context::parse(text.as_bytes());
        assert!(parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is_some());
        assert!(parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-will-be").is_some());
        assert!(parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what").is_none());
        assert!(parse("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is_none());
    }

    #[test]
    fn what_is_not_clear_is_none() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Context::parse(text.as_bytes()), None, "{text}");
        }
        let mut headers = HeaderMap::new();
        let parent = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        headers.append(TRACEPARENT, parent.clone());
        assert!(Context::of(&headers).is_some());
        headers.append(TRACEPARENT, parent);
        assert!(Context::of(&headers).is_none());
    }

    #[test]
    fn lines_of_the_state_are_one_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(state(&headers), None);
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        assert_eq!(state(&headers).as_deref(), Some("a=1,b=2"));
    }
}
