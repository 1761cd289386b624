//! gRPC's health protocol (`grpc.health.v1`), of which two messages of one field each are needed.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, response::Parts};

use super::check_error::CheckError;
use crate::connections::incoming::Incoming;

pub(crate) const METHOD: &str = "/grpc.health.v1.Health/Check";

/// The most bytes that an answer may have.
const MOST: usize = 1024;
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u8 = 1;

/// `HealthCheckRequest { string service = 1; }`, framed as gRPC frames messages: a flag, a length, the message.
pub(crate) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    framed.freeze()
}

/// Whether the answer is `SERVING`; what it is otherwise.
pub(super) async fn judge(head: &Parts, mut incoming: Incoming) -> Result<(), CheckError> {
    if !head.status.is_success() {
        return Err(CheckError::Status(head.status));
    }
    let mut answer = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = std::future::poll_fn(|cx| incoming.poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) if answer.len() + data.len() > MOST => return Err(CheckError::TooLarge(MOST)),
            Ok(data) => answer.put_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    match status(trailers.as_ref().unwrap_or(&head.headers)) {
        Some("0") => serving(&answer),
        status => Err(CheckError::GrpcStatus(status.map(str::to_owned))),
    }
}

fn status(fields: &HeaderMap) -> Option<&str> {
    fields.get("grpc-status")?.to_str().ok()
}

/// `HealthCheckResponse { ServingStatus status = 1; }`. What is left out is 0, `UNKNOWN`.
fn serving(answer: &[u8]) -> Result<(), CheckError> {
    let message = answer.strip_prefix(&[0]).and_then(|rest| rest.get(4..)).ok_or(CheckError::NoMessage)?;
    match message {
        [0x08, SERVING, ..] => Ok(()),
        [0x08, status, ..] => Err(CheckError::ServingStatus(Some(*status))),
        _ => Err(CheckError::ServingStatus(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_framed_as_grpc_does() {
        assert_eq!(request(""), &b"\0\0\0\0\0"[..]);
        assert_eq!(request("a.B"), &b"\0\0\0\0\x05\x0a\x03a.B"[..]);
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], *b"\0\0\0\x01\x2f\x0a\xac\x02");
    }

    #[test]
    fn only_serving_is_a_good_answer() {
        assert!(serving(b"\0\0\0\0\x02\x08\x01").is_ok());
        for answer in [&b""[..], b"\0\0", b"\0\0\0\0\0", b"\0\0\0\0\x02\x08\x02", b"\x01\0\0\0\x02\x08\x01"] {
            assert!(serving(answer).is_err(), "{}", answer.escape_ascii());
        }
    }
}
