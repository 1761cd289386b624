//! What services and the store do in a case, faults included.

use std::time::Duration;

use gateway_core::model::units::{HumanDuration, MINUTE, SECOND};
use serde::Deserialize;
use serde_json::Value;

use super::values::{ByteString, Content, Fields};

/// What a service answers: 200 without a body, if nothing is said. Written as a map, as a status (`503`), or as the word of a fault.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct ServiceAnswer {
    pub(super) fault: Option<ServiceFault>,
    pub(super) status: u16,
    pub(super) headers: Fields,
    body: Option<ByteString>,
    json: Option<Value>,
    /// Before the answer begins.
    pub(super) delay: Duration,
}

/// What a service does in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ServiceFault {
    /// The gateway has no such upstream.
    Unknown,
    /// Connections are refused.
    Unreachable,
    /// The connection is closed when the request has arrived.
    Closed,
    /// There is never an answer.
    Silent,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a status, `unknown`, `unreachable`, `closed`, `silent`, or a map with `status`, `headers`, `body`, `json` and `delay`"
)]
enum Written {
    Fault(ServiceFault),
    Status(u16),
    Whole(Whole),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct Whole {
    status: u16,
    headers: Fields,
    body: Option<ByteString>,
    json: Option<Value>,
    #[serde(with = "HumanDuration::<0, MINUTE>")]
    delay: Duration,
}

impl Default for Whole {
    fn default() -> Self {
        Self { status: 200, headers: Fields::default(), body: None, json: None, delay: Duration::ZERO }
    }
}

impl TryFrom<Written> for ServiceAnswer {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (fault, whole) = match written {
            Written::Fault(fault) => (Some(fault), Whole::default()),
            Written::Status(status) => (None, Whole { status, ..Whole::default() }),
            Written::Whole(whole) => (None, whole),
        };
        let Whole { status, headers, body, json, delay } = whole;
        if !(200..=599).contains(&status) {
            return Err(format!("a service answers with a status from 200 to 599, found {status}"));
        }
        Ok(Self { fault, status, headers, body, json, delay })
    }
}

impl Default for ServiceAnswer {
    fn default() -> Self {
        let Whole { status, headers, body, json, delay } = Whole::default();
        Self { fault: None, status, headers, body, json, delay }
    }
}

impl ServiceAnswer {
    pub(super) fn content(&self) -> Content {
        Content::of(self.body.as_ref(), self.json.as_ref())
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.fault == Some(ServiceFault::Unknown)
    }

    pub(super) fn is_unreachable(&self) -> bool {
        self.fault == Some(ServiceFault::Unreachable)
    }

    /// The word of a fault that cannot begin or end while the gateway runs.
    pub(super) fn needs_whole_case(&self) -> Option<&'static str> {
        match self.fault? {
            ServiceFault::Unknown => Some("unknown"),
            ServiceFault::Unreachable => Some("unreachable"),
            ServiceFault::Closed | ServiceFault::Silent => None,
        }
    }
}

/// What is wrong with the store: `unavailable`, or `{ delay: 200ms }`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(from = "WrittenFault")]
pub(super) enum StoreFault {
    /// It cannot be reached.
    Unavailable,
    /// Each answer takes this long; a second at most, since the gateway probes its store.
    Slow(Duration),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected `unavailable` or `{ delay: 200ms }`")]
enum WrittenFault {
    Word(StoreWord),
    Slow(Slow),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoreWord {
    Unavailable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Slow {
    #[serde(with = "HumanDuration::<1, SECOND>")]
    delay: Duration,
}

impl From<WrittenFault> for StoreFault {
    fn from(written: WrittenFault) -> Self {
        match written {
            WrittenFault::Word(StoreWord::Unavailable) => Self::Unavailable,
            WrittenFault::Slow(Slow { delay }) => Self::Slow(delay),
        }
    }
}
