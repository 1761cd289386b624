//! Lets pages in browsers call gRPC services: gRPC-Web (grpc/doc/PROTOCOL-WEB.md), binary and text.
//!
//! To the service it is gRPC. What browsers cannot see, the trailers, comes to them as a last frame of the body.

#[cfg(test)]
mod tests;

use base64ct::{Base64, Encoding};
use plugin_sdk::{
    Decision, Error, Item, NoConfig, Phases, Plugin, Problem, Problems, Request, RequestFilter, Response,
    ResponseFilter, Selection, export_plugin,
    streams::{self, Fields, Part, Passage, ResponseStream, StreamError},
};

const BINARY: &str = "application/grpc-web";
const TEXT: &str = "application/grpc-web-text";
/// What the client speaks, for the response phase: the content type that it gets.
const ANSWER: &str = "grpc-web.answer";
/// The flag of a frame that has the trailers.
const TRAILERS: u8 = 0x80;

/// The plugin.
struct GrpcWeb {
    request: Selection,
    response: Selection,
}

impl Plugin for GrpcWeb {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Problems> {
        let header = |name: &str| Item::Header(name.to_owned());
        let answer = |name: &str| Item::ResponseHeader(name.to_owned());
        Ok(Self {
            request: Selection::new(&[header("content-type"), header("accept")]),
            response: Selection::new(&[
                Item::Attribute(ANSWER.to_owned()),
                answer("content-type"),
                answer("grpc-status"),
            ]),
        })
    }

    fn phases(&self) -> Phases {
        Phases { request: true, response: true, completion: false }
    }
}

/// What follows `application/grpc-web` or `application/grpc-web-text`: `+proto`, or nothing.
fn codec<'a>(content_type: &'a [u8], kind: &str) -> Option<&'a str> {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let (own, rest) = essence.split_at_checked(kind.len())?;
    let rest = std::str::from_utf8(rest).ok()?;
    (own.eq_ignore_ascii_case(kind.as_bytes()) && (rest.is_empty() || rest.starts_with('+'))).then_some(rest)
}

impl RequestFilter for GrpcWeb {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let values = self.request.read(request, None);
        let mut values = values.iter();
        let kind = values.next().flatten().unwrap_or_default();
        let accept = values.next().flatten().unwrap_or_default();
        let (text, codec) = match (codec(kind, TEXT), codec(kind, BINARY)) {
            (Some(codec), _) => (true, codec),
            (None, Some(codec)) => (false, codec),
            (None, None) => return Ok(Decision::Next),
        };
        if text {
            let refuse = |status, detail: &str| {
                let problem = Problem::new(status).detail(detail).member("request-id", request.id());
                Ok(Decision::from(problem))
            };
            let content = match streams::read_request(request) {
                Ok(content) => content,
                Err(StreamError::TooLarge(_)) => return refuse(413, "the body is too large"),
                Err(error) => return Err(error.into()),
            };
            let Some(body) = decoded(&content.body) else {
                return refuse(400, "the body is not base64, though its content type says so");
            };
            streams::replace_request(request, &body)?;
        }
        // Who asks for text gets text, also for a binary request.
        let wants_text = accept.split(|byte| *byte == b',').any(|range| self::codec(range, TEXT).is_some());
        let answer = if text || wants_text { TEXT } else { BINARY };
        request.set_attribute(ANSWER, &format!("{answer}{codec}"))?;
        request.set_header("content-type", format!("application/grpc{codec}"))?;
        // They were for this plugin.
        request.remove_header("accept")?;
        request.remove_header("x-grpc-web")?;
        Ok(Decision::Next)
    }
}

impl ResponseFilter for GrpcWeb {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<(), Error> {
        let values = self.response.read(request, Some(response));
        let values: Vec<_> = values.iter().collect();
        let [Some(answer), Some(kind), status] = &values[..] else { return Ok(()) };
        // An answer of the gateway's or of a plugin's has an HTTP status, which clients understand.
        if !kind.starts_with(b"application/grpc") {
            return Ok(());
        }
        response.set_header("content-type", answer)?;
        // Without messages the head has it all.
        if status.is_none() {
            let text = answer.starts_with(TEXT.as_bytes());
            streams::follow_response(response, &[u8::from(text)])?;
        }
        Ok(())
    }
}

impl ResponseStream for GrpcWeb {
    fn on_part(&mut self, part: Part) -> Result<Passage, Error> {
        let Part { memo, bytes, end } = part;
        let taken = bytes.len();
        let mut output = bytes;
        if let Some(trailers) = end {
            output.extend(last_frame(&trailers)?);
        }
        // Each part has its own padding: grpc/doc/PROTOCOL-WEB.md lets it be wherever something is flushed.
        let output = if memo == [1] { Base64::encode_string(&output).into_bytes() } else { output };
        Ok(Passage { taken, output, wants: 1, ..Passage::default() })
    }
}

export_plugin!(GrpcWeb: request, response, stream);

/// The trailers as a frame: lines as HTTP/1.1 has them.
fn last_frame(trailers: &Fields) -> Result<Vec<u8>, Error> {
    let mut block = Vec::new();
    for (name, value) in trailers {
        block.extend_from_slice(name.as_bytes());
        block.extend_from_slice(b": ");
        block.extend_from_slice(value);
        block.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(block.len()).map_err(|_| Error::new("the trailers are too long"))?;
    let mut frame = vec![TRAILERS];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend(block);
    Ok(frame)
}

/// Base64 of several parts, each of which may have padding at its end.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut start = 0;
    while start < text.len() {
        let padded = text[start..].iter().position(|byte| *byte == b'=');
        // Up to the end of the four in which there is padding.
        let end = padded.map_or(text.len(), |at| (start + at / 4 * 4 + 4).min(text.len()));
        bytes.extend(Base64::decode_vec(std::str::from_utf8(&text[start..end]).ok()?).ok()?);
        start = end;
    }
    Some(bytes)
}
