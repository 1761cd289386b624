//! Messages, as one protocol and one transport have them.

use serde_json::{Map, Value};
use thrift::{
    ApplicationErrorKind, Error, TConfiguration,
    protocol::{
        TBinaryInputProtocol, TBinaryOutputProtocol, TCompactInputProtocol, TCompactOutputProtocol, TInputProtocol,
        TMessageIdentifier, TMessageType, TOutputProtocol, TType,
    },
};

use crate::{
    config::{Enums, Protocol, Transport, Treatment, Wide},
    read::{Reader, malformed},
    refusal::Refusal,
    schema::{Method, Schema},
    write::Writer,
};

/// There is one message at a time on a connection.
const SEQUENCE: i32 = 1;
/// Of the length that a frame begins with.
const PREFIX: usize = 4;

pub(crate) struct Wire {
    pub(crate) transport: Transport,
    pub(crate) protocol: Protocol,
    pub(crate) unknown: Treatment,
    pub(crate) enums: Enums,
    pub(crate) i64: Wide,
}

/// What a service says to a call.
#[derive(Debug, PartialEq)]
pub(crate) enum CallOutcome {
    /// The result as JSON; nothing for `void`.
    Done(Option<Vec<u8>>),
    /// A declared exception, as the number of its struct, and JSON.
    Thrown(usize, Vec<u8>),
    /// The server could not make the call.
    Failed(ApplicationErrorKind, String),
}

/// A message that came, or a part of it.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// The whole message, and whether there was nothing more.
    Whole(CallOutcome, bool),
    /// It cannot be whole before so many bytes are there.
    Part(usize),
    Malformed(String),
}

impl Wire {
    /// The message of a call.
    pub(crate) fn call(
        &self,
        schema: &Schema,
        method: &Method,
        arguments: &Map<String, Value>,
    ) -> Result<Vec<u8>, Refusal> {
        let framed = self.transport == Transport::Framed;
        let mut bytes = if framed { vec![0; PREFIX] } else { Vec::new() };
        match self.protocol {
            Protocol::Binary => {
                self.write(schema, method, arguments, &mut TBinaryOutputProtocol::new(&mut bytes, true))?;
            }
            Protocol::Compact => self.write(schema, method, arguments, &mut TCompactOutputProtocol::new(&mut bytes))?,
        }
        if framed {
            let length =
                u32::try_from(bytes.len() - PREFIX).map_err(|_| Refusal::new("the message is too large".to_owned()))?;
            bytes[..PREFIX].copy_from_slice(&length.to_be_bytes());
        }
        Ok(bytes)
    }

    fn write(
        &self,
        schema: &Schema,
        method: &Method,
        arguments: &Map<String, Value>,
        out: &mut dyn TOutputProtocol,
    ) -> Result<(), Refusal> {
        let kind = if method.oneway { TMessageType::OneWay } else { TMessageType::Call };
        let begin = TMessageIdentifier::new(method.name.as_str(), kind, SEQUENCE);
        let failed = |error: Error| Refusal::new(error.to_string());
        out.write_message_begin(&begin).map_err(failed)?;
        Writer { schema, unknown: self.unknown, out: &mut *out }.structure(&method.arguments, arguments)?;
        out.write_message_end().map_err(failed)
    }

    /// So much of an answer is worth looking at.
    pub(crate) fn least(&self) -> usize {
        PREFIX
    }

    /// Reads an answer as far as it is there.
    pub(crate) fn hear(&self, schema: &Schema, method: &Method, bytes: &[u8]) -> Heard {
        match self.transport {
            Transport::Framed => {
                let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else { return Heard::Part(PREFIX) };
                let length = u32::from_be_bytes(*prefix) as usize;
                match rest.split_at_checked(length) {
                    None => Heard::Part(PREFIX.saturating_add(length)),
                    Some((frame, more)) => match self.read(schema, method, frame) {
                        Ok((outcome, _)) => Heard::Whole(outcome, more.is_empty()),
                        Err(error) => Heard::Malformed(said(&error)),
                    },
                }
            }
            Transport::Buffered => match self.read(schema, method, bytes) {
                Ok((outcome, rest)) => Heard::Whole(outcome, rest == 0),
                Err(error) if is_unfinished(&error) => Heard::Part(bytes.len() + 1),
                Err(error) => Heard::Malformed(said(&error)),
            },
            Transport::Http => match self.read(schema, method, bytes) {
                Ok((outcome, _)) => Heard::Whole(outcome, true),
                Err(error) => Heard::Malformed(said(&error)),
            },
        }
    }

    /// What a whole message says, and how much follows it.
    fn read(&self, schema: &Schema, method: &Method, mut bytes: &[u8]) -> Result<(CallOutcome, usize), Error> {
        // Nothing has more elements or bytes than the message, whatever it says.
        let most = Some(bytes.len());
        let config = TConfiguration::builder().max_string_size(most).max_container_size(most).build()?;
        let outcome = match self.protocol {
            Protocol::Binary => {
                self.outcome(schema, method, &mut TBinaryInputProtocol::with_config(&mut bytes, false, config))
            }
            Protocol::Compact => {
                self.outcome(schema, method, &mut TCompactInputProtocol::with_config(&mut bytes, config))
            }
        }?;
        Ok((outcome, bytes.len()))
    }

    fn outcome(&self, schema: &Schema, method: &Method, input: &mut dyn TInputProtocol) -> Result<CallOutcome, Error> {
        let begin = input.read_message_begin()?;
        if begin.sequence_number != SEQUENCE {
            return Err(malformed(format!("it answers message {}, not {SEQUENCE}", begin.sequence_number)));
        }
        match begin.message_type {
            TMessageType::Exception => {
                let error = Error::read_application_error_from_in_protocol(input)?;
                input.read_message_end()?;
                return Ok(CallOutcome::Failed(error.kind, error.message));
            }
            TMessageType::Reply => {}
            other => return Err(malformed(format!("it is of type {other}"))),
        }
        let json = Vec::new();
        let mut reader = Reader { schema, enums: self.enums, i64: self.i64, input, json };
        let mut outcome = None;
        reader.input.read_struct_begin()?;
        loop {
            let begin = reader.input.read_field_begin()?;
            if begin.field_type == TType::Stop {
                break;
            }
            let id = begin.id.unwrap_or_default();
            let thrown = method.throws.iter().find(|(number, _)| *number == id && begin.field_type == TType::Struct);
            match (&method.result, thrown) {
                (Some(ty), _) if id == 0 && ty.wire() == begin.field_type && outcome.is_none() => {
                    reader.value(ty)?;
                    outcome = Some(CallOutcome::Done(Some(std::mem::take(&mut reader.json))));
                }
                (_, Some((_, exception))) if id != 0 && outcome.is_none() => {
                    reader.structure(&schema.structs[*exception])?;
                    outcome = Some(CallOutcome::Thrown(*exception, std::mem::take(&mut reader.json)));
                }
                _ => reader.input.skip(begin.field_type)?,
            }
            reader.input.read_field_end()?;
        }
        reader.input.read_struct_end()?;
        reader.input.read_message_end()?;
        match (outcome, &method.result) {
            (Some(outcome), _) => Ok(outcome),
            (None, None) => Ok(CallOutcome::Done(None)),
            (None, Some(_)) => Err(malformed("it has neither a result nor an exception that the IDL knows".to_owned())),
        }
    }
}

/// Whether there may be a whole message once more is there.
fn is_unfinished(error: &Error) -> bool {
    match error {
        Error::Transport(_) => true,
        Error::Protocol(error) => error.kind == thrift::ProtocolErrorKind::SizeLimit,
        _ => false,
    }
}

fn said(error: &Error) -> String {
    match error {
        Error::Transport(_) => "it breaks off".to_owned(),
        Error::Protocol(error) => error.message.clone(),
        other => other.to_string(),
    }
}
