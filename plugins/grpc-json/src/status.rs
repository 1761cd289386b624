//! How a call ended, as gRPC says it and as HTTP does.

use base64ct::{Base64Unpadded, Encoding};
use percent_encoding::percent_decode;
use plugin_sdk::Problem;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

/// The status of a call (grpc/doc/statuscodes.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u32,
    pub(crate) message: String,
    /// `google.rpc.Status`, as it was sent.
    details: Option<Vec<u8>>,
}

/// google/rpc/status.proto
#[derive(Clone, PartialEq, Message)]
struct Rich {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

const INTERNAL: u32 = 13;
const UNKNOWN: u32 = 2;

/// Name and HTTP status of each code (google/rpc/code.proto).
const CODES: [(&str, u16); 17] = [
    ("OK", 200),
    ("CANCELLED", 499),
    ("UNKNOWN", 500),
    ("INVALID_ARGUMENT", 400),
    ("DEADLINE_EXCEEDED", 504),
    ("NOT_FOUND", 404),
    ("ALREADY_EXISTS", 409),
    ("PERMISSION_DENIED", 403),
    ("RESOURCE_EXHAUSTED", 429),
    ("FAILED_PRECONDITION", 400),
    ("ABORTED", 409),
    ("OUT_OF_RANGE", 400),
    ("UNIMPLEMENTED", 501),
    ("INTERNAL", 500),
    ("UNAVAILABLE", 503),
    ("DATA_LOSS", 500),
    ("UNAUTHENTICATED", 401),
];

impl Status {
    /// Of trailers, or of a head without messages; `None` if there is none.
    pub(crate) fn of<'a>(code: Option<&'a [u8]>, message: Option<&'a [u8]>, details: Option<&'a [u8]>) -> Option<Self> {
        let code = std::str::from_utf8(code?).ok().and_then(|code| code.trim().parse().ok()).unwrap_or(UNKNOWN);
        let message = message.map(|message| percent_decode(message).decode_utf8_lossy().into_owned());
        let details = details.and_then(|details| {
            let text = std::str::from_utf8(details).ok()?.trim_end_matches('=');
            Base64Unpadded::decode_vec(text).ok()
        });
        Some(Self { code, message: message.unwrap_or_default(), details })
    }

    pub(crate) fn of_fields(fields: &[(String, Vec<u8>)]) -> Option<Self> {
        let get = |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice());
        Self::of(get("grpc-status"), get("grpc-message"), get("grpc-status-details-bin"))
    }

    /// The service did not keep to the protocol.
    pub(crate) fn internal(message: &str) -> Self {
        Self { code: INTERNAL, message: message.to_owned(), details: None }
    }

    fn entry(&self) -> (&'static str, u16) {
        CODES.get(self.code as usize).copied().unwrap_or(CODES[UNKNOWN as usize])
    }

    pub(crate) fn http(&self) -> u16 {
        self.entry().1
    }

    /// RFC 9457, with the code's name and the details as members.
    pub(crate) fn problem(&self, pool: &DescriptorPool, options: &SerializeOptions) -> Problem {
        let (name, http) = self.entry();
        let mut problem = Problem::new(http);
        if http == 499 {
            problem = problem.title("Client Closed Request");
        }
        if !self.message.is_empty() {
            problem = problem.detail(&self.message);
        }
        problem = problem.member("code", name);
        let rich = self.details.as_deref().and_then(|details| Rich::decode(details).ok()).unwrap_or_default();
        if !rich.details.is_empty() {
            let details: Vec<_> = rich.details.iter().map(|any| any.json(pool, options)).collect();
            problem = problem.member("details", details);
        }
        problem
    }
}

impl Any {
    /// As the JSON mapping has it; where the descriptors do not know the type, with its bytes.
    fn json(&self, pool: &DescriptorPool, options: &SerializeOptions) -> Value {
        let known = || {
            let name = self.type_url.rsplit('/').next()?;
            let message = DynamicMessage::decode(pool.get_message_by_name(name)?, &self.value[..]).ok()?;
            let value = message.serialize_with_options(serde_json::value::Serializer, options).ok()?;
            Some(match value {
                Value::Object(mut members) => {
                    members.insert("@type".to_owned(), self.type_url.clone().into());
                    Value::Object(members)
                }
                value => json!({ "@type": self.type_url, "value": value }),
            })
        };
        known()
            .unwrap_or_else(|| json!({ "@type": self.type_url, "value": base64ct::Base64::encode_string(&self.value) }))
    }
}
