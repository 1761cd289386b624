//! For whom responses are stored, and to whom they are given. The rule is here and in the functions of `host::cache`, and not in
//! plugins, so that no plugin that stores responses can give one client what is another's.

use gateway_pipeline::{Exchange, TraitSource, UnknownCaller};
use gateway_rules::identity::Encoder;
use gateway_state::ConsumerId;
use http::{HeaderMap, header::CACHE_CONTROL};

use crate::identity::sha256;

/// Whose responses an exchange may see and store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Audience {
    /// `None` for a client that is not identified.
    pub(crate) consumer: Option<ConsumerId>,
    /// The same by what others than the stage at hand have found out.
    identified: Option<ConsumerId>,
    /// The consumer can use shared responses, and its responses are shared if they allow it.
    pub(crate) shares: bool,
}

impl Audience {
    /// Of the client of this exchange, as far as it is known now.
    pub(crate) fn of(exchange: &Exchange) -> Result<Self, UnknownCaller> {
        let consumer = identify(exchange, |_| true)?;
        let identified = if consumer.is_some() { identified_by_others(exchange)? } else { None };
        let shares = consumer.is_none() || exchange.shares_between_consumers();
        Ok(Self { consumer, identified, shares })
    }

    /// Whose a response with these fields is, where it is stored.
    ///
    /// # Errors
    ///
    /// Nobody's: a later stage has found out more about the client, so the request was not the one that was
    /// looked for. What is stored under an anonymous client's key must not be a response to a particular
    /// client.
    pub(crate) fn owner(&self, exchange: &Exchange, headers: &HeaderMap) -> Result<Option<ConsumerId>, UnknownCaller> {
        if identified_by_others(exchange)? != self.identified {
            return Err(UnknownCaller);
        }
        Ok(self.consumer.filter(|_| !(self.shares && allows_sharing(headers))))
    }
}

/// Who has been identified, but for what this stage has set itself, and for headers: these may mean anything.
fn identified_by_others(exchange: &Exchange) -> Result<Option<ConsumerId>, UnknownCaller> {
    let own = TraitSource::Stage(exchange.stage);
    identify(exchange, |source| source != TraitSource::Header && source != own)
}

fn identify(exchange: &Exchange, counts: impl Fn(TraitSource) -> bool) -> Result<Option<ConsumerId>, UnknownCaller> {
    let mut found = exchange.traits()?.filter(|found| counts(found.source)).peekable();
    if found.peek().is_none() {
        return Ok(None);
    }
    // Shared by gateways: the responses of a consumer lie under it in Redis.
    let digest = sha256(|sink| {
        let mut to = Encoder::new("consumer/1", sink);
        found.for_each(|found| _ = to.text(found.name).bytes(found.value));
    });
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    Ok(Some(ConsumerId(id)))
}

/// Whether a response to an identified client says that others may have it too (RFC 9111 §3.5).
fn allows_sharing(headers: &HeaderMap) -> bool {
    let (mut allows, mut forbids) = (false, false);
    for directive in headers.get_all(CACHE_CONTROL).iter().flat_map(|line| Directives(line.as_bytes())) {
        let equals = directive.iter().position(|byte| *byte == b'=');
        let name = directive[..equals.unwrap_or(directive.len())].trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        allows |= if equals.is_some() { is("s-maxage") } else { is("public") || is("must-revalidate") };
        forbids |= equals.is_none() && (is("private") || is("no-store"));
    }
    allows && !forbids
}

/// The members of a list whose values may be quoted, with commas in them.
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = self.0.iter().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        });
        let (member, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, &[][..]),
        };
        self.0 = rest;
        Some(member.trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::*;
    use crate::tests::slot;

    #[test]
    fn only_a_response_that_says_so_is_shared() {
        let allows = |text: &'static str| {
            allows_sharing(&HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(text))]))
        };
        for text in ["public", "max-age=5, Public", "s-maxage=5", "max-age=1,must-revalidate", "a=\"b, c\", public"] {
            assert!(allows(text), "{text}");
        }
        for text in [
            "",
            "max-age=5",
            "publicly",
            "a=\"b, public\"",
            "s-maxage",
            "max-age=\"public",
            "x-public=1",
            "public, private",
        ] {
            assert!(!allows(text), "{text}");
        }
    }

    #[test]
    fn whatever_a_stage_that_is_not_ours_says_may_identify_the_client() {
        let id = |edit: &dyn Fn(&mut Exchange)| {
            let mut slot = slot();
            slot.stage = 1;
            edit(&mut slot);
            slot.stage = 2;
            (Audience::of(&slot).unwrap().consumer, identified_by_others(&slot).unwrap())
        };
        assert_eq!(id(&|_| {}), (None, None));
        assert_eq!(id(&|exchange| exchange.set_attribute("rate-limit.remaining", "5").unwrap()), (None, None));
        let anna = id(&|exchange| exchange.set_attribute("jwt.sub", "anna").unwrap());
        let ben = id(&|exchange| exchange.set_attribute("jwt.sub", "ben").unwrap());
        assert!(anna.0.is_some() && anna.0 == anna.1 && anna != ben);
        let foreign = |exchange: &mut Exchange| exchange.foreign_stage = true;
        let plan = id(&|exchange| {
            foreign(exchange);
            exchange.set_attribute("plan", "gold").unwrap();
        });
        assert!(plan.0.is_some() && plan.0 == plan.1);
        let header = id(&|exchange| {
            foreign(exchange);
            exchange.set_request_header("x-user", b"anna").unwrap();
        });
        assert!(header.0.is_some() && header.1.is_none());
        let number = id(&|exchange| {
            foreign(exchange);
            exchange.set_request_header("traceparent", b"1").unwrap();
        });
        assert_eq!(number, (None, None));
        assert_eq!(id(&|exchange| exchange.set_request_header("x-user", b"anna").unwrap()), (None, None));
    }

    #[test]
    fn what_the_client_sent_counts_whatever_became_of_it() {
        let with = |value: &'static str| {
            let mut slot = slot();
            slot.request.headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            let headers = slot.request.headers.clone();
            slot.caller.remember(&headers);
            slot.set_request_header("authorization", b"Basic of-the-gateway").unwrap();
            Audience::of(&slot).unwrap()
        };
        assert_ne!(with("Bearer a").consumer, with("Bearer b").consumer);
        assert_eq!(with("Bearer a"), with("Bearer a"));
        assert!(!with("Bearer a").shares);
    }

    #[test]
    fn a_stage_shares_what_it_said_itself_that_it_does() {
        let mut slot = slot();
        slot.stage = 1;
        slot.set_attribute("jwt.sub", "anna").unwrap();
        slot.set_attribute("cache.consumers", "share").unwrap();
        let audience = Audience::of(&slot).unwrap();
        assert!(audience.shares);
        slot.stage = 2;
        let other = Audience::of(&slot).unwrap();
        assert_eq!((other.shares, other.consumer), (false, audience.consumer));
    }

    #[test]
    fn where_a_stage_was_skipped_nobody_knows_who_asks() {
        let mut slot = slot();
        slot.skipped.push(0);
        assert_eq!(Audience::of(&slot), Err(UnknownCaller));
    }
}
