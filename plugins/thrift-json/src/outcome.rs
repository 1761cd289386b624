//! From what a service says to a response.

use std::collections::{BTreeMap, HashMap};

use plugin_sdk::{Pointer, Problem, Problems, Reply, Request, log};
use serde_json::Value;
use thrift::ApplicationErrorKind;

use crate::{config::Status, schema::Schema, wire::CallOutcome};

/// The status of each exception.
pub(crate) struct Outcomes {
    by_name: HashMap<String, u16>,
    others: u16,
}

impl Outcomes {
    pub(crate) fn new(exceptions: &BTreeMap<String, Status>, schema: &Schema, problems: &mut Problems) -> Self {
        let thrown = schema.methods.iter().flat_map(|method| &method.throws);
        let thrown: Vec<_> = thrown.map(|(_, number)| &schema.structs[*number]).collect();
        let mut by_name: HashMap<String, u16> =
            thrown.iter().filter_map(|exception| Some((exception.name.clone(), exception.status?))).collect();
        for (name, status) in exceptions {
            // Without a service there are none, which has been said.
            if name != "*" && !schema.methods.is_empty() && !thrown.iter().any(|exception| exception.name == *name) {
                let mut known: Vec<_> = thrown.iter().map(|exception| exception.name.as_str()).collect();
                known.sort_unstable();
                known.dedup();
                problems.add(
                    Pointer::from("/exceptions").then(name),
                    format!("no method throws `{name}`; thrown is {}", known.join(", ")),
                );
            }
            by_name.insert(name.clone(), status.0);
        }
        let others = by_name.remove("*").unwrap_or(500);
        Self { by_name, others }
    }

    pub(crate) fn reply(&self, schema: &Schema, request: &Request, outcome: CallOutcome) -> Reply {
        match outcome {
            CallOutcome::Done(Some(json)) => Reply::new(200).with_body("application/json", json),
            CallOutcome::Done(None) => Reply::new(204),
            CallOutcome::Thrown(number, json) => {
                let name = &schema.structs[number].name;
                let status = self.by_name.get(name).copied().unwrap_or(self.others);
                let value: Value = serde_json::from_slice(&json).unwrap_or_default();
                let message = value.get("message").and_then(Value::as_str).map(str::to_owned);
                let detail = message.unwrap_or_else(|| format!("the service threw {name}"));
                let problem = Problem::new(status).detail(&detail).member("request-id", request.id());
                problem.member("exception", name.as_str()).member("value", value).into()
            }
            CallOutcome::Failed(kind, message) => {
                let kind = kind_name(kind);
                log::emit(log::Level::Warn, &format!("the service failed: {kind}: {message}"), &[]);
                let problem = Problem::new(502).detail("the service could not make the call");
                problem.member("request-id", request.id()).member("kind", kind).into()
            }
        }
    }

    pub(crate) fn malformed(&self, request: &Request, why: &str) -> Reply {
        log::emit(log::Level::Warn, &format!("the service's answer is not valid: {why}"), &[]);
        Problem::new(502).detail("the service sent an invalid answer").member("request-id", request.id()).into()
    }
}

/// As Thrift's own IDL of it has them.
fn kind_name(kind: ApplicationErrorKind) -> &'static str {
    match kind {
        ApplicationErrorKind::UnknownMethod => "UNKNOWN_METHOD",
        ApplicationErrorKind::InvalidMessageType => "INVALID_MESSAGE_TYPE",
        ApplicationErrorKind::WrongMethodName => "WRONG_METHOD_NAME",
        ApplicationErrorKind::BadSequenceId => "BAD_SEQUENCE_ID",
        ApplicationErrorKind::MissingResult => "MISSING_RESULT",
        ApplicationErrorKind::InternalError => "INTERNAL_ERROR",
        ApplicationErrorKind::ProtocolError => "PROTOCOL_ERROR",
        ApplicationErrorKind::InvalidTransform => "INVALID_TRANSFORM",
        ApplicationErrorKind::InvalidProtocol => "INVALID_PROTOCOL",
        ApplicationErrorKind::UnsupportedClientType => "UNSUPPORTED_CLIENT_TYPE",
        _ => "UNKNOWN",
    }
}
